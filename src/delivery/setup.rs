//! One configured sink, as it is handed to delivery.

use std::sync::Arc;

use super::settings::Options;
use crate::codes::CodeMask;
use crate::formats::Format;
use crate::metrics::SinkMetrics;
use crate::sinks::Sink;
use crate::store::MessageSelection;

/// One sink, with everything that delivery needs to know of it.
pub struct Setup {
    /// The sink's name in the configuration. The store knows the sink by this name.
    pub name: String,
    /// Which messages the sink wants.
    pub selection: MessageSelection,
    /// When, how often and how many messages are sent.
    pub options: Options,
    /// The format that makes the payload of a message.
    pub format: Format,
    /// The mask for the codes of messages, if the sink must not get them.
    pub mask: Option<CodeMask>,
    /// The sink to which the payload is sent.
    pub sink: Arc<dyn Sink>,
    /// The metrics that the sink's loop counts up.
    pub metrics: SinkMetrics,
}
