//! Corrections of the relay's time, and jumps of the machine's clock.

use crate::domain::UnixMs;

/// A correction of the relay's time. Times that were stored before the correction may be wrong by the same amount, and
/// have to be corrected, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockCorrection {
    /// The relay's time at the moment of the correction, as it was before the correction.
    pub was: UnixMs,
    /// The relay's time at the same moment, as it is after the correction.
    pub now: UnixMs,
    /// Stored instants from this instant up to `was` move by the difference of `was` and `now`. A stored time at which
    /// something happened, and which would be later than the present time, becomes the present time.
    pub from: UnixMs,
    /// By how many milliseconds the machine's clock is ahead of the API's clock; `None` if the API has stated no time.
    pub machine_ahead_ms: Option<i64>,
}

impl ClockCorrection {
    /// Returns by how many milliseconds the relay's time was moved ahead; a negative number means that it was moved
    /// back.
    pub fn shift(&self) -> i64 {
        self.now.0.saturating_sub(self.was.0)
    }

    /// Returns the new value of a stored instant. `now` is the relay's time now.
    pub fn moved(&self, at: UnixMs, now: UnixMs) -> UnixMs {
        let shift = if self.from <= at && at <= self.was { self.shift() } else { 0 };
        now.min(UnixMs(at.0.saturating_add(shift)))
    }
}

/// A jump of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineJump {
    /// By how many milliseconds the machine's clock was set ahead; a negative number means that it was set back.
    pub by_ms: i64,
    /// By how many milliseconds the machine's clock is ahead of the API's clock now; `None` if the API has stated no
    /// time.
    pub ahead_ms: Option<i64>,
}
