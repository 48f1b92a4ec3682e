//! One delivery on its way: send, decide, settle. Each is a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::decide::{Decision, Finding, Tried, decide, is_refusal, unrenderable};
use super::health::{Began, Learned, Moment, SharedHealth};
use super::options::Retry;
use super::settler::{SettlementsUnderWay, Settler, SettlerEnded};
use crate::domain::{Outcome, Seq, UnixMs};
use crate::formats::Unrenderable;
use crate::sinks::{Attempt, Attempting};
use crate::store::{Settlement, SinkId};
use crate::time::Clock;
use crate::time::backoff::Jitter;

/// What is said after a panic of our own.
pub(super) const OWN_FAILURE: &str = "the relay itself failed over this message: please report it";

/// What a delivery needs on its way.
pub(super) struct Journey {
    pub(super) sink: SinkId,
    pub(super) seq: Seq,
    pub(super) id: String,
    pub(super) began: Began,
    pub(super) attempts_before: u32,
    pub(super) first_attempt: UnixMs,
    pub(super) paused: Duration,
    /// From when on it is too old to be sent again, by the relay's time.
    pub(super) expires: Option<UnixMs>,
    /// Whether it may end because time has passed. It may not if it was begun when nobody knew what time it is.
    pub(super) may_end: bool,
    /// [`Clock::rebased_by`] when it was begun.
    pub(super) rebased_by: i64,
    pub(super) retry: Arc<Retry>,
    pub(super) jitter: Arc<Jitter>,
    pub(super) clock: Clock,
    pub(super) settler: Settler,
    pub(super) standing: SharedHealth,
    /// Set once the receiver's part is over and only ours is left.
    pub(super) answered: Arc<AtomicBool>,
}

/// How it went. It is on the disk by now.
#[derive(Debug)]
pub(super) struct AttemptReport {
    pub(super) id: String,
    pub(super) attempts: u32,
    pub(super) took: Duration,
    pub(super) outcome: Option<Outcome>,
    pub(super) finding: Finding,
    pub(super) learned: Learned,
}

impl Journey {
    /// From the begun attempt to the committed settlement. Where there is nothing to send, there is no attempt.
    pub(super) async fn travel(
        self,
        begun: Result<Attempting, Unrenderable>,
        under_way: SettlementsUnderWay,
    ) -> AttemptReport {
        let attempt = match begun {
            Ok(attempting) => Ok(AssertUnwindSafe(attempting).catch_unwind().await.unwrap_or_else(|_| {
                Attempt::Failed { status: None, retry_after: None, answer: OWN_FAILURE.to_owned() }
            })),
            Err(reason) => Err(reason),
        };
        let took = self.clock.monotonic() - self.began.at;
        self.answered.store(true, Ordering::Relaxed);
        // Before the settlement is handed over: whoever takes that must not wait for it.
        drop(under_way);
        let attempts = self.attempts_before.saturating_add(u32::from(attempt.is_ok()));
        let tried = Tried {
            attempts,
            first_attempt: self.first_attempt,
            ended: self.clock.relay_time(),
            paused: self.paused,
            expires: self.expires.filter(|_| self.may_end),
            refused_alone: attempt.as_ref().is_ok_and(is_refusal) && self.standing.lock().is_refused_alone(self.seq),
        };
        let retry = match self.may_end {
            true => Arc::clone(&self.retry),
            false => Arc::new(Retry { give_up_after: None, ..(*self.retry).clone() }),
        };
        let Decision { outcome, finding } = match attempt {
            Ok(attempt) => decide(attempt, tried, &retry, &self.jitter),
            Err(reason) => unrenderable(reason),
        };
        // A refusal that is not about the message is no step of the message's own schedule.
        let is_refused = matches!((finding, &outcome), (Finding::Busy(_), Some(Outcome::Retry { .. })));
        let attempts = if is_refused { self.attempts_before } else { attempts };
        let (learned, written) = self.settle(attempts, outcome.as_ref(), finding);
        if let Some(written) = written
            && written.await.is_err()
        {
            // Nobody can record it any more. Without a record it would be sent again at once, so its worker stays taken
            // until the end of the process.
            tracing::error!(message.id = self.id, "a delivery was made that cannot be recorded");
            std::future::pending::<()>().await;
        }
        AttemptReport { id: self.id, attempts, took, outcome, finding, learned }
    }

    /// Changes how the sink stands, and hands both over to be written in one transaction.
    fn settle(
        &self,
        attempts: u32,
        outcome: Option<&Outcome>,
        finding: Finding,
    ) -> (Learned, Option<impl Future<Output = Result<(), SettlerEnded>> + use<>>) {
        let mut standing = self.standing.lock();
        let now = Moment { monotonic: self.clock.monotonic(), wall: self.clock.relay_time() };
        let moved = self.clock.rebased_by().saturating_sub(self.rebased_by);
        if finding == Finding::Works {
            standing.took(self.seq);
        }
        let learned = standing.learn(finding, self.began, now, &self.retry.schedule(), &self.jitter);
        let settled = outcome.map(|outcome| {
            self.settler.settle(Settlement {
                sink: self.sink,
                seq: self.seq,
                attempts,
                first_attempt: UnixMs(self.first_attempt.0.saturating_add(moved)),
                outcome: outcome.clone(),
                standing: learned.record,
            })
        });
        (learned, settled)
    }
}
