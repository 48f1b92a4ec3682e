//! One moment by two clocks.

use crate::domain::UnixMs;
use crate::time::{Clock, Instant};

/// One moment by the clock that measures waits, and by the clock that dates what the store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockReading {
    pub(super) monotonic: Instant,
    /// The relay's time.
    pub(super) relay_time: UnixMs,
}

impl ClockReading {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { monotonic: clock.monotonic(), relay_time: clock.relay_time() }
    }

    /// Returns the relay's time at a later instant. For an earlier instant, returns this moment's time.
    pub(super) fn relay_time_at(self, at: Instant) -> UnixMs {
        self.relay_time.after(at.saturating_duration_since(self.monotonic))
    }
}
