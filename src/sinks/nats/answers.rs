//! Decides what the answers of a NATS server mean, including the answers of JetStream. JetStream is the part of the
//! server that stores messages. Pure.

use serde::Deserialize;

use crate::domain::Sanitized;
use crate::sinks::Attempt;
use crate::sinks::server::failed;

/// The answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NatsAnswer {
    /// An answer came, with this content.
    Content(Vec<u8>),
    /// No program listens to the subject.
    NobodyListens,
    /// The user may not publish to the subject.
    NotAllowed,
    /// The message was not sent, because the server accepts at most `most` bytes.
    TooLong { most: u64 },
}

/// JetStream's answer, as far as the relay needs it.
#[derive(Deserialize)]
struct PublishAck {
    stream: Option<String>,
    #[serde(rename = "seq")]
    sequence: Option<u64>,
    error: Option<JetStreamError>,
}

#[derive(Deserialize)]
struct JetStreamError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Decides what the answer to a message means.
pub(super) fn attempt(answer: &NatsAnswer) -> Attempt {
    let rejected = |answer: String| Attempt::Rejected { status: None, answer };
    let content = match answer {
        NatsAnswer::Content(content) => content,
        NatsAnswer::NobodyListens => {
            return failed("no stream takes messages with this subject, or JetStream is not enabled");
        }
        NatsAnswer::NotAllowed => return failed("the user may not publish to this subject"),
        NatsAnswer::TooLong { most } => return rejected(format!("longer than the {most} bytes that the server takes")),
    };
    match serde_json::from_slice(content) {
        Ok(PublishAck { error: Some(error), .. }) => refused(&error),
        Ok(PublishAck { stream: Some(stream), sequence: Some(1..), error: None }) if !stream.is_empty() => {
            Attempt::Accepted { status: None }
        }
        _ => failed("the answer is not JetStream's: does another program listen to the subject?"),
    }
}

/// Decides what an error of JetStream means. The codes below are values of `err_code`.
fn refused(error: &JetStreamError) -> Attempt {
    let JetStreamError { err_code, description } = error;
    let words = |why: &str| format!("JetStream refuses the message: {why}");
    let busy = |why: &str| Attempt::Busy { answer: words(why) };
    match err_code {
        // 10077: the stream could not store the message. If a limit of the stream is the reason, the description begins
        // with `maximum `.
        10_077 if description.starts_with("maximum ") => busy(&format!("the stream is full ({})", short(description))),
        10_077 => failed(words(&format!("the stream cannot store it ({})", short(description)))),
        10_023 => busy("insufficient resources"),
        10_002 | 10_028 | 10_047 => busy("the account or the server has no storage left"),
        10_054 => Attempt::Rejected { status: None, answer: words("longer than the stream takes") },
        10_008 => failed(words("JetStream is not available at the moment")),
        10_039 | 10_076 => failed(words("JetStream is not enabled")),
        10_109 => failed(words("the stream is sealed")),
        code => failed(words(&format!("error {code}"))),
    }
}

/// Whether a stream takes the subject of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamLookup {
    /// The stream with this name takes the subject.
    Found(String),
    /// No stream takes the subject.
    NoStream,
    /// There are no streams, because JetStream is not enabled.
    NoJetStream,
    /// The relay could not find out, for this reason.
    Unknown(String),
}

/// JetStream's answer to a request for the names of streams, as far as the relay needs it.
#[derive(Deserialize)]
struct StreamNames {
    #[serde(default)]
    streams: Option<Vec<String>>,
    error: Option<JetStreamError>,
}

/// Reads the answer to a request for the streams that take a subject.
pub(super) fn stream_lookup(answer: &NatsAnswer) -> StreamLookup {
    let content = match answer {
        NatsAnswer::Content(content) => content,
        NatsAnswer::NobodyListens => return StreamLookup::NoJetStream,
        NatsAnswer::NotAllowed => return StreamLookup::Unknown("the user may not ask for streams".to_owned()),
        NatsAnswer::TooLong { .. } => return StreamLookup::Unknown("the question is too long".to_owned()),
    };
    match serde_json::from_slice(content) {
        Ok(StreamNames { error: Some(JetStreamError { err_code: 10_039 | 10_076, .. }), .. }) => {
            StreamLookup::NoJetStream
        }
        Ok(StreamNames { error: Some(error), .. }) => {
            StreamLookup::Unknown(format!("JetStream answers with error {}", error.err_code))
        }
        Ok(StreamNames { streams, error: None }) => match streams.unwrap_or_default().first() {
            Some(name) => StreamLookup::Found(short(name)),
            None => StreamLookup::NoStream,
        },
        Err(_) => StreamLookup::Unknown("the answer is not JetStream's".to_owned()),
    }
}

