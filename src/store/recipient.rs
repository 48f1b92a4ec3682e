//! The sinks for which a backend makes deliveries.

use super::message_selection::MessageSelection;
use super::sink_id::SinkId;

/// A sink that receives the messages that are released.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) id: SinkId,
    pub(super) selection: MessageSelection,
    /// Whether the sink keeps the order of each number.
    pub(super) ordered: bool,
    /// The sink to which dead letters are handed over.
    pub(super) fallback: Option<SinkId>,
}
