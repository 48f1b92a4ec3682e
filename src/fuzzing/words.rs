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

/// Handles a text as a message, as the id of a webhook, and as an answer with a `Location`. The message must become one
/// line. The id must become a valid header. The description of the answer must be short and must not show a key.
pub fn words(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let status = StatusCode::from_u16(300 + u16::from(bytes.byte() % 100)).expect("three digits");
    let location = String::from_utf8_lossy(bytes.line());
    let text = String::from_utf8_lossy(bytes.rest());

    let line = one_line(&text);
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).ok(), Some(value), "another value: {text:?}");
        assert_eq!(one_line(&line), line, "not the same the second time");
    }

    let id = webhook_id(&text);
    assert!((1..=128).contains(&id.len()), "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{id:?}");

    let told = |sent_to: &str| {
        let sent_to: Url = sent_to.parse().expect("a URL");
        let head = Head { status, location: Some(&location), ..Head::default() };
        match classify(head, &Statuses::default(), &sent_to, UnixMs(0)) {
            Attempt::Failed { answer, .. } => answer,
            other => panic!("{status} is {other:?}"),
        }
    };
    let answer = told("https://ann:hunter2@hooks.example.com/services/T0/KEYOFTHEHOOK?token=hunter2");
    assert!(answer.len() <= 800 && !answer.contains(char::is_control), "{answer:?}");
    // The description must show neither of the two secret words that are in the address. There is one exception: the
    // answer itself contains the word. Then the description shows the word also for an address without it.
    let without = told("https://hooks.example.com/");
    for secret in ["hunter2", "KEYOFTHEHOOK"] {
        assert!(without.contains(secret) || !answer.contains(secret), "{answer:?}");
    }
}
