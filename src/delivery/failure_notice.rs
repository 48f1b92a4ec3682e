//! When to say that a sink fails, and that it works again: once each, and not for every message of a receiver that takes
//! some and refuses others. Pure.
//!
//! Invariant: a sink that goes on failing is told, if not at once then a minute after it was last told.

use std::time::Duration;

use crate::time::Instant;

/// Failures and recoveries that alternate are said no more often than this.
const QUIET: Duration = Duration::from_secs(60);

/// What was said about one sink.
#[derive(Debug, Default)]
pub(super) struct FailureNotice {
    failing: bool,
    told_failing: bool,
    told_at: Option<Instant>,
    /// What went wrong last, while that is still to be said.
    untold: Option<String>,
}

impl FailureNotice {
    /// An attempt failed. Returns the reason to give, if it is to be said now.
    pub(super) fn failed(&mut self, reason: &str, now: Instant) -> Option<String> {
        self.failing = true;
        if self.told_failing {
            return None;
        }
        self.untold = Some(reason.to_owned());
        self.overdue(now)
    }

    /// The reason to give if the sink fails still and nobody was told, and it is time to.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<String> {
        if self.tell_at().is_some_and(|at| at > now) {
            return None;
        }
        let reason = self.untold.take()?;
        (self.told_failing, self.told_at) = (true, Some(now));
        Some(reason)
    }

    /// When the sink is told to fail if it fails until then.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        self.untold.as_ref().and(self.told_at).map(|told| told + QUIET)
    }

    /// An attempt succeeded. Returns whether to say that it works again.
    pub(super) fn worked(&mut self) -> bool {
        self.failing = false;
        self.untold = None;
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

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    #[tokio::test]
    async fn says_each_once_and_flapping_once_a_minute() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = FailureNotice::default();
        let failed = |health: &mut FailureNotice, now| health.failed("500", now).is_some();
        assert!(!health.worked(), "nothing was wrong");
        assert!(failed(&mut health, at(0)));
        assert!(!failed(&mut health, at(1)), "said already");
        assert!(!failed(&mut health, at(3600)), "said already");
        assert!(health.is_failing());
        assert!(health.worked());
        assert!(!health.worked(), "said already");
        assert!(failed(&mut health, at(3601)));
        assert!(health.worked());
        // It flaps: silence for a minute, then once more, also in the middle of a failure.
        for second in 3602..3660 {
            assert!(!failed(&mut health, at(second)));
            assert!(!health.worked());
        }
        assert!(!failed(&mut health, at(3660)));
        assert!(failed(&mut health, at(3662)));
        assert!(health.worked());
    }

    #[tokio::test]
    async fn a_failure_that_goes_on_is_told_when_the_minute_is_over() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut health = FailureNotice::default();
        assert!(health.failed("500", at(0)).is_some());
        assert_eq!((health.tell_at(), health.overdue(at(3600))), (None, None), "said already");
        assert!(health.worked());
        assert_eq!(health.failed("502", at(10)), None);
        assert_eq!(health.failed("503", at(20)), None);
        assert_eq!((health.tell_at(), health.overdue(at(59))), (Some(at(60)), None));
        assert_eq!(health.overdue(at(60)).as_deref(), Some("503"), "with what went wrong last");
        assert_eq!((health.tell_at(), health.overdue(at(200))), (None, None), "once");
        assert!(health.worked(), "whoever was told of it is told of its end");
        assert_eq!(health.failed("500", at(70)), None);
        assert!(!health.worked());
        assert_eq!((health.tell_at(), health.overdue(at(121))), (None, None), "it worked again by then");
    }
}
