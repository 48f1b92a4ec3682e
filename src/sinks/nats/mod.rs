//! Sinks of type `nats`: each message is published to a stream of NATS JetStream.
//!
//! Invariants, in addition to those of [`super::server`]:
//!
//! - A message is delivered when JetStream has acknowledged that a stream stored it, or that the stream had it already.
//! - Each message has its id as `Nats-Msg-Id`, so JetStream drops a message that repeats an earlier one within the
//!   stream's `duplicate_window`.
//! - No value of a message can add a token or a wildcard to the subject.

#[cfg(feature = "sink-nats")]
mod answers;
#[cfg(feature = "sink-nats")]
mod client;
#[cfg(feature = "sink-nats")]
mod connection;
mod credentials;
#[cfg(feature = "sink-nats")]
mod protocol;
mod settings;

use std::fmt;
use std::sync::Arc;

use self::credentials::Credentials;
use super::http::webhook_id::webhook_id;
#[cfg(feature = "sink-nats")]
use super::server::ServerSink;
use super::server::SinkServer;
#[cfg(feature = "sink-nats")]
use super::{OnlineCheck, Sink, SinkBuildError};
use super::{Outgoing, Preview, ReadContext, SinkType, Target};
use crate::domain::Sanitized;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
use crate::time::Clock;

/// The header that holds the message's id.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A client asks JetStream for the names of streams by sending a message with this subject.
#[cfg(feature = "sink-nats")]
const STREAM_NAMES: &str = "$JS.API.STREAM.NAMES";

/// The longest subject, in bytes. The limit is the relay's own: a subject stands in a line of the protocol, and a
/// server closes the connection if a line is too long.
const LONGEST_SUBJECT: usize = 1024;

/// The type `nats`.
#[derive(Debug)]
pub(super) struct Nats;

/// The server and the subject of a sink.
#[derive(Clone)]
struct NatsTarget {
    /// The server. Its connections begin without encryption.
    server: SinkServer,
    /// Whether a connection is encrypted. The TLS handshake comes after the packet in which the server describes
    /// itself.
    is_encrypted: bool,
    credentials: Option<Credentials>,
    subject: Arc<Template>,
}

/// A message in the form in which it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NatsMessage {
    subject: String,
    /// The `webhook-id`.
    id: String,
    content_type: String,
    body: Vec<u8>,
}

impl SinkType for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl NatsTarget {
    /// Converts a message into the form in which it is published.
    ///
    /// # Errors
    /// The reason why the message has no usable subject.
    fn message(&self, outgoing: Outgoing) -> Result<NatsMessage, String> {
        let subject = self.subject.render(&outgoing.message, None).map_err(|mistake| format!("subject: {mistake}"))?;
        check_subject(&subject).map_err(|wrong| format!("subject: {wrong}"))?;
        Ok(NatsMessage {
            subject,
            id: webhook_id(&outgoing.id),
            content_type: outgoing.content_type.into_owned(),
            body: outgoing.body,
        })
    }

    /// Returns a pattern (a subject with wildcards) that the subjects of the sample messages match. So the subjects of
    /// all messages probably match it, too.
    #[cfg(feature = "sink-nats")]
    fn subject_pattern(&self) -> String {
        let samples = self.subject.samples();
        samples.into_iter().reduce(|one, other| common_pattern(&one, &other)).unwrap_or_else(|| ">".to_owned())
    }
}

impl NatsMessage {
    /// Makes the request for the names of the streams that take `subject`, which may contain wildcards.
    #[cfg(feature = "sink-nats")]
    fn stream_lookup(subject: &str) -> Self {
        let body = serde_json::json!({ "subject": subject }).to_string().into_bytes();
        let (subject, content_type) = (STREAM_NAMES.to_owned(), "application/json".to_owned());
        Self { subject, id: "check".to_owned(), content_type, body }
    }
}

/// Returns a subject with wildcards that both subjects match.
#[cfg(feature = "sink-nats")]
fn common_pattern(one: &str, other: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('.').collect(), other.split('.').collect());
    let pairs = one.iter().zip(&other);
    if one.len() == other.len() {
        let parts: Vec<&str> = pairs.map(|(part, other)| if part == other { part } else { "*" }).collect();
        return parts.join(".");
    }
    let same = pairs.take_while(|(part, other)| part == other).map(|(part, _)| *part);
    let parts: Vec<&str> = same.chain([">"]).collect();
    parts.join(".")
}

/// Checks that messages can be published with this subject.
///
/// # Errors
/// What is wrong with the subject, in words.
fn check_subject(subject: &str) -> Result<(), String> {
    let is_strange = |next: char| next.is_whitespace() || next.is_control() || matches!(next, '*' | '>');
    if subject.len() > LONGEST_SUBJECT {
        Err(format!("longer than {LONGEST_SUBJECT} bytes"))
    } else if subject.contains(is_strange) {
        Err("white space, control characters and the wildcards `*` and `>` are not allowed".to_owned())
    } else if subject.split('.').any(str::is_empty) {
        Err("a part of the subject is empty".to_owned())
    } else if subject.starts_with('$') {
        Err("subjects that begin with `$` belong to the server".to_owned())
    } else {
        Ok(())
    }
}

impl Target for NatsTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("NATS server {}, JetStream", self.server)
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let message = self.message(outgoing).map_err(|why| format!("this message cannot be sent: {why}"))?;
        let mut head = format!("{}\n", self.describe());
        head += &format!("subject: {}\n", Sanitized::line(&message.subject));
        head += &format!("{MESSAGE_ID}: {}\nContent-Type: {}\n\n", message.id, message.content_type);
        Ok(Preview { head, body: message.body })
    }

    #[cfg(feature = "sink-nats")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-nats")]
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(ServerSink::new(client::NatsPublisher::new(self)?)))
    }
}

impl fmt::Debug for NatsTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, is_encrypted, credentials, subject } = self;
        out.debug_struct("Nats")
            .field("server", server)
            .field("is_encrypted", is_encrypted)
            .field("credentials", &credentials.is_some())
            .field("subject", subject)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sink-nats")]
    #[test]
    fn subjects_have_a_common_pattern() {
        for (one, other, pattern) in [
            ("sms", "sms", "sms"),
            ("sms.+1650", "sms._", "sms.*"),
            ("sms.+1650.x", "sms._.x", "sms.*.x"),
            ("sms.a.b", "sms.a", "sms.a.>"),
            ("a", "b.c", ">"),
        ] {
            assert_eq!(common_pattern(one, other), pattern, "{one} {other}");
        }
    }

    #[test]
    fn subjects() {
        for subject in ["sms", "sms.+16505551234", "a.b.c", "sms._"] {
            assert_eq!(check_subject(subject), Ok(()), "{subject}");
        }
        let long = "x".repeat(LONGEST_SUBJECT + 1);
        for subject in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "a\r\nPUB x 0", "$JS.API.INFO", long.as_str()]
        {
            assert!(check_subject(subject).is_err(), "{subject}");
        }
    }
}
