//! Sends payloads to receivers.
//!
//! Invariants: an attempt is made once; trying again is delivery's task. How an attempt ended is a value. The words for
//! people in this value contain no secret and nothing of the message. This holds for a receiver's answer, too, although
//! the answer may repeat the message.

#[cfg(feature = "sink-apprise")]
mod apprise;
#[cfg(feature = "sink-exec")]
mod exec;
#[cfg(feature = "sink-file")]
mod file;
pub mod http;
mod lines;
#[cfg(feature = "sink-mqtt")]
mod mqtt;
#[cfg(feature = "sink-ntfy")]
mod ntfy;
mod regular_file;
#[cfg(feature = "server-connections")]
mod server;
pub mod stdout;
#[cfg(feature = "sink-telegram")]
mod telegram;

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

use crate::domain::Finding;
use crate::http::{Proxy, client};
use crate::settings::{DeclaredKey, Reader};
use crate::time::Clock;

/// A type that only a build with its cargo feature has.
macro_rules! optional {
    ($feature:literal, $name:literal, $kind:path) => {{
        #[cfg(feature = $feature)]
        {
            KnownType::Built(&$kind)
        }
        #[cfg(not(feature = $feature))]
        {
            KnownType::Lacking { name: $name, feature: $feature }
        }
    }};
}

/// All types of sinks. A new type needs a folder beside this file and a line here.
pub static KNOWN_TYPES: &[KnownType] = &[
    KnownType::Built(&http::Http),
    KnownType::Built(&stdout::Stdout),
    optional!("sink-file", "file", file::FileType),
    optional!("sink-exec", "exec", exec::ExecType),
    optional!("sink-telegram", "telegram", telegram::Telegram),
    optional!("sink-ntfy", "ntfy", ntfy::Ntfy),
    optional!("sink-apprise", "apprise", apprise::Apprise),
    optional!("sink-mqtt", "mqtt", mqtt::Mqtt),
];

/// A type of sinks that this version of the relay knows.
#[derive(Clone, Copy, Debug)]
pub enum KnownType {
    /// This build has the type.
    Built(&'static dyn SinkType),
    /// This build lacks the type.
    Lacking {
        /// The word for the type in the configuration.
        name: &'static str,
        /// The cargo feature with which the relay must be built to have the type.
        feature: &'static str,
    },
}

impl KnownType {
    /// Returns the word for the type in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Built(kind) => kind.name(),
            Self::Lacking { name, .. } => name,
        }
    }
}

/// Returns the types of sinks that this build has.
pub fn types() -> impl Iterator<Item = &'static dyn SinkType> + Clone {
    KNOWN_TYPES.iter().filter_map(|known| match known {
        KnownType::Built(kind) => Some(*kind),
        KnownType::Lacking { .. } => None,
    })
}

/// A type of sinks, which the key `type` of `[sinks.NAME]` names.
pub trait SinkType: Debug + Sync {
    /// Returns the word for the type in the configuration.
    fn name(&self) -> &'static str;

    /// Returns the keys that only this type has.
    fn keys(&self) -> Vec<DeclaredKey> {
        Vec::new()
    }

    /// Returns the names of the keys of delivery that this type does not have.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether there can be only one sink of this type.
    fn is_single(&self) -> bool {
        false
    }

    /// Reads the keys of the type. Errors are added to the report. `is_meant` is false if the type of the sink is
    /// unknown; then a missing key is no error.
    fn read(&self, at: &mut Reader<'_>, is_meant: bool) -> Option<Arc<dyn Target>>;
}

/// The place to which the messages of one sink go, as configured.
pub trait Target: Any + Debug + Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Whether the receiver shows the payload to people as text.
    fn shows_text(&self) -> bool {
        false
    }

    /// Whether the target is the standard output of this process.
    fn is_stdout(&self) -> bool {
        false
    }

    /// Returns the proxy, if the target is reached over a network.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Describes the target for people. The description contains no secret.
    fn describe(&self) -> String;

    /// Returns the bytes that would leave for a message. Nothing is sent.
    ///
    /// # Errors
    /// An error if nothing could be sent, in words that follow the name of the sink.
    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String>;

    /// Tries for `check --online` whether the sink `name` can be reached. No message is sent.
    /// The default tries nothing.
    fn check_online<'t>(&'t self, name: &'t str, _: &'t Clock) -> OnlineCheck<'t> {
        let finding = Finding::not_tried(name, format!("{}: nothing can be tried without a message", self.describe()));
        Box::pin(std::future::ready(vec![finding]))
    }

    /// Opens the sink. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SinkBuildError`] if the sink cannot be opened.
    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError>;
}

/// A check of a sink under way.
pub type OnlineCheck<'t> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 't>>;

/// The bytes that would leave for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The lines before the body, safe to show.
    pub head: String,
    /// The body as it would leave, without the line's end.
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
    /// The certificates for a server cannot be used.
    #[cfg(feature = "server-connections")]
    #[error(transparent)]
    Tls(#[from] crate::http::tls_client::TlsSetupError),
    /// No thread can be started for the file of a sink.
    #[error("a sink of type file cannot be started: {0}")]
    File(#[source] io::Error),
}

/// A message on its way to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message's id, which is the same at every attempt.
    pub id: String,
    /// The body's media type.
    pub content_type: Cow<'static, str>,
    /// The body. For a sink of lines the body is one line, without the line's end.
    pub body: Vec<u8>,
    /// The JSON text of the message, as the API sent it.
    pub message: Arc<str>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has the message.
    Accepted {
        /// The HTTP status, if the sink uses HTTP.
        status: Option<u16>,
    },
    /// The receiver does not have the message, or it is not known whether the receiver has the message.
    Failed {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// How long the receiver asks the relay to wait.
        retry_after: Option<Duration>,
        /// A description of the failure for people.
        answer: String,
    },
    /// The receiver does not have the message: it asks for fewer messages, without saying for how long.
    Busy {
        /// A description of the receiver's answer for people.
        answer: String,
    },
    /// The receiver does not accept the message, and never will.
    Rejected {
        /// The HTTP status, if the sink uses HTTP.
        status: Option<u16>,
        /// A description of the receiver's answer for people.
        answer: String,
    },
    /// The receiver says that it takes no message until somebody looks into the matter, for example because it is gone
    /// for good (410).
    Gone {
        /// The HTTP status, if the sink uses HTTP.
        status: Option<u16>,
        /// A description of the receiver's answer for people.
        answer: String,
    },
    /// The reader of the output is gone for good. Nothing was attempted.
    Closed,
}

/// An attempt under way. Dropping the future gives the attempt up; the receiver may still get the message.
pub type Attempting = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// A place to which messages are sent.
pub trait Sink: Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Begins an attempt. If the order matters, as in a stream, it is the order of these calls and not of the polls of
    /// the futures.
    fn begin(&self, outgoing: Outgoing) -> Attempting;
}
