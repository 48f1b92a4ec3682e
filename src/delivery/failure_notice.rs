//! Decides when the log reports that a sink fails, and that it works again: once for each outage. If the receiver
//! accepts some messages and fails on others, the log reports a failure at most once a minute. Pure: the time is passed
//! in.
//!
//! Invariant: a sink that goes on failing is reported at once, or one minute after the last report at the latest.

use std::time::Duration;

use crate::time::Instant;

/// If failures and successes of a sink alternate, a failure is reported at most once in this time.
const MIN_REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What the log has said about the failures of one sink.
#[derive(Debug, Default)]
pub(super) struct FailureNotice {
    state: NoticeState,
    /// When the log last said that the sink fails.
    reported_at: Option<Instant>,
}

#[derive(Debug, Default)]
enum NoticeState {
    /// The last attempt succeeded.
    #[default]
    Working,
    /// The last attempt failed with this reason, and it is too early to report the failure.
    Unreported(String),
    /// The sink fails, and the log has reported the failure.
    Reported,
    /// The sink failed, somebody resumed it, and no attempt has ended since.
    Resumed {
        /// Whether the log has reported the failure.
        was_reported: bool,
    },
}

impl FailureNotice {
    /// Notes that an attempt failed. Returns the reason if the failure is to be reported now.
    pub(super) fn failed(&mut self, reason: &str, now: Instant) -> Option<String> {
        if matches!(self.state, NoticeState::Reported) {
            return None;
        }
        self.state = NoticeState::Unreported(reason.to_owned());
        self.overdue(now)
    }

    /// Returns the reason of the failure if the failure goes on, was not reported yet, and is to be reported now.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<String> {
        if self.report_at().is_some_and(|at| at > now) {
            return None;
        }
        let NoticeState::Unreported(reason) = &mut self.state else { return None };
        let reason = std::mem::take(reason);
        (self.state, self.reported_at) = (NoticeState::Reported, Some(now));
        Some(reason)
    }

    /// When to report a failure whose report was put off, if the sink still fails then; `None`: no report was put off.
    pub(super) fn report_at(&self) -> Option<Instant> {
        match self.state {
            NoticeState::Unreported(_) => self.reported_at.map(|told| told + MIN_REPORT_INTERVAL),
            NoticeState::Working | NoticeState::Reported | NoticeState::Resumed { .. } => None,
        }
    }

    /// Notes that somebody resumed the sink: the next failure is reported at once, because its reason may be new.
    pub(super) fn resumed(&mut self) {
        self.state = match self.state {
            NoticeState::Working => NoticeState::Working,
            NoticeState::Unreported(_) => NoticeState::Resumed { was_reported: false },
            NoticeState::Reported => NoticeState::Resumed { was_reported: true },
            NoticeState::Resumed { was_reported } => NoticeState::Resumed { was_reported },
        };
        self.reported_at = None;
    }

    /// Notes that an attempt succeeded. Returns whether to report that the sink works again.
    pub(super) fn worked(&mut self) -> bool {
        matches!(std::mem::take(&mut self.state), NoticeState::Reported | NoticeState::Resumed { was_reported: true })
    }

    /// Whether an attempt has failed since the last success, and since somebody resumed the sink. Refusals do not
    /// count.
    pub(super) fn is_failing(&self) -> bool {
        matches!(self.state, NoticeState::Unreported(_) | NoticeState::Reported)
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
    async fn each_change_is_reported_once_and_alternating_failures_once_a_minute() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notice = FailureNotice::default();
        let failed = |notice: &mut FailureNotice, now| notice.failed("500", now).is_some();
        assert!(!notice.worked(), "nothing was wrong");
        assert!(failed(&mut notice, at(0)));
        assert!(!failed(&mut notice, at(1)), "reported already");
        assert!(!failed(&mut notice, at(3600)), "reported already");
        assert!(notice.is_failing());
        assert!(notice.worked());
        assert!(!notice.worked(), "reported already");
        assert!(failed(&mut notice, at(3601)));
        assert!(notice.worked());
        // The sink fails and works by turns: the log says nothing for a minute, and then reports the failure once more.
        for second in 3602..3660 {
            assert!(!failed(&mut notice, at(second)));
            assert!(!notice.worked());
        }
        assert!(!failed(&mut notice, at(3660)));
        assert!(failed(&mut notice, at(3662)));
        assert!(notice.worked());
    }

    #[tokio::test]
    async fn after_a_resume_the_next_failure_is_reported_at_once_with_its_own_reason() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notice = FailureNotice::default();
        notice.resumed();
        assert!(!notice.is_failing() && !notice.worked(), "nothing was wrong");
        assert_eq!(notice.failed("410", at(0)).as_deref(), Some("410"));
        notice.resumed();
        notice.resumed();
        assert_eq!((notice.report_at(), notice.overdue(at(1))), (None, None), "no attempt has ended since");
        assert_eq!(notice.failed("500", at(2)).as_deref(), Some("500"));
        assert_eq!(notice.failed("401", at(3)), None, "reported already");
        notice.resumed();
        assert!(notice.worked(), "the failure was reported, so its end is reported");
        assert!(notice.failed("502", at(4)).is_some());
    }

    #[tokio::test]
    async fn a_failure_that_goes_on_is_reported_when_the_minute_is_over() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notice = FailureNotice::default();
        assert!(notice.failed("500", at(0)).is_some());
        assert_eq!((notice.report_at(), notice.overdue(at(3600))), (None, None), "reported already");
        assert!(notice.worked());
        assert_eq!(notice.failed("502", at(10)), None);
        assert_eq!(notice.failed("503", at(20)), None);
        assert_eq!((notice.report_at(), notice.overdue(at(59))), (Some(at(60)), None));
        assert_eq!(notice.overdue(at(60)).as_deref(), Some("503"), "the reason of the last failure");
        assert_eq!((notice.report_at(), notice.overdue(at(200))), (None, None), "only once");
        assert!(notice.worked(), "its end is reported, too");
        assert_eq!(notice.failed("500", at(70)), None);
        assert!(!notice.worked());
        assert_eq!((notice.report_at(), notice.overdue(at(121))), (None, None), "it worked again by then");
    }
}
