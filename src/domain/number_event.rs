//! How an event of a number is told from a message: ingest makes events in the shape of messages (`ingest/events.rs`).

/// Whether a JSON object is an event of a number: its `type` begins with `number.`, and its `data` is an object. `data` is
/// JSON text.
pub fn is_number_event(kind: &str, data: &str) -> bool {
    kind.starts_with("number.") && data.starts_with('{')
}
