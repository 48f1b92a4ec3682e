//! The transactions of `max_age`: finding messages that wait and are too old, and making them dead letters.

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{Seq, UnixMs};

/// The scope of a search for messages that are too old. The last complete search ([`ExpiryPortion::complete`]) has
/// found all messages that were too old at that time. So the next search looks at two kinds of messages only: messages
/// that were received after the cutoff of the last complete search (`since`), and messages that were released after
/// that search began (`released`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryScan {
    /// The cutoff of the last complete search. Messages that were received after this time are looked at.
    pub since: UnixMs,
    /// Messages received at this time or earlier are too old.
    pub cutoff: UnixMs,
    /// The highest place in the order of release when the last complete search began. Messages with a higher place are
    /// looked at, whenever they were received.
    pub released: i64,
    /// Whether all messages whose delivery has failed before are looked at, whenever they were received. This is true
    /// until the first search is complete.
    pub retries: bool,
}

impl ExpiryScan {
    /// Makes the scope of the first search, which looks at every message that waits. The caller has to set `cutoff`:
    /// before that, no message counts as too old.
    pub fn everything() -> Self {
        Self { since: UnixMs::MIN, cutoff: UnixMs::MIN, released: 0, retries: true }
    }
}

/// The result of a search for messages that are too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryPortion {
    /// The messages that are too old.
    pub rows: Vec<Seq>,
    /// Whether `rows` is sure to hold all messages that are too old. If not, the caller makes the messages of `rows`
    /// dead letters and searches again.
    pub complete: bool,
    /// The highest place in the order of release when the search began. If the search is complete, this is the value of
    /// [`ExpiryScan::released`] for the next search.
    pub released: i64,
}

/// A waiting message that was too old and became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredMessage {
    /// The API's id of the message.
    pub id: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// How the last attempt ended, or a text that says that there was no attempt.
    pub answer: String,
}

/// The answer that is recorded for a message that expired before its first attempt.
pub(super) const NEVER_TRIED: &str = "too old before it could be sent";

/// Transactions of `max_age`.
pub trait ExpiryTransactions {
    /// Finds messages that wait for a sink and are too old. This takes up to three statements, each of which finds at
    /// most `at_most` messages. A message that an operator sent again is never too old.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn too_old(&self, sink: SinkId, scan: &ExpiryScan, at_most: usize) -> Result<ExpiryPortion, Error>;

    /// Makes these messages dead letters of the sink, with the reason `expired`. Messages that no longer wait stay as
    /// they are. Returns the messages that became dead letters.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn expire(&mut self, sink: SinkId, rows: &[Seq], now: UnixMs) -> Result<Vec<ExpiredMessage>, Error>;
}
