//! Outages: times in which the API cannot be reached at all.

use std::time::Duration;

/// An outage, during which nothing listens. Its times are on the simulator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Outage {
    pub(crate) const NONE: Self = Self { from: Duration::MAX, until: Duration::MAX };

    /// Returns whether there is an outage now, and the time at which that changes.
    pub(crate) fn at(self, now: Duration) -> (bool, Duration) {
        match now {
            now if now < self.from => (false, self.from),
            now if now < self.until => (true, self.until),
            _ => (false, Duration::MAX),
        }
    }
}
