//! The sinks for which a backend makes deliveries.

use super::message_selection::MessageSelection;
use super::sink_id::SinkId;
use crate::domain::filter::{Facts, FilterVerdict};

/// A sink that receives the messages that are released.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) id: SinkId,
    pub(super) selection: MessageSelection,
    /// Whether the sink has `order = "number"`: it gets the messages of each number in their order.
    pub(super) ordered: bool,
    /// The sink to which dead letters are handed over.
    pub(super) fallback: Option<SinkId>,
    /// Whether the sink receives events of numbers, too.
    pub(super) events: bool,
}

impl Recipient {
    /// Decides whether the sink wants a message or an event. The filter is not applied to an event, because filters are
    /// about the sender and the text of an SMS.
    pub(super) fn decide(&self, is_event: bool, facts: &Facts<'_>) -> FilterVerdict {
        match is_event {
            true if self.events => FilterVerdict::Wanted,
            true => FilterVerdict::Unwanted("events"),
            false => self.selection.decide(facts),
        }
    }
}
