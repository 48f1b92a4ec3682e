//! The retry schedule of a sink: how long a message waits after each failed attempt. The keys of `[sinks.NAME.retry]`.
//! `after_attempt.rs` follows the schedule, and decides when a message is given up.

use std::time::Duration;

use crate::settings::{self, LONGEST, Reader, settings, show_duration};
use crate::time::backoff::Schedule;

/// The shortest wait that the configuration accepts. The relay waits for at least [`SHORTEST_WAIT`] in any case.
const LEAST_WAIT: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(86_400);

settings! {
    /// `[sinks.NAME.retry]`: exponential back-off, then a dead letter.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Retry {
        /// The wait after the first failure. Less than 100ms counts as 100ms.
        pub initial: Duration = settings::duration(Duration::from_secs(5), LEAST_WAIT..=DAY),
        /// Each wait is this many times the one before.
        pub factor: f64 = settings::number(3.0, 1.0..=100.0),
        /// The longest wait, unless the receiver asks for a longer one. Less than 100ms counts as 100ms.
        pub max: Duration = settings::duration(Duration::from_secs(12 * 3_600), LEAST_WAIT..=DAY.saturating_mul(30)),
        /// A failure this long after the first attempt, or later, makes a dead letter. "never": no failure does.
        pub give_up_after: Option<Duration> =
            settings::duration_or("never", Some(DAY.saturating_mul(3)), Duration::ZERO..=LONGEST),
    }
}

/// The shortest wait after a failure, whatever is configured, so that a failing receiver is not tried in a hot loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

impl Retry {
    /// Reports an error if `max` is less than `initial`.
    pub fn check(&self, at: &mut Reader<'_>) {
        let Some(origin) = at.origin("max").or(at.origin("initial")).filter(|_| self.max < self.initial) else {
            return;
        };
        let shown = |key, value| {
            let by_default = if at.written(key).is_some() { "" } else { " by default" };
            format!("`{}` ({}{by_default})", at.name(key), show_duration(value))
        };
        let message = format!("{} is less than {}", shown("max", self.max), shown("initial", self.initial));
        at.error(origin, message, "");
    }

    /// Returns this schedule with waits of at most `longest`.
    pub(super) fn capped_at(&self, longest: Duration) -> Self {
        Self { initial: self.initial.min(longest), max: self.max.min(longest), ..self.clone() }
    }

    /// Returns this schedule without a deadline, so that no message is given up because of the time since its first
    /// attempt.
    pub(super) fn without_give_up(&self) -> Self {
        Self { give_up_after: None, ..self.clone() }
    }

    /// The schedule of the waits between attempts.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            initial: self.initial.max(SHORTEST_WAIT),
            factor: self.factor,
            max: self.max.max(self.initial).max(SHORTEST_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_too_short_is_raised() {
        let milliseconds = Duration::from_millis;
        for (written, used) in [(10, 100), (99, 100), (100, 100), (101, 101)] {
            let (initial, max) = (milliseconds(written), milliseconds(written));
            let Schedule { initial, max, .. } = Retry { initial, factor: 3.0, max, give_up_after: None }.schedule();
            assert_eq!((initial, max), (milliseconds(used), milliseconds(used)), "{written}");
        }
    }
}
