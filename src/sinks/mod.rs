//! Payload -> the world.
//!
//! Invariants: an attempt is made once, whatever comes of it: trying again is delivery's business. How it ended is data.
//! What an attempt says for people holds no secret and nothing of the message, receivers' answers included: those may
//! repeat it.

pub mod http;
pub mod stdout;

pub use http::signing;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{Proxy, client};
use crate::settings::{DeclaredKey, Reader};
use crate::time::Clock;

/// Every type of sinks. A new one is a folder beside this file and a line here.
pub static TYPES: [&dyn SinkType; 2] = [&http::Http, &stdout::Stdout];

/// A type of sinks: what `type` of `[sinks.NAME]` may say.
pub trait SinkType: Debug + Sync {
    /// The word for it.
    fn name(&self) -> &'static str;

    /// The keys that it has beside those of all sinks.
    fn keys(&self) -> Vec<DeclaredKey> {
        Vec::new()
    }

    /// The keys of delivery that mean nothing to it.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether there can be only one sink of this type.
    fn is_single(&self) -> bool {
        false
    }

    /// Reads its keys; what is wrong with them goes to the report. `is_meant` is false where nobody knows the type of the
    /// sink: then a missing key is no mistake.
    fn read(&self, at: &mut Reader<'_>, is_meant: bool) -> Option<Arc<dyn Target>>;
}

/// Where the messages of one sink go, as it is configured.
pub trait Target: Any + Debug + Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Whether it writes to the standard output of this process.
    fn is_stdout(&self) -> bool {
        false
    }

    /// Through which proxy, if it is reached over a network.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Where messages go and what goes along, for people. Holds no secret.
    fn describe(&self) -> String;

    /// What would leave for a message. Nothing is sent.
    ///
    /// # Errors
    /// Where nothing could be sent, in words that go on after the name of the sink.
    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String>;

    /// Opens it. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SinkBuildError`]
    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError>;
}

/// What would leave for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Lines before the body, fit to be shown.
    pub head: String,
    /// The body as it would leave, without the end of a line.
    pub body: Vec<u8>,
}

/// Why a sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkBuildError {
    /// HTTPS cannot be set up.
    #[error(transparent)]
    Http(#[from] client::ClientBuildError),
    /// Standard output.
    #[error("standard output cannot be written to: {0}")]
    Stdout(#[source] io::Error),
}

/// What leaves for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message's id: the same at every attempt.
    pub id: String,
    /// The body's media type.
    pub content_type: Cow<'static, str>,
    /// The bytes; for a sink of lines one line, without its end.
    pub body: Vec<u8>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Accepted {
        /// The HTTP status, where there is one.
        status: Option<u16>,
    },
    /// The receiver does not have it, or nobody knows.
    Failed {
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// How long the receiver asks us to wait.
        retry_after: Option<Duration>,
        /// What went wrong, for people.
        answer: String,
    },
    /// The receiver does not take it, and never will.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What it said, for people.
        answer: String,
    },
    /// The receiver says that it is gone for good (410).
    Gone {
        /// What it said, for people.
        answer: String,
    },
    /// Nobody reads any more, and nobody will: nothing was attempted.
    Closed,
}

/// An attempt under way. Dropping it gives it up, which does not mean that the receiver does not get it.
pub type Attempting = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// Somewhere that messages go.
pub trait Sink: Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Begins an attempt. Where the world has an order (a stream), it is the order of these calls, not of the polls.
    fn begin(&self, outgoing: Outgoing) -> Attempting;
}
