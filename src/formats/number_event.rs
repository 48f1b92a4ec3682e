//! Events of numbers. Ingest makes an event in the form of a message, and only sinks with `events = true` get it.

use super::fields::Fields;
use crate::domain::is_number_event;

/// Returns the type of an event of a number, such as `number.expiring.7d`; `None` for a message.
pub(super) fn event_type(fields: &Fields<'_>) -> Option<String> {
    fields.text("type").filter(|kind| is_number_event(kind, fields.json("data")))
}
