//! What a process knows about the relay's time, the API's clock and the clock of the messages. No clock is read here.

use super::memory::ClockMemory;
use crate::domain::UnixMs;
use crate::time::trust::{ClockDoubt, JumpWatch};

/// The relay's time, and the knowledge about it. Each clock is stored as one number: the time that the clock showed, or
/// would have shown, when the elapsed time of [`Clock`](super::Clock) was 0. So the present time of a clock is its
/// number plus the elapsed time, in milliseconds.
#[derive(Debug)]
pub(super) struct RelayTime {
    /// The relay's time, stored as described above.
    pub(super) base: i64,
    /// The instant at which this process began, by the relay's time before any correction.
    pub(super) began: UnixMs,
    /// Whether the relay's time is known to be right.
    pub(super) state: Trust,
    /// By how many milliseconds the relay's time was corrected in this process.
    pub(super) corrected_by: i64,
    /// Whether the API has confirmed the relay's time.
    pub(super) by_api: bool,
    pub(super) jump_watch: JumpWatch,
    /// The newest stored instant.
    pub(super) newest: UnixMs,
    /// The newest stored instant from a process whose relay's time the API had confirmed.
    pub(super) proven: UnixMs,
    /// What an earlier process left in the state about the relay's time.
    pub(super) before: ClockMemory,
    /// The API's clock, by the last `Date` that was believed.
    pub(super) api: Option<i64>,
    pub(super) api_doubt: ClockDoubt,
    /// The clock of the messages, by the last time of the API that was believed; `None` if no time of the API was
    /// believed in this process.
    pub(super) messages: Option<i64>,
    /// A lower bound of the clock of the messages, for an API whose answers have no time except the times of the
    /// messages.
    pub(super) messages_least: Option<i64>,
    /// The time that the API last stated for the clock of the messages, while this time is not believed.
    pub(super) doubted: Option<i64>,
    /// The machine's clock at the last of these moments: the start of this process, the correction of the relay's time,
    /// and the last report of a jump of the machine's clock.
    pub(super) machine_seen: i64,
    /// The machine's clock, if this process does not read it from the system. Only tests change it.
    pub(super) machine_off: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is not known whether the relay's time is right.
    Unconfirmed,
    /// The relay's time was corrected, and the stored times still have to be corrected.
    Corrected,
    /// The relay's time is right, and so are the stored times.
    Confirmed,
}

impl RelayTime {
    /// Returns the clock of the messages by the last time of the API that was believed, or else by `messages_least`. If
    /// neither is known, and the relay's time is confirmed, returns this clock as an earlier process left it.
    pub(super) fn known_messages(&self) -> Option<i64> {
        let heard = self.messages.or(self.messages_least);
        heard.or_else(|| (self.state == Trust::Confirmed).then(|| self.remembered_messages()))
    }

    /// Returns the clock of the messages as an earlier process left it, relative to the relay's time of this process.
    pub(super) fn remembered_messages(&self) -> i64 {
        self.base.saturating_add(self.before.messages_ahead_ms.unwrap_or(0))
    }

    /// Returns the clock of the messages for judging how old messages are; `None` if it is not known yet. A doubted
    /// time of the API makes no message older.
    pub(super) fn ageing_messages(&self) -> Option<i64> {
        let known = self.known_messages();
        let Some(doubted) = self.doubted else { return known };
        let expected = known.unwrap_or_else(|| self.remembered_messages());
        known.or(Some(doubted)).map(|known| known.min(doubted)).filter(|time| known.is_some() || *time <= expected)
    }

    pub(super) fn machine_ahead(&self, elapsed: i64, machine: UnixMs) -> Option<i64> {
        self.api.map(|base| machine.0.saturating_sub(base.saturating_add(elapsed)))
    }
}
