//! The only reader of clocks: elapsed time for windows and caches, wall time for rows and headers.
//!
//! Invariants: elapsed time never goes back. One call reads elapsed and wall time together, so all that happens for one
//! request has the same time. A manual clock stands still until it is advanced. Advancing the clock wakes every task
//! that sleeps on it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// The clock of a simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock. [`Handle::advance`](crate::Handle::advance) moves it ahead.
    #[default]
    Real,
    /// A clock that starts at this instant, and stands still until [`Handle::advance`](crate::Handle::advance) is
    /// called.
    Manual(Timestamp),
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The time since the simulator's start.
    pub(crate) elapsed: Duration,
    /// The date, as rows and the `Date` header show it.
    pub(crate) wall: Timestamp,
}

/// A running [`Clock`].
#[derive(Debug)]
pub(crate) struct Timer {
    kind: Clock,
    origin: Instant,
    advanced: watch::Sender<Duration>,
}

impl Timer {
    #[expect(clippy::disallowed_methods, reason = "this module is the simulator's reader of clocks")]
    pub(crate) fn start(kind: Clock) -> Self {
        Self { kind, origin: Instant::now(), advanced: watch::Sender::new(Duration::ZERO) }
    }

    #[expect(clippy::disallowed_methods, reason = "this module is the simulator's reader of clocks")]
    pub(crate) fn now(&self) -> Now {
        let advanced = *self.advanced.borrow();
        match self.kind {
            Clock::Real => Now { elapsed: self.origin.elapsed() + advanced, wall: later(Timestamp::now(), advanced) },
            Clock::Manual(start) => Now { elapsed: advanced, wall: later(start, advanced) },
        }
    }

    /// Returns a function that returns how much is left of `limit`, in real time.
    #[expect(clippy::disallowed_methods, reason = "this module is the simulator's reader of clocks")]
    pub(crate) fn deadline(limit: Duration) -> impl Fn() -> Duration {
        let start = Instant::now();
        move || limit.saturating_sub(start.elapsed())
    }

    /// Moves the clock ahead, and wakes every task whose waiting time is over.
    pub(crate) fn advance(&self, by: Duration) {
        self.advanced.send_modify(|advanced| *advanced = advanced.saturating_add(by).min(FARTHEST));
    }

    /// Waits until a moment on this clock. The argument is a moment and not a duration, because a duration would begin
    /// only when the waiting task gets to run, and a manual clock may have been advanced by then.
    pub(crate) async fn sleep_until(&self, until: Duration) {
        let mut advanced = self.advanced.subscribe();
        loop {
            let left = until.saturating_sub(self.now().elapsed);
            if left.is_zero() {
                return;
            }
            let ticking = self.kind == Clock::Real;
            tokio::select! {
                () = tokio::time::sleep(left), if ticking => {}
                changed = advanced.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// The longest time span: it leads beyond every date, but is so short that sums of spans do not overflow.
const FARTHEST: Duration = Duration::from_secs(1 << 40);

/// Returns the date `by` later. The result does not overflow: a date beyond the end of the calendar becomes the end of
/// the calendar.
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

/// Reads a duration as people write it: `90s`, `1m 30s`, `2d`; a day has 24 hours.
///
/// # Errors
/// An error if the text is no duration, or is a negative duration.
pub fn parse_duration(text: &str) -> Result<Duration, jiff::Error> {
    let span: jiff::Span = text.parse()?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())?;
    Duration::try_from(duration)
}

/// Reads a duration. The error is a sentence for people.
pub(crate) fn duration_in_words(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 90s, 5m or 2d"))
}

/// The text of a duration in JSON, for `#[serde(with = "…")]`: written by jiff, and read by [`parse_duration`].
pub(crate) mod duration_text {
    use std::time::Duration;

    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::required::serialize;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::duration_in_words(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The text of a duration in JSON, or `null`.
pub(crate) mod optional_duration_text {
    use std::time::Duration;

    pub(crate) use jiff::fmt::serde::unsigned_duration::friendly::compact::optional::serialize;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::duration_in_words(&text)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        for wrong in ["", "90", "-1s", "soon", "1 month"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
