//! The row of a message. Pure.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codes::CodeFinder;
use crate::domain::filter::{Details, Facts};
use crate::sinks::Outgoing;

/// The values of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SinkRow {
    pub(super) id: String,
    /// The `receivedAt` of the message, as an RFC 3339 time; `None` if the message has no valid one.
    pub(super) received_at: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) recipient: Option<String>,
    pub(super) code: Option<String>,
    /// The payload that the sink's format has made.
    pub(super) payload: String,
}

#[derive(Deserialize)]
struct ReceivedAt<'a> {
    #[serde(rename = "receivedAt", borrow)]
    received_at: Option<&'a RawValue>,
}

/// Returns the row of a message.
pub(super) fn row(outgoing: Outgoing, codes: &CodeFinder) -> SinkRow {
    let Outgoing { id, body, message, .. } = outgoing;
    let facts = Facts::read(&message, Details::Absent);
    let payload = match String::from_utf8(body) {
        Ok(text) => text,
        Err(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
    };
    SinkRow {
        id: storable(&id),
        received_at: received_at(&message),
        sender: facts.from().map(storable),
        recipient: facts.to().map(storable),
        code: codes.find(&message).as_deref().map(storable),
        payload: storable(&payload),
    }
}

fn received_at(message: &str) -> Option<String> {
    let fields: ReceivedAt<'_> = serde_json::from_str(message).ok()?;
    let text: String = serde_json::from_str(fields.received_at?.get()).ok()?;
    Some(text.parse::<Timestamp>().ok()?.to_string())
}

/// Replaces NUL characters, which PostgreSQL cannot store.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_can_be_stored() {
        let row_of = |message: &str, body: &[u8]| {
            let content_type = "application/json".into();
            let outgoing = Outgoing { id: "m1".into(), content_type, body: body.to_vec(), message: message.into() };
            row(outgoing, &CodeFinder::default())
        };
        let message = r#"{"from":"+1\u0000","to":"+2","parsedCode":"0123","receivedAt":"2026-01-31T08:00:00.5Z"}"#;
        let row = row_of(message, b"a\0\xff");
        let expected = SinkRow {
            id: "m1".into(),
            received_at: Some("2026-01-31T08:00:00.5Z".into()),
            sender: Some("+1\u{fffd}".into()),
            recipient: Some("+2".into()),
            code: Some("0123".into()),
            payload: "a\u{fffd}\u{fffd}".into(),
        };
        assert_eq!(row, expected);
        let strange = row_of(r#"{"receivedAt":"yesterday"}"#, b"{}");
        assert_eq!((strange.received_at, strange.sender, strange.code), (None, None, None));
    }
}
