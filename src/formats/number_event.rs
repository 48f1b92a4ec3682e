//! Events of numbers: ingest makes them in the shape of a message, and sinks with `events = true` get them.

use super::fields::Fields;

/// Returns the type of an event of a number, such as `number.expiring.7d`; `None` for a message.
pub(super) fn event_type(fields: &Fields<'_>) -> Option<String> {
    let has_data = fields.json("data").starts_with('{');
    fields.text("type").filter(|kind| has_data && kind.starts_with("number."))
}
