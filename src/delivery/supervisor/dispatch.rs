//! Where deliveries begin, and where they end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::{AbortHandle, Id, JoinError};

use super::{Identity, Supervisor};
use crate::delivery::attempt::{AttemptReport, Journey, OWN_FAILURE};
use crate::delivery::health::{Began, Moment};
use crate::delivery::lanes::{self, Lane, PerLane};
use crate::delivery::throttle::Gate;
use crate::delivery::{breaker, expiry};
use crate::domain::{Seq, UnixMs};
use crate::formats::{Format, Payload, Unrenderable};
use crate::sinks::Outgoing;
use crate::store::Claim;

/// A delivery that was begun and is not recorded yet.
pub(super) struct InFlight {
    pub(super) seq: Seq,
    /// Where the order of its number is kept.
    pub(super) number: Option<i64>,
    pub(super) lane: Lane,
    pub(super) began: Began,
    pub(super) answered: Arc<AtomicBool>,
    pub(super) abort: AbortHandle,
}

impl Supervisor {
    /// Begins the delivery whose turn it is, if one may begin now. Returns whether there was one.
    pub(super) fn begin_next(&mut self, is_probe: bool) -> bool {
        if self.gate() != Gate::Open || self.waits_for_the_time() {
            return false;
        }
        let now = self.now();
        // A probe is the only one: new messages and those that failed take turns, as with one worker.
        let (under_way, workers) = match is_probe {
            true => (PerLane::default(), 1),
            false => (self.under_way, self.workers()),
        };
        let next = if self.standing.lock().is_throttled(now) { lanes::next_in_turn } else { lanes::next };
        loop {
            let lane = next(self.queues.waiting(), under_way, workers, self.last);
            let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
            if self.is_too_old(&claim) {
                self.too_old.push(claim.seq);
                continue;
            }
            self.last.note(lane);
            self.standing.lock().began(is_probe, now);
            if let Some(pace) = &mut self.pace {
                pace.began(now);
            }
            self.begin(claim, lane, Began { at: now, is_probe });
            return true;
        }
    }

    fn begin(&mut self, claim: Claim, lane: Lane, began: Began) {
        let Claim { seq, id, raw, attempts, first_attempt, paused, received, replays, number, details, .. } = claim;
        let Identity { registered, options, format, sink: to, .. } = &self.identity;
        // What waits for its number holds up what follows it: while nothing gets through it is tried as often as a probe.
        let hasty = self.is_ordered() && self.standing.lock().is_on_the_edge();
        let payload = payload(format, raw, details.as_deref(), to.takes_lines());
        let answered = Arc::new(AtomicBool::new(false));
        let (clock, wall) = (&self.shared.clock, self.shared.clock.relay_time());
        let journey = Journey {
            sink: registered.id,
            seq,
            id: id.clone(),
            began,
            attempts_before: attempts,
            first_attempt: first_attempt.unwrap_or(wall),
            paused,
            expires: expiry::expires(options.max_age, received, replays)
                .map(|expires| UnixMs(wall.0.saturating_add(expires.0).saturating_sub(clock.likely_message_time().0))),
            may_end: self.time.confirmed && self.time.ages,
            rebased_by: clock.rebased_by(),
            retry: Arc::clone(if hasty { &self.hasty_retry } else { &self.retry }),
            jitter: Arc::clone(&self.shared.jitter),
            clock: self.shared.clock.clone(),
            settler: self.shared.settler.clone(),
            standing: self.standing.clone(),
            answered: Arc::clone(&answered),
        };
        // Begun here and not in the task, so that it is begun in this order.
        let begun = payload.map(|Payload { content_type, body }| to.begin(Outgoing { id, content_type, body }));
        let abort = self.tasks.spawn(journey.travel(begun, self.shared.settler.begins()));
        *self.under_way.get_mut(lane) += 1;
        self.in_flight.insert(abort.id(), InFlight { seq, number, lane, began, answered, abort });
    }

    /// Its worker is free.
    pub(super) fn ended(&mut self, joined: Result<(Id, AttemptReport), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(delivery) = self.in_flight.remove(&id) else { return };
        *self.under_way.get_mut(delivery.lane) -= 1;
        if self.is_ordered() {
            // What follows it may go now.
            self.queues.look_everywhere();
        }
        match joined {
            Ok((_, report)) => self.learn(&report),
            Err(error) => {
                self.standing.lock().vanished(delivery.began);
                if error.is_panic() {
                    // Not recorded, so it would be claimed again at once.
                    let now = Moment { monotonic: self.now(), wall: self.shared.clock.relay_time() };
                    self.standing.lock().rest(now, breaker::LONGEST_WAIT);
                    tracing::error!(sink.name = self.identity.name, "a delivery ended in a panic: please report it");
                }
            }
        }
    }
}

/// What is sent for a message. A template runs code that others wrote, here on the sink's own loop: a panic of it costs
/// one message.
fn payload(format: &Format, raw: Box<str>, number: Option<&str>, as_line: bool) -> Result<Payload, Unrenderable> {
    let make = || if as_line { format.line(raw, number) } else { format.payload(raw, number) };
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(Unrenderable(OWN_FAILURE.to_owned())))
}
