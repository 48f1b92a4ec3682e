//! Sends payloads to the world.
//!
//! Invariants: an attempt is made once; trying again is delivery's task. How an attempt ended is a value. The words for
//! people in it hold no secret and nothing of the message, not even in an answer of the receiver, which may repeat the
//! message.

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

/// All types of sinks. A new type is a folder beside this file and a line here.
pub static TYPES: [&dyn SinkType; 2] = [&http::Http, &stdout::Stdout];

/// A type of sinks: a word that `type` of `[sinks.NAME]` may have.
pub trait SinkType: Debug + Sync {
    /// The word for the type in the configuration.
    fn name(&self) -> &'static str;

    /// The keys that only this type has.
    fn keys(&self) -> Vec<DeclaredKey> {
        Vec::new()
    }

    /// The keys of delivery that this type does not have.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether there can be only one sink of this type.
    fn is_single(&self) -> bool {
        false
    }

    /// Reads the keys of the type. Errors go to the report. `is_meant` is false if the type of the sink is unknown;
    /// then a missing key is no error.
    fn read(&self, at: &mut Reader<'_>, is_meant: bool) -> Option<Arc<dyn Target>>;
}

/// The place where the messages of one sink go, as configured.
pub trait Target: Any + Debug + Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Whether the target is the standard output of this process.
    fn is_stdout(&self) -> bool {
        false
    }

    /// The proxy, if the target is reached over a network.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// A description of the target for people. Holds no secret.
    fn describe(&self) -> String;

    /// The bytes that would leave for a message. Nothing is sent.
    ///
    /// # Errors
    /// Where nothing could be sent, in words that go on after the name of the sink.
    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String>;

    /// Opens the sink. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SinkBuildError`] where that fails.
    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError>;
}

/// The bytes that would leave for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The lines before the body, safe to show.
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
    /// Standard output cannot be used.
    #[error("standard output cannot be written to: {0}")]
    Stdout(#[source] io::Error),
}

/// A message on its way to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message's id: the same at every attempt.
    pub id: String,
    /// The body's media type.
    pub content_type: Cow<'static, str>,
    /// The body; for a sink of lines one line, without its end.
    pub body: Vec<u8>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has the message.
    Accepted {
        /// The HTTP status, where there is one.
        status: Option<u16>,
    },
    /// The receiver does not have the message, or nobody knows whether it has.
    Failed {
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// How long the receiver asks the relay to wait.
        retry_after: Option<Duration>,
        /// The failure in words for people.
        answer: String,
    },
    /// The receiver does not take the message, and never will.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The receiver's answer in words for people.
        answer: String,
    },
    /// The receiver says that it is gone for good (410).
    Gone {
        /// The receiver's answer in words for people.
        answer: String,
    },
    /// The reader is gone for good. Nothing was attempted.
    Closed,
}

/// An attempt under way. To drop it is to give it up; the receiver may still get the message.
pub type Attempting = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// A place to which messages are sent.
pub trait Sink: Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Begins an attempt. Where the order matters (a stream), it is the order of these calls, not of the polls.
    fn begin(&self, outgoing: Outgoing) -> Attempting;
}
