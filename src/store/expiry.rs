//! The transactions of `max_age`: finding messages that wait and are too old, and making them dead letters.

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{Seq, UnixMs};

/// Where messages that are too old are looked for. An earlier search went over the rest and found nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryScan {
    /// Messages received at this time or earlier were searched.
    pub since: UnixMs,
    /// Messages received at this time or earlier are too old.
    pub cutoff: UnixMs,
    /// Messages up to this place in the order of release were searched.
    pub released: i64,
    /// Whether deliveries that failed before are searched.
    pub retries: bool,
}

impl ExpiryScan {
    /// Everything that waits. Nothing is too old until `cutoff` is set.
    pub fn everything() -> Self {
        Self { since: UnixMs::MIN, cutoff: UnixMs::MIN, released: 0, retries: true }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The messages that are too old.
    pub rows: Vec<Seq>,
    /// Whether they are all.
    pub complete: bool,
    /// Up to which place in the order of release the search went.
    pub released: i64,
}

/// A message that waited and is a dead letter now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The API's id of the message.
    pub id: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// How the last attempt ended, or that there was none.
    pub answer: String,
}

/// What stands as the answer of a message that expired before its first attempt.
pub(super) const NEVER_TRIED: &str = "too old before it could be sent";

/// Transactions of `max_age`.
pub trait ExpiryTransactions {
    /// Finds about `at_most` messages that wait for a sink and are too old. A message that an operator asked for again
    /// is never too old.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn too_old(&self, sink: SinkId, scan: &ExpiryScan, at_most: usize) -> Result<TooOld, Error>;

    /// Makes these messages dead letters of the sink, with the reason `expired`. Those that do not wait any more stay
    /// as they are. Returns what was changed.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn expire(&mut self, sink: SinkId, rows: &[Seq], now: UnixMs) -> Result<Vec<Expired>, Error>;
}