/// Returns the result of an attempt if the server refuses the login with these words.
pub(super) fn login_refused(words: &str) -> Attempt {
    let answer = format!("the server refuses the login: {}", short(&words.to_lowercase()));
    match words.to_lowercase().as_str() {
        "maximum connections exceeded" | "maximum account active connections exceeded" => Attempt::Busy { answer },
        "authentication timeout" => failed(answer),
        _ => Attempt::Gone { status: None, answer },
    }
}

/// The words for a connection that the server closes. `words`: the reason that the server gives.
pub(super) fn closed(words: &str) -> String {
    format!("the server closes the connection: {}", short(&words.to_lowercase()))
}

/// If the words of an error say that the user may not publish to a subject, returns the subject; `None` if the error is
/// another one.
pub(super) fn forbidden_subject(words: &str) -> Option<&str> {
    words.strip_prefix("Permissions Violation for Publish to \"")?.split('"').next()
}

/// Shortens words of the server, and makes them safe to show.
fn short(words: &str) -> String {
    Sanitized::line(&words.chars().take(100).collect::<String>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::kind;

    #[test]
    fn answers_to_messages() {
        let error = |code: u32, description: &str| {
            format!(
                r#"{{"error":{{"code":503,"err_code":{code},"description":"{description}"}},"stream":"S","seq":0}}"#
            )
        };
        for (content, expected) in [
            (r#"{"stream":"SMS","seq":1}"#.to_owned(), "accepted"),
            (r#"{"stream":"SMS","seq":7,"duplicate":true,"domain":"x"}"#.to_owned(), "accepted"),
            (r#"{"stream":"SMS","seq":0}"#.to_owned(), "failed"),
            (r#"{"stream":"","seq":1}"#.to_owned(), "failed"),
            ("{}".to_owned(), "failed"),
            (String::new(), "failed"),
            ("OK".to_owned(), "failed"),
            (error(10_077, "maximum messages exceeded"), "busy"),
            (error(10_077, "maximum bytes exceeded"), "busy"),
            (error(10_077, "no space left on device"), "failed"),
            (error(10_023, ""), "busy"),
            (error(10_047, ""), "busy"),
            (error(10_054, ""), "rejected"),
            (error(10_008, ""), "failed"),
            (error(10_071, ""), "failed"),
            (r#"{"error":{"code":500}}"#.to_owned(), "failed"),
        ] {
            assert_eq!(kind(&attempt(&NatsAnswer::Content(content.clone().into_bytes()))), expected, "{content}");
        }
        assert_eq!(kind(&attempt(&NatsAnswer::NobodyListens)), "failed");
        assert_eq!(kind(&attempt(&NatsAnswer::NotAllowed)), "failed");
        assert_eq!(kind(&attempt(&NatsAnswer::TooLong { most: 10 })), "rejected");
    }

    #[test]
    fn answers_to_the_question_for_streams() {
        let unknown = |why: &str| StreamLookup::Unknown(why.to_owned());
        for (content, expected) in [
            (r#"{"type":"x","total":1,"streams":["SMS"]}"#, StreamLookup::Found("SMS".to_owned())),
            (r#"{"total":0,"streams":[]}"#, StreamLookup::NoStream),
            (r#"{"total":0,"streams":null}"#, StreamLookup::NoStream),
            (r#"{"error":{"code":503,"err_code":10039}}"#, StreamLookup::NoJetStream),
            (r#"{"error":{"code":503,"err_code":10008}}"#, unknown("JetStream answers with error 10008")),
            ("OK", unknown("the answer is not JetStream's")),
        ] {
            assert_eq!(stream_lookup(&NatsAnswer::Content(content.into())), expected, "{content}");
        }
        assert_eq!(stream_lookup(&NatsAnswer::NobodyListens), StreamLookup::NoJetStream);
        assert_eq!(stream_lookup(&NatsAnswer::NotAllowed), unknown("the user may not ask for streams"));
    }

    #[test]
    fn answers_to_logins() {
        for (words, expected) in [
            ("Authorization Violation", "gone"),
            ("User Authentication Expired", "gone"),
            ("Permissions Violation for Subscription to \"_INBOX.a.*\"", "gone"),
            ("maximum connections exceeded", "busy"),
            ("Authentication Timeout", "failed"),
        ] {
            assert_eq!(kind(&login_refused(words)), expected, "{words}");
        }
    }

    #[test]
    fn the_forbidden_subject_is_found() {
        let words = "Permissions Violation for Publish to \"sms.1\"";
        assert_eq!(forbidden_subject(words), Some("sms.1"));
        assert_eq!(forbidden_subject("Authorization Violation"), None);
    }
}
