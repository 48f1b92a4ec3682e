//! The transactions that remove what is no longer kept: texts of messages that every sink has, old dead letters, and
//! ids of messages that can no longer count as new.
//!
//! Invariants: a message or delivery that still waits is not removed. An id is removed only if its message is dated
//! before the watermark and has no text any more. The ids of the newest messages stay, whatever their age. The id of an
//! event stays as long as the same event could be made again.

use std::time::Duration;

use super::error::Error;
use crate::domain::{Seq, UnixMs};

/// The limits of retention: a message or a dead letter that was settled before its instant is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionCutoffs {
    /// The instant for messages that every sink has; `None` if no such message is removed.
    pub delivered: Option<UnixMs>,
    /// The instant for dead letters and for unreadable rows; `None` if none of these are removed.
    pub dead: Option<UnixMs>,
}

/// What one portion of [`RetentionTransactions::remove_settled`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedMessages {
    /// How many messages lost their text.
    pub messages: usize,
    /// How many dead letters were removed.
    pub dead: usize,
    /// The last message that was looked at: the next call goes on after it; `None` if nothing further can be removed.
    pub next: Option<Seq>,
}

/// What one portion of [`RetentionTransactions::forget_ids`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgottenIds {
    /// How many ids were removed.
    pub ids: usize,
    /// Where the next call goes on; `None` if nothing further can be removed.
    pub next: Option<ForgottenUpTo>,
}

/// The last message, in the order of times, whose id was looked at: [`RetentionTransactions::forget_ids`] goes on after
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForgottenUpTo {
    pub(super) time: UnixMs,
    pub(super) seq: Seq,
}

impl ForgottenUpTo {
    /// The place before every message.
    pub const START: Self = Self { time: UnixMs::MIN, seq: Seq(i64::MIN) };
}

/// How long ids of events stay, so that no event is made twice. An event is made at most 365 days before its number
/// expires, and can be made again until the number expires.
pub(super) const EVENTS_KNOWN: Duration = Duration::from_secs(400 * 86_400);

/// How many messages are looked at in one transaction. The number is limited so that deliveries can be settled in
/// between.
pub(super) const REMOVAL_BATCH: i64 = 500;

/// Transactions that remove what is no longer kept.
pub trait RetentionTransactions {
    /// Looks at up to 500 messages that follow the message `after`, and removes what was settled before the cutoffs.
    /// The text of a message is removed together with the deliveries of the message once every sink is done with it.
    /// Each dead letter is removed by itself. Deliveries that wait stay.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn remove_settled(&mut self, cutoffs: RetentionCutoffs, after: Seq) -> Result<RemovedMessages, Error>;

    /// Looks at up to 500 messages that follow `after` in the order of their times, and forgets the ids of messages
    /// that were received before `watermark` and whose text is removed already. The `keep_newest` newest ids of
    /// messages stay, and so do ids of events that are less than 400 days older than the watermark.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32, after: ForgottenUpTo) -> Result<ForgottenIds, Error>;
}
