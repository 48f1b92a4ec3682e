//! What a sink's loop learns from each attempt, and what it says about it.

use super::Supervisor;
use crate::delivery::attempt::AttemptReport;
use crate::delivery::breaker;
use crate::delivery::decide::Finding;
use crate::delivery::status::Held;
use crate::delivery::throttle::FORGOTTEN_AFTER;
use crate::domain::{Outcome, PauseReason};
use crate::time::Instant;

impl Supervisor {
    pub(super) fn learn(&mut self, report: &AttemptReport) {
        let now = self.now();
        tell_attempt(&self.identity.name, report);
        if let Some(Outcome::Retry { due, .. }) = report.outcome {
            self.queues.expect_retry(due);
        }
        match report.finding {
            Finding::Works => {
                let failing_since = self.failing_since.take();
                self.failing_from = None;
                if report.learned.closed {
                    // A message that failed before, when others were taken, keeps to its own schedule: a receiver that
                    // never takes it, but takes others, would get it again at each of them.
                    self.bringing_forward = [self.bringing_forward, failing_since].into_iter().flatten().min();
                }
                self.recovered |= self.health.worked();
            }
            Finding::Fails => self.failed(report, now),
            Finding::Busy(_) => self.refused(report, now),
            Finding::Gone => {
                self.failed(report, now);
                if self.pauses_itself(PauseReason::Gone) {
                    tracing::error!(
                        sink.name = self.identity.name,
                        hint = self.how_to_resume(),
                        "the receiver is gone (410): the sink is paused and keeps its messages; change its URL or \
                         remove it, or resume it if it is back"
                    );
                }
            }
            Finding::Closed => self.close(),
            Finding::Nothing => {}
        }
    }

    fn failed(&mut self, report: &AttemptReport, now: Instant) {
        if let Some(Outcome::Retry { answer, .. } | Outcome::Dead { answer, .. }) = &report.outcome {
            let reason = self.health.failed(answer, now);
            self.tell_failing(reason);
        }
        let ended = self.shared.clock.relay_time();
        self.failing_from.get_or_insert(ended);
        let began = ended.before(report.took);
        self.failing_since = Some(self.failing_since.map_or(began, |earlier| earlier.min(began)));
        if report.learned.opened {
            tracing::info!(
                sink.name = self.identity.name,
                failures = breaker::STRAIGHT_FAILURES,
                "nothing gets through: one message at a time is tried until one does"
            );
        }
    }

    /// By a receiver that sets the pace: no failure, and said once in a while.
    fn refused(&mut self, report: &AttemptReport, now: Instant) {
        self.failing_from.get_or_insert(self.shared.clock.relay_time());
        let said = self.told_throttled.is_some_and(|told| now < told + FORGOTTEN_AFTER);
        if let Some(silence) = report.learned.throttled.filter(|_| !said)
            && let Some(Outcome::Retry { answer, .. } | Outcome::Dead { answer, .. }) = &report.outcome
        {
            self.told_throttled = Some(now);
            tracing::warn!(
                sink.name = self.identity.name,
                reason = answer,
                wait_s = silence.as_secs_f64(),
                "the receiver wants silence for now; after it, messages go as fast as the receiver takes them"
            );
        }
    }

    /// Says it, if there is a reason to give.
    pub(super) fn tell_failing(&self, reason: Option<String>) {
        if let Some(reason) = reason {
            tracing::warn!(
                sink.name = self.identity.name,
                reason,
                "the sink fails: its messages are kept and tried again"
            );
        }
    }

    fn close(&mut self) {
        let name = &self.identity.name;
        if self.identity.alone {
            // The end of the relay, and no pause: there is nothing to write down.
            if self.held.replace(Held::Closed) != Some(Held::Closed) {
                tracing::debug!(sink.name = name, "nobody reads the output any more");
            }
        } else if !self.pauses_itself(PauseReason::Closed) {
            // Said already.
        } else {
            tracing::error!(
                sink.name = self.identity.name,
                "nobody reads the output any more: the sink is paused and keeps its messages until the relay is \
                 started again"
            );
        }
    }
}

/// One line for each attempt: for whoever follows one message.
fn tell_attempt(sink: &str, report: &AttemptReport) {
    let AttemptReport { id, attempts, took, .. } = report;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match &report.outcome {
        Some(Outcome::Delivered { status }) => {
            tracing::debug!(message.id = id, sink.name = sink, http.status = status, attempts, took_ms, "delivered");
        }
        Some(Outcome::Retry { due, status, answer }) => {
            tracing::debug!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                answer,
                due = %due,
                "not delivered, to be tried again"
            );
        }
        Some(Outcome::Dead { reason, status, answer }) => {
            tracing::error!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                reason = reason.as_str(),
                answer,
                "the message is a dead letter now"
            );
        }
        None => {}
    }
}
