//! Corrections of the relay's time, and jumps of the machine's clock.

use crate::domain::UnixMs;

/// A correction of the relay's time. Times that were stored by the wrong relay's time have to be corrected, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockCorrection {
    /// The wrong relay's time at the moment of the correction.
    pub was: UnixMs,
    /// The right relay's time at the same moment.
    pub now: UnixMs,
    /// Stored instants from this instant up to `was` move by the difference of `was` and `now`. After that, no stored
    /// time at which something happened is later than the present time.
    pub from: UnixMs,
    /// By how many milliseconds the machine's clock is ahead of the API's clock; `None` if the API has stated no time.
    pub machine_ahead_ms: Option<i64>,
}

impl ClockCorrection {
    /// Returns by how many milliseconds the relay's time was moved ahead.
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
    /// By how many milliseconds the machine's clock was set ahead.
    pub by_ms: i64,
    /// By how many milliseconds the machine's clock is ahead of the API's clock now; `None` if the API has stated no
    /// time.
    pub ahead_ms: Option<i64>,
}
