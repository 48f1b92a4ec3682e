//! Distinguishes an event about a number from a message. Ingest makes events in the form of messages
//! (`ingest/events.rs`).

/// Whether a JSON object is an event about a number: its `type` (`kind`) begins with `number.`, and its `data` (as JSON
/// text) is an object.
pub fn is_number_event(kind: &str, data: &str) -> bool {
    kind.starts_with("number.") && data.starts_with('{')
}
