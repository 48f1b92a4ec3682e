//! When to say that a sink fails, and that it works again: once each, and not for every message of a receiver that takes
//! some and refuses others.

use std::time::Duration;

use crate::time::Instant;

/// Failures and recoveries that alternate are said no more often than this.
const QUIET: Duration = Duration::from_secs(60);

/// What was said about one sink.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: bool,
    told_failing: bool,
    told_at: Option<Instant>,
}

impl Health {
    /// An attempt failed. Returns whether to say so.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let quiet = self.told_at.is_some_and(|told| now < told + QUIET);
        if self.failing && self.told_failing || quiet {
            self.failing = true;
            return false;
        }
        *self = Self { failing: true, told_failing: true, told_at: Some(now) };
        true
    }

    /// An attempt succeeded. Returns whether to say that it works again.
    pub(super) fn worked(&mut self) -> bool {
        self.failing = false;
        std::mem::take(&mut self.told_failing)
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test]
    async fn says_each_once_and_flapping_once_a_minute() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::default();
        assert!(!health.worked(), "nothing was wrong");
        assert!(health.failed(at(0)));
        assert!(!health.failed(at(1)), "said already");
        assert!(!health.failed(at(3600)), "said already");
        assert!(health.is_failing());
        assert!(health.worked());
        assert!(!health.worked(), "said already");
        assert!(health.failed(at(3601)));
        assert!(health.worked());
        // It flaps: silence for a minute, then once more, also in the middle of a failure.
        for second in 3602..3660 {
            assert!(!health.failed(at(second)));
            assert!(!health.worked());
        }
        assert!(!health.failed(at(3660)));
        assert!(health.failed(at(3662)));
        assert!(health.worked());
    }
}
