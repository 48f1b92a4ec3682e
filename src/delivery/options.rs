//! What the delivery to one sink needs to know.

use std::time::Duration;

use crate::time::backoff::Schedule;

/// `[sinks.NAME]`, as far as it says when and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Deliveries under way at once; at least 1.
    pub concurrency: usize,
    /// What happens after a failure.
    pub retry: Retry,
}

/// `[sinks.NAME.retry]`: exponential back-off, then a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The wait after the first failure.
    pub initial: Duration,
    /// Each wait is this many times the one before; at least 1.
    pub factor: f64,
    /// No wait is longer, save where the receiver asks for it.
    pub max: Duration,
    /// A failure this long after the first attempt, or later, is final; `None` is "never".
    pub give_up_after: Option<Duration>,
}

/// Whatever is configured, a failing receiver is not tried in a hot loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

impl Retry {
    /// The waits between attempts.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            initial: self.initial.max(SHORTEST_WAIT),
            factor: self.factor,
            max: self.max.max(self.initial).max(SHORTEST_WAIT),
        }
    }
}
