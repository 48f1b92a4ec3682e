//! The transactions that remove what is kept no longer: texts of messages that every sink has, old dead letters, and
//! ids that cannot come again as new.
//!
//! Invariants: nothing goes that waits for anything. An id goes only below the watermark and after its text; the newest
//! ids by time stay, whatever their age.

use super::error::Error;
use crate::domain::{Seq, UnixMs};

/// What was settled before these instants goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// For messages that every sink has; `None`: none go.
    pub delivered: Option<UnixMs>,
    /// For dead letters, and rows that could not be read; `None`: none go.
    pub dead: Option<UnixMs>,
}

/// What one portion of [`RetentionTransactions::drop_settled`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many messages lost their text.
    pub messages: usize,
    /// How many dead letters are gone.
    pub dead: usize,
    /// The last message that was looked at; `None` if nothing further can go.
    pub next: Option<Seq>,
}

/// What one portion of [`RetentionTransactions::forget_ids`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many ids are gone.
    pub ids: usize,
    /// Where the next call goes on; `None` if nothing further can go.
    pub next: Option<ForgottenUpTo>,
}

/// The message, in the order of times, up to which ids were looked at: where [`RetentionTransactions::forget_ids`] goes
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForgottenUpTo {
    pub(super) time: UnixMs,
    pub(super) seq: Seq,
}

impl ForgottenUpTo {
    /// Before every message.
    pub const START: Self = Self { time: UnixMs::MIN, seq: Seq(i64::MIN) };
}

/// How many messages are looked at in one transaction, so that delivery gets its turn in between.
pub(super) const REMOVED_AT_ONCE: i64 = 500;

/// Transactions that remove what is kept no longer.
pub trait RetentionTransactions {
    /// Looks at some hundred messages after the message `after`, and removes what was settled before the cutoffs: the
    /// text of a message together with its deliveries once every sink is done with it, and each dead letter by itself.
    /// What waits stays.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn drop_settled(&mut self, cutoffs: Cutoffs, after: Seq) -> Result<Dropped, Error>;

    /// Looks at some hundred messages after `after`, in the order of times, and forgets the ids of those that were
    /// received before `watermark` and whose text is gone. The `keep_newest` newest ids stay.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32, after: ForgottenUpTo) -> Result<Forgotten, Error>;
}
