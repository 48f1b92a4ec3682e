//! One attempt of a delivery. An attempt is a task of its own: it sends the message, decides how the attempt ended, and
//! records the result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::after_attempt::{AttemptHistory, Decision, HealthSignal, Refusals, decide, is_refusal, unrenderable};
use super::clock_reading::ClockReading;
use super::health::{AttemptStart, HealthChange, SharedHealth};
use super::retry_schedule::Retry;
use super::settler::{ExpectedSettlement, Settler, SettlerEnded};
use crate::domain::{Outcome, Seq, UnixMs};
use crate::formats::Unrenderable;
use crate::sinks::{Attempt, Attempting};
use crate::store::{Settlement, SinkId};
use crate::time::Clock;
use crate::time::backoff::Jitter;

/// The recorded reason of a failure, if the relay itself panicked while it handled the message.
pub(super) const OWN_FAILURE: &str = "the relay itself failed over this message: please report it";

/// Everything that the task of one attempt needs. All times of type `UnixMs` except `received` are by the relay's time.
pub(super) struct AttemptTask {
    pub(super) sink: SinkId,
    pub(super) seq: Seq,
    /// The store's key of the number that received the message.
    pub(super) number_key: Option<i64>,
    pub(super) id: String,
    pub(super) start: AttemptStart,
    pub(super) attempts_before: u32,
    /// When the first attempt for this message began.
    pub(super) first_attempt: UnixMs,
    /// How long the sink was paused since the first attempt.
    pub(super) paused: Duration,
    /// When the message becomes too old to be sent again; `None`: never, or the relay does not know yet what time it
    /// is.
    pub(super) expires: Option<UnixMs>,
    /// When the message was received, by the clock that dates messages; `None` if an operator asked to send it again.
    pub(super) received: Option<UnixMs>,
    pub(super) retry: Retry,
    /// By how many milliseconds the relay's time was corrected before the attempt began.
    pub(super) corrected_by: i64,
    pub(super) jitter: Arc<Jitter>,
    pub(super) clock: Clock,
    pub(super) settler: Settler,
    pub(super) health: SharedHealth,
    /// Set once the receiver has answered. From then on only the recording is left.
    pub(super) answered: Arc<AtomicBool>,
}

/// The report of an attempt. It is made when the result of the attempt is on the disk, or when there is no result to
/// record.
#[derive(Debug)]
pub(super) struct AttemptReport {
    pub(super) id: String,
    pub(super) attempts: u32,
    pub(super) took: Duration,
    /// Whether there was something to send.
    pub(super) was_sent: bool,
    /// How old the message was when the attempt ended; `None` if an operator asked to send it again.
    pub(super) age: Option<Duration>,
    /// `None`: the attempt does not count, and the message goes on waiting.
    pub(super) outcome: Option<Outcome>,
    pub(super) signal: HealthSignal,
    pub(super) change: HealthChange,
}

impl AttemptReport {
    /// The HTTP status of the answer, if there was one.
    pub(super) fn status(&self) -> Option<u16> {
        match self.outcome.as_ref()? {
            Outcome::Delivered { status } | Outcome::Retry { status, .. } | Outcome::Dead { status, .. } => *status,
        }
    }

    /// A description of the failure for people; empty after a success.
    pub(super) fn failure(&self) -> &str {
        match &self.outcome {
            Some(Outcome::Retry { answer, .. } | Outcome::Dead { answer, .. }) => answer,
            Some(Outcome::Delivered { .. }) | None => "",
        }
    }
}

impl AttemptTask {
    /// Waits for the end of the request that has begun, settles its outcome, and waits until the settlement is on the
    /// disk. `begun` is an error if there is nothing to send; then no attempt is counted.
    pub(super) async fn run(
        self,
        begun: Result<Attempting, Unrenderable>,
        expected: ExpectedSettlement,
    ) -> AttemptReport {
        let attempt = match begun {
            Ok(attempting) => Ok(AssertUnwindSafe(attempting).catch_unwind().await.unwrap_or_else(|_| {
                Attempt::Failed { status: None, retry_after: None, answer: OWN_FAILURE.to_owned() }
            })),
            Err(reason) => Err(reason),
        };
        let took = self.clock.monotonic() - self.start.at;
        let age = self.received.map(|received| self.clock.likely_message_time().since(received));
        let was_sent = attempt.is_ok();
        self.answered.store(true, Ordering::Relaxed);
        // The expectation is dropped before the settlement is handed over. Otherwise the settler would go on waiting
        // for a settlement that it already has.
        drop(expected);
        let attempts = self.attempts_before.saturating_add(u32::from(was_sent));
        let now = ClockReading::now(&self.clock);
        let history = AttemptHistory {
            attempts,
            first_attempt: self.first_attempt,
            ended: now.relay_time,
            paused: self.paused,
            expires: self.expires,
            refusals: match &attempt {
                Ok(attempt) if is_refusal(attempt) => self.health.lock().refused(self.seq, self.number_key),
                Ok(_) | Err(_) => Refusals::default(),
            },
        };
        let Decision { outcome, signal } = match attempt {
            Ok(attempt) => decide(attempt, history, &self.retry, &self.jitter),
            Err(reason) => unrenderable(reason),
        };
        // The retry schedule derives each wait from the number of attempts. A refusal that concerns the receiver as a
        // whole must not lengthen the later waits of this message. So the refused attempt does not count.
        let is_refused = matches!((signal, &outcome), (HealthSignal::Refused(_), Some(Outcome::Retry { .. })));
        let attempts = if is_refused { self.attempts_before } else { attempts };
        let (change, written) = self.settle(now, attempts, outcome.as_ref(), signal);
        if let Some(written) = written
            && written.await.is_err()
        {
            // The settler has ended, so the result cannot be recorded. Without a record the message would be sent again
            // at once. So the worker stays taken until the process ends.
            tracing::error!(message.id = self.id, "a delivery was made that cannot be recorded");
            std::future::pending::<()>().await;
        }
        AttemptReport { id: self.id, attempts, took, was_sent, age, outcome, signal, change }
    }

    /// Changes the sink's health, and hands the change and the outcome over to be written in one transaction.
    fn settle(
        &self,
        now: ClockReading,
        attempts: u32,
        outcome: Option<&Outcome>,
        signal: HealthSignal,
    ) -> (HealthChange, Option<impl Future<Output = Result<(), SettlerEnded>> + use<>>) {
        // The lock is kept until the settlement is handed over. So settlements are written in the order in which the
        // health changed.
        let mut health = self.health.lock();
        let corrected_by = now.corrected_by.saturating_sub(self.corrected_by);
        if signal == HealthSignal::Success {
            health.accepted(self.seq, self.number_key);
        }
        let change = health.apply(signal, self.start, now, &self.retry.schedule(), &self.jitter);
        let settled = outcome.map(|outcome| {
            let settlement = Settlement {
                sink: self.sink,
                seq: self.seq,
                attempts,
                first_attempt: UnixMs(self.first_attempt.0.saturating_add(corrected_by)),
                outcome: outcome.clone(),
                health: change.record,
            };
            self.settler.settle(settlement, now.corrected_by)
        });
        (change, settled)
    }
}
