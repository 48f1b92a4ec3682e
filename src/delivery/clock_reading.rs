//! One moment by two clocks.

use crate::domain::UnixMs;
use crate::time::{Clock, Instant};

/// One moment by two clocks: the monotonic clock, which measures waits, and the relay's time, which dates the records
/// of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub(super) monotonic: Instant,
    /// The relay's time.
    pub(super) relay_time: UnixMs,
    /// By how many milliseconds this process had corrected the relay's time before this moment.
    pub(super) corrected_by: i64,
}

impl ClockReading {
    pub(super) fn now(clock: &Clock) -> Self {
        let monotonic = clock.monotonic();
        let moment = clock.relay_moment();
        Self { monotonic, relay_time: moment.time, corrected_by: moment.corrected_by }
    }

    /// Returns the relay's time at a later instant. For an instant before this moment, returns the relay's time of this
    /// moment.
    pub(super) fn relay_time_at(self, at: Instant) -> UnixMs {
        self.relay_time.after(at.saturating_duration_since(self.monotonic))
    }
}
