//! The values that `state export` saves from a state, whether the state is whole or damaged.

use super::delivery_state::DeliveryState;
use super::error::Error;
use crate::domain::{RowStanding, UnixMs};

/// A message that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvagedMessage {
    /// The message's sequence number.
    pub seq: i64,
    /// The API's id of the message.
    pub id: String,
    /// When the message was received, by the API's clock.
    pub received: UnixMs,
    /// Whether the message is news, and if not, why.
    pub standing: RowStanding,
    /// The text of the message, byte for byte as the API sent it.
    pub raw: String,
    /// Whether the text is as it was stored; `None` if there is no checksum to compare it with.
    pub intact: Option<bool>,
    /// The deliveries of the message.
    pub deliveries: Vec<SalvagedDelivery>,
}

/// The delivery of a saved message to one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvagedDelivery {
    /// The name of the sink; `None` if it could not be read.
    pub sink: Option<String>,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts: i64,
    /// When the first attempt was made.
    pub first_attempt: Option<UnixMs>,
    /// When the next attempt is due.
    pub due: Option<UnixMs>,
    /// When the last attempt was recorded.
    pub settled_at: Option<UnixMs>,
    /// The HTTP status of the last answer.
    pub status: Option<i64>,
    /// Why the delivery is a dead letter.
    pub reason: Option<String>,
    /// The last answer, in words.
    pub answer: Option<String>,
}

/// The result of an export.
#[derive(Debug, Default)]
pub struct SalvageReport {
    /// How many messages were saved.
    pub messages: u64,
    /// How many of the saved messages differ from what was stored.
    pub altered: u64,
    /// How many records of the state could not be read.
    pub unreadable: u64,
    /// What is wrong with the state; `None` if it is whole and everything was saved.
    pub wrong: Option<Error>,
}
