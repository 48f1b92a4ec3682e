//! What operators see of a sink's failures: whether the sink fails, since when, and why. `failure_notice.rs` decides
//! when failures are logged.

use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::delivery::failure_notice::FailureNotice;
use crate::delivery::log_sentences as log;
use crate::delivery::throttle::FORGOTTEN_AFTER;
use crate::domain::UnixMs;
use crate::store::Spool;
use crate::time::Instant;

/// The failures of one sink, as far as this process has seen them.
#[derive(Debug, Default)]
pub(super) struct Outage {
    notice: FailureNotice,
    /// When the first failed or refused attempt since the last success ended, by the relay's time.
    failing_since: Option<UnixMs>,
    /// The reason of the last failure or refusal since the last success.
    last_failure: Option<String>,
    /// Whether the log has yet to say that the sink works again.
    is_recovery_unreported: bool,
    /// When the log last said that the receiver wants silence.
    silence_reported_at: Option<Instant>,
}

impl Outage {
    /// Notes that an attempt failed with `reason` at `ended`. Returns the reason if the failure is to be logged now.
    pub(super) fn attempt_failed(&mut self, reason: &str, ended: UnixMs, now: Instant) -> Option<String> {
        self.attempt_refused(reason, ended);
        self.notice.failed(reason, now)
    }

    /// Notes that the receiver refused an attempt with `reason`. A refusal is no failure, so it is not logged as one.
    pub(super) fn attempt_refused(&mut self, reason: &str, ended: UnixMs) {
        self.failing_since.get_or_insert(ended);
        self.last_failure = Some(reason.to_owned());
    }

    /// Notes that the receiver begins to limit the pace. Returns whether to log this; it is logged at most once in ten
    /// minutes.
    pub(super) fn reports_silence(&mut self, now: Instant) -> bool {
        let tells = self.silence_reported_at.is_none_or(|told| now >= told + FORGOTTEN_AFTER);
        if tells {
            self.silence_reported_at = Some(now);
        }
        tells
    }

    /// Notes that an attempt succeeded.
    pub(super) fn attempt_succeeded(&mut self) {
        (self.failing_since, self.last_failure) = (None, None);
        self.is_recovery_unreported |= self.notice.worked();
    }

    /// Notes that somebody resumed the sink: earlier failures do not count any more, and the next failure is logged
    /// with its reason.
    pub(super) fn resumed(&mut self) {
        (self.failing_since, self.last_failure) = (None, None);
        self.notice.resumed();
    }

    /// Notes that the relay's time was corrected by this many milliseconds.
    pub(super) fn time_corrected(&mut self, by: i64) {
        self.failing_since = self.failing_since.map(|since| UnixMs(since.0.saturating_add(by)));
    }

    /// Returns the reason of the last failure if its log line was put off until now and the sink still fails.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<String> {
        self.notice.overdue(now)
    }

    /// The instant until which the log line about a failure is put off; `None`: no log line is put off.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.notice.report_at()
    }

    /// Whether an attempt has failed since the last success, and since somebody resumed the sink. Refusals do not
    /// count.
    pub(super) fn is_failing(&self) -> bool {
        self.notice.is_failing()
    }

    pub(super) fn failing_since(&self) -> Option<UnixMs> {
        self.failing_since
    }

    /// The reason of the last failure or refusal since the last success.
    pub(super) fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    pub(super) fn is_recovery_unreported(&self) -> bool {
        self.is_recovery_unreported
    }

    /// Logs that the sink works again and how many messages wait in the store, if the log has not said so yet.
    pub(super) async fn report_recovery(&mut self, store: &mut StoreRetry, context: &SinkContext) {
        if !self.is_recovery_unreported {
            return;
        }
        let sink = context.id();
        if let Some(waiting) = store.read(context, move |spool: &Spool| spool.waiting(sink)).await {
            self.is_recovery_unreported = false;
            log::sink_works_again(context.name(), waiting.fresh + waiting.retry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Clock;

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    #[tokio::test]
    async fn an_outage_lasts_from_the_first_failure_or_refusal_to_the_next_success() {
        let (mut outage, now) = (Outage::default(), start());
        assert_eq!((outage.failing_since(), outage.is_failing()), (None, false));
        outage.attempt_refused("429", UnixMs(10));
        assert_eq!((outage.failing_since(), outage.is_failing()), (Some(UnixMs(10)), false), "refused, not failed");
        assert_eq!(outage.attempt_failed("500", UnixMs(20), now).as_deref(), Some("500"));
        assert_eq!((outage.failing_since(), outage.is_failing()), (Some(UnixMs(10)), true));
        outage.time_corrected(-3);
        assert_eq!(outage.failing_since(), Some(UnixMs(7)));
        outage.attempt_succeeded();
        assert_eq!((outage.failing_since(), outage.is_failing()), (None, false));
        assert!(outage.is_recovery_unreported(), "the failure was logged, so its end is to be logged");
    }

    #[tokio::test]
    async fn a_success_after_refusals_alone_is_no_recovery() {
        let mut outage = Outage::default();
        outage.attempt_refused("429", UnixMs(10));
        outage.attempt_succeeded();
        assert!(!outage.is_recovery_unreported());
    }

    #[tokio::test]
    async fn a_new_failure_does_not_hide_that_the_sink_had_recovered() {
        let (mut outage, now) = (Outage::default(), start());
        outage.attempt_failed("500", UnixMs(0), now);
        outage.attempt_succeeded();
        assert_eq!(outage.attempt_failed("502", UnixMs(1), now), None, "too early for another log line");
        assert!(outage.is_recovery_unreported());
        assert!(outage.overdue(outage.report_at().unwrap()).is_some());
    }

    #[tokio::test]
    async fn resuming_a_sink_makes_it_look_healthy_until_it_fails_again() {
        let mut outage = Outage::default();
        outage.attempt_failed("500", UnixMs(5), start());
        outage.resumed();
        assert_eq!((outage.failing_since(), outage.is_failing()), (None, false));
        assert_eq!(
            outage.attempt_failed("401", UnixMs(9), start()).as_deref(),
            Some("401"),
            "the log says why it fails now"
        );
        assert_eq!(outage.failing_since(), Some(UnixMs(9)));
    }

    #[tokio::test]
    async fn a_silence_is_logged_again_after_ten_minutes() {
        let (mut outage, now) = (Outage::default(), start());
        assert!(outage.reports_silence(now));
        assert!(!outage.reports_silence(now + FORGOTTEN_AFTER - Duration::from_millis(1)));
        assert!(outage.reports_silence(now + FORGOTTEN_AFTER));
    }
}
