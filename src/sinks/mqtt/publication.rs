//! The publication of a message.

/// The user property that holds the message's id.
pub(super) const WEBHOOK_ID: &str = "webhook-id";

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) topic: String,
    pub(super) retain: bool,
    /// The `webhook-id`.
    pub(super) id: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}
