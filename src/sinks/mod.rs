//! Sends payloads to receivers.
//!
//! Invariants: when an attempt has ended, the sink does nothing more for the message; delivery decides whether there is
//! another attempt. The result of an attempt is a value ([`Attempt`]). The words for people in this value contain no
//! secret and no part of the message, even if the receiver's answer repeats the message.

mod amqp;
mod apprise;
mod exec;
mod file;
pub mod http;
mod kafka;
mod lines;
mod mqtt;
mod nats;
mod ntfy;
mod postgres;
mod regular_file;
mod server;
mod smtp;
pub mod stdout;
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

use crate::codes::CodeFinder;
use crate::domain::Finding;
use crate::http::{Proxy, client};
use crate::settings::{DeclaredKey, Reader};
use crate::time::Clock;

/// Makes the entry of `KNOWN_TYPES` for a type whose sinks can be opened only in builds with this cargo feature.
macro_rules! optional {
    ($feature:literal, $kind:path) => {
        KnownType { kind: &$kind, lacking: if cfg!(feature = $feature) { None } else { Some($feature) } }
    };
}

/// All types of sinks. A new type needs a folder beside this file, a line here, and a feature in `Cargo.toml`
/// (CONTRIBUTING.md lists every file).
///
/// Every build knows the keys of every type, so that the documents are the same for all builds. A build without the
/// feature of a type lacks only the code that talks to the type's server, such as the client of Kafka.
pub static KNOWN_TYPES: &[KnownType] = &[
    KnownType { kind: &http::Http, lacking: None },
    KnownType { kind: &stdout::Stdout, lacking: None },
    optional!("sink-file", file::FileType),
    optional!("sink-exec", exec::ExecType),
    optional!("sink-telegram", telegram::Telegram),
    optional!("sink-ntfy", ntfy::Ntfy),
    optional!("sink-apprise", apprise::Apprise),
    optional!("sink-mqtt", mqtt::Mqtt),
    optional!("sink-smtp", smtp::Smtp),
    optional!("sink-postgres", postgres::Postgres),
    optional!("sink-nats", nats::Nats),
    optional!("sink-amqp", amqp::Amqp),
    optional!("sink-kafka", kafka::Kafka),
];

/// A type of sinks that this version of the relay knows.
#[derive(Clone, Copy, Debug)]
pub struct KnownType {
    /// The type.
    pub kind: &'static dyn SinkType,
    /// The cargo feature that this build lacks, and without which sinks of the type cannot be opened; `None` if nothing
    /// is missing.
    pub lacking: Option<&'static str>,
}

impl KnownType {
    /// Returns the word for the type in the configuration.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// Returns all types of sinks, also the types whose sinks this build cannot open.
pub fn types() -> impl Iterator<Item = &'static dyn SinkType> + Clone {
    KNOWN_TYPES.iter().map(|known| known.kind)
}

/// The values that a type gets in addition to its keys.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext<'c> {
    /// Whether the configuration names exactly this type. `false`: the configuration names a type that does not exist,
    /// and this type is only the best guess. Then a missing key is no error, and the result is not used.
    pub is_meant: bool,
    /// Finds the codes of messages.
    pub codes: &'c CodeFinder,
}

/// A type of sinks, which the key `type` of `[sinks.NAME]` names.
pub trait SinkType: Debug + Sync {
    /// Returns the word for the type in the configuration.
    fn name(&self) -> &'static str;

    /// Returns the keys that only this type has.
    fn keys(&self) -> Vec<DeclaredKey> {
        Vec::new()
    }

    /// Returns the names of keys that delivery declares for all sinks, but that sinks of this type do not have. For
    /// example, a sink of type `file` has no `requests_per_minute`.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether there can be only one sink of this type.
    fn is_single(&self) -> bool {
        false
    }

    /// Reads the keys of the type. Errors are added to the report.
    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>>;
}

