//! One moment by two clocks.

use crate::domain::UnixMs;
use crate::time::{Clock, Instant};

/// One moment by the clock that waits are measured with, and by the clock that the store goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    /// The relay's time.
    pub(super) wall: UnixMs,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall: clock.relay_time() }
    }

    /// What the relay's time will be at a later instant; this moment's time for an earlier one.
    pub(super) fn wall_at(self, at: Instant) -> UnixMs {
        self.wall.after(at.saturating_duration_since(self.monotonic))
    }
}
