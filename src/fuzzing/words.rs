//! Fuzzes small functions that read or write text from outside.

use reqwest::{StatusCode, Url};

use super::bytes::Bytes;
use crate::domain::UnixMs;
use crate::formats::one_line;
use crate::http::{date, retry_after as header};
use crate::sinks::Attempt;
use crate::sinks::http::classify::{Head, Statuses, classify};
use crate::sinks::http::webhook_id::webhook_id;

/// Reads a `Retry-After`. The wait must never be longer than the cap.
pub fn retry_after(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let now = UnixMs(bytes.number());
    let Ok(text) = std::str::from_utf8(bytes.rest()) else { return };
    date::parse(text);
    for now in [now, UnixMs(0), UnixMs::MIN, UnixMs::MAX] {
        assert!(header::parse(text, now).is_none_or(|wait| wait <= header::CAP), "{text:?}");
    }
    // A text of digits is a number of seconds.
    if !text.is_empty() && text.len() < 5 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = header::parse(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds, Some(text.parse().expect("digits")), "{text}");
    }
}

/// The input is a status, a `Location` and a text. Handles the text as a message, which must become one line, and as
/// the id of a message, which must become a valid `webhook-id`. Handles the status and the `Location` as a receiver's
/// answer: its description must be short and must not show a key.
pub fn words(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let status = StatusCode::from_u16(300 + u16::from(bytes.byte() % 100)).expect("three digits");
    let location = String::from_utf8_lossy(bytes.line());
    let text = String::from_utf8_lossy(bytes.rest());

    let line = one_line(&text);
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
        let value_of_line = serde_json::from_str::<serde_json::Value>(&line).ok();
        assert_eq!(value_of_line, Some(value), "the line has another value than {text:?}");
        assert_eq!(one_line(&line), line, "the line changed the second time");
    }

    let id = webhook_id(&text);
    assert!((1..=128).contains(&id.len()), "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{id:?}");

    let describe_answer = |sent_to: &str| {
        let sent_to: Url = sent_to.parse().expect("a URL");
        let head = Head { status, location: Some(&location), ..Head::default() };
        match classify(head, &Statuses::default(), &sent_to, UnixMs(0)) {
            Attempt::Failed { answer, .. } => answer,
            other => panic!("{status} is {other:?}"),
        }
    };
    let answer = describe_answer("https://ann:hunter2@hooks.example.com/services/T0/KEYOFTHEHOOK?token=hunter2");
    assert!(answer.len() <= 800 && !answer.contains(char::is_control), "{answer:?}");
    // The URL of this request contains two secret words, which the description must not show. But if the `Location`
    // happens to contain such a word, the description may show it. In this case it also shows the word for a request
    // to a URL without secrets.
    let without = describe_answer("https://hooks.example.com/");
    for secret in ["hunter2", "KEYOFTHEHOOK"] {
        assert!(without.contains(secret) || !answer.contains(secret), "{answer:?}");
    }
}