/// Reports each of these keys that is missing. `kind`: the type of the sink with its article, such as `an amqp`.
fn require(at: &mut Reader<'_>, kind: &str, keys: &[&str]) {
    for key in keys {
        let message = format!("`{}` is missing: {kind} sink needs it", at.name(key));
        at.missing(&[key], at.place(), message, "");
    }
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

    /// Returns the proxy of a target that is reached by HTTP; `None` for every other target.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Describes the target for people. The description contains no secret.
    fn describe(&self) -> String;

    /// Returns the bytes that would be sent for a message. Nothing is sent. The default implementation always fails; it
    /// is for types whose client this build lacks.
    ///
    /// # Errors
    /// The reason why the message could not be sent, in words that follow the name of the sink.
    fn preview(&self, _: Outgoing, _: &Clock) -> Result<Preview, String> {
        Err("cannot be shown: this build of the relay lacks its type".to_owned())
    }

    /// Makes the table into which the sink writes. The future returns a sentence about what was done. `None`: the sink
    /// writes into no table.
    fn create_table(&self) -> Option<TableCreation<'_>> {
        None
    }

    /// Tries for `check --online` whether the sink `name` can be reached. No message is sent. The default
    /// implementation tries nothing.
    fn check_online<'t>(&'t self, name: &'t str, _: &'t Clock) -> OnlineCheck<'t> {
        let finding = Finding::not_tried(name, format!("{}: nothing can be tried without a message", self.describe()));
        Box::pin(std::future::ready(vec![finding]))
    }

    /// Opens the sink. Nothing is sent yet. The default implementation always fails; it is for types whose client this
    /// build lacks.
    ///
    /// # Errors
    /// [`SinkBuildError`] if the sink cannot be opened.
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Err(SinkBuildError::Lacking)
    }
}

/// A future that creates a table. Its error is the reason in words.
pub type TableCreation<'t> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 't>>;

/// A future that checks a sink.
pub type OnlineCheck<'t> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 't>>;

/// The bytes that would be sent for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The lines before the body, safe to show.
    pub head: String,
    /// The body as it would be sent, without the line's end.
    pub body: Vec<u8>,
}

/// Why a sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkBuildError {
    /// This build lacks the type of the sink. The configuration refuses such a sink before it is opened.
    #[error("this build of the relay lacks the type of the sink")]
    Lacking,
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
    /// The client of Kafka does not accept the properties that the operator has set.
    #[cfg(feature = "sink-kafka")]
    #[error("the client of Kafka cannot be started: {0}")]
    Kafka(String),
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
    /// The receiver says that it accepts no messages until a person mends the cause, for example because it is gone for
    /// good (410).
    Gone {
        /// The HTTP status, if the sink uses HTTP.
        status: Option<u16>,
        /// A description of the receiver's answer for people.
        answer: String,
    },
    /// Nothing more can be written to the output, for example because the program that read it has ended. The message
    /// stays due, because no outcome is recorded for the attempt.
    Closed,
}

impl Attempt {
    /// Returns the description of the failure for people; `None` for the results that have no description (`Accepted`
    /// and `Closed`).
    #[cfg(any(feature = "server-connections", feature = "sink-kafka"))]
    pub(in crate::sinks) fn into_answer(self) -> Option<String> {
        match self {
            Self::Failed { answer, .. }
            | Self::Busy { answer }
            | Self::Rejected { answer, .. }
            | Self::Gone { answer, .. } => Some(answer),
            Self::Accepted { .. } | Self::Closed => None,
        }
    }
}

/// An attempt under way. Dropping the future gives the attempt up; the receiver may still get the message.
pub type Attempting = Pin<Box<dyn Future<Output = Attempt> + Send>>;

/// An opened sink, which makes the attempts to send messages.
pub trait Sink: Send + Sync {
    /// Whether a payload must be one line.
    fn takes_lines(&self) -> bool;

    /// Begins an attempt. A sink that keeps messages in order, such as `stdout`, keeps them in the order in which this
    /// method was called. The order in which the futures are polled does not matter.
    fn begin(&self, outgoing: Outgoing) -> Attempting;
}
