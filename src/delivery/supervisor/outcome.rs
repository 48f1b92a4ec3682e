//! What follows when an attempt has ended: counters, log lines, and what the parts of the loop need to know.

use super::Supervisor;
use super::dispatch::DeliveryEnd;
use crate::delivery::after_attempt::HealthSignal;
use crate::delivery::attempt::AttemptReport;
use crate::delivery::breaker::MAX_PROBE_INTERVAL;
use crate::delivery::log_sentences as log;
use crate::domain::{Outcome, PauseReason};
use crate::metrics::SinkMetrics;

impl Supervisor {
    /// Handles the end of an attempt. The worker of the attempt is free already.
    pub(super) fn delivery_ended(&mut self, end: &DeliveryEnd) {
        if self.context.is_ordered() {
            // The next message of the same number may go now.
            self.queues.expect_claims_everywhere();
        }
        self.has_unordered_in_flight &= self.dispatch.in_flight() > 0;
        match end {
            DeliveryEnd::Recorded(report) => self.learn(report),
            DeliveryEnd::CutOff(start) => self.context.health.lock().ended_without_signal(*start),
            DeliveryEnd::Panicked(start) => {
                let mut health = self.context.health.lock();
                health.ended_without_signal(*start);
                // The attempt is not recorded, so without a wait the message would be claimed again at once.
                health.begin_silence(self.context.now(), MAX_PROBE_INTERVAL);
                tracing::error!(sink.name = self.context.name(), "a delivery ended in a panic: please report it");
            }
        }
    }

    /// Tells the parts of the loop, the log and the metrics how an attempt ended.
    fn learn(&mut self, report: &AttemptReport) {
        count(&self.context.identity.metrics, report);
        let name = self.context.name();
        if let Some(outcome) = &report.outcome {
            log::attempt(&self.context.logged(), &report.id, report.attempts, report.took, outcome);
        }
        match report.outcome {
            Some(Outcome::Retry { due, .. }) => self.queues.expect_retry(due),
            Some(Outcome::Delivered { .. }) => self.delivered.count_one(self.context.now().relay_time),
            Some(Outcome::Dead { .. }) => self.context.wake_fallback(),
            None => {}
        }
        match report.signal {
            HealthSignal::Success => {
                self.bring_forward.attempt_succeeded(report.change.closed);
                self.outage.attempt_succeeded();
            }
            HealthSignal::Failure => self.learn_failure(report),
            HealthSignal::Refused(_) => {
                let now = self.context.now();
                self.outage.attempt_refused(report.failure(), now.relay_time);
                if let Some(silence) = report.change.throttled
                    && self.outage.reports_silence(now.monotonic)
                {
                    log::receiver_wants_silence(name, report.failure(), silence);
                }
            }
            HealthSignal::Gone => {
                self.learn_failure(report);
                if self.pauses.begin(PauseReason::Gone) {
                    let invocation = &self.context.shared.invocation;
                    log::receiver_is_gone(self.context.name(), invocation, report.status(), report.failure());
                }
            }
            HealthSignal::OutputClosed if self.context.is_alone() => {
                if self.pauses.output_closed() {
                    log::last_output_is_closed(name);
                }
            }
            HealthSignal::OutputClosed => {
                if self.pauses.begin(PauseReason::Closed) {
                    log::output_is_closed(name);
                }
            }
            HealthSignal::Neutral => {}
        }
    }

    fn learn_failure(&mut self, report: &AttemptReport) {
        let (name, now) = (self.context.name(), self.context.now());
        if let Some(reason) = self.outage.attempt_failed(report.failure(), now.relay_time, now.monotonic) {
            log::sink_fails(name, &reason);
        }
        self.bring_forward.attempt_failed(now.relay_time.before(report.took));
        if report.change.opened {
            log::nothing_gets_through(name, report.failure());
        }
    }
}

/// Counts how an attempt ended.
fn count(metrics: &SinkMetrics, report: &AttemptReport) {
    if report.was_sent {
        metrics.attempt_took(report.took);
    }
    match (&report.outcome, report.signal) {
        (Some(Outcome::Delivered { .. }), _) => metrics.delivered(report.age),
        (Some(Outcome::Retry { .. }), HealthSignal::Refused(_)) => metrics.refused(),
        (Some(Outcome::Retry { .. }), _) => metrics.retried(),
        (Some(Outcome::Dead { .. }), _) => metrics.died(1),
        (None, _) => {}
    }
}
