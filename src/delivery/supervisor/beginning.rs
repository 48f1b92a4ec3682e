//! Where deliveries begin, and where they end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::{AbortHandle, Id, JoinError};

use super::{Identity, Supervisor};
use crate::delivery::attempt::{Journey, OWN_FAILURE, Report};
use crate::delivery::breaker;
use crate::delivery::lanes::{self, Lane};
use crate::domain::Seq;
use crate::formats::{Format, Payload, Unrenderable};
use crate::sinks::Outgoing;
use crate::store::Claim;

/// A delivery that was begun and is not recorded yet.
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) lane: Lane,
    pub(super) is_probe: bool,
    pub(super) answered: Arc<AtomicBool>,
    pub(super) abort: AbortHandle,
}

impl Supervisor {
    /// Begins the delivery whose turn it is. Returns whether there was one.
    pub(super) fn begin_next(&mut self, is_probe: bool) -> bool {
        let lane = lanes::next(self.queues.waiting(), self.under_way, self.workers(), self.last);
        let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
        self.last.note(lane);
        if is_probe {
            self.breaker.probe_began();
        }
        self.begin(claim, lane, is_probe);
        true
    }

    fn begin(&mut self, claim: Claim, lane: Lane, is_probe: bool) {
        let Claim { seq, id, raw, attempts, first_attempt, paused, .. } = claim;
        let Identity { id: sink, format, sink: to, .. } = &self.identity;
        let payload = payload(format, raw, to.takes_lines());
        let answered = Arc::new(AtomicBool::new(false));
        let journey = Journey {
            sink: *sink,
            seq,
            id: id.clone(),
            is_probe,
            attempts_before: attempts,
            first_attempt: first_attempt.unwrap_or_else(|| self.shared.clock.wall()),
            paused,
            began: self.now(),
            retry: Arc::clone(&self.retry),
            jitter: Arc::clone(&self.shared.jitter),
            clock: self.shared.clock.clone(),
            settler: self.shared.settler.clone(),
            answered: Arc::clone(&answered),
        };
        // Begun here and not in the task, so that it is begun in this order.
        let begun = payload.map(|Payload { content_type, body }| to.begin(Outgoing { id, content_type, body }));
        let abort = self.tasks.spawn(journey.travel(begun));
        *self.under_way.get_mut(lane) += 1;
        self.in_flight.insert(abort.id(), InFlight { seq, lane, is_probe, answered, abort });
    }

    /// Its worker is free.
    pub(super) fn ended(&mut self, joined: Result<(Id, Report), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(delivery) = self.in_flight.remove(&id) else { return };
        *self.under_way.get_mut(delivery.lane) -= 1;
        match joined {
            Ok((_, report)) => self.learn(&report),
            Err(error) => {
                if delivery.is_probe {
                    self.breaker.probe_vanished();
                }
                if error.is_panic() {
                    // Not recorded, so it would be claimed again at once.
                    self.busy_until = Some(self.now() + breaker::LONGEST_WAIT);
                    tracing::error!(sink.name = self.identity.name, "a delivery ended in a panic: please report it");
                }
            }
        }
    }
}

/// What is sent for a message. A template runs code that others wrote, here on the sink's own loop: a panic of it costs
/// one message.
fn payload(format: &Format, raw: Box<str>, as_line: bool) -> Result<Payload, Unrenderable> {
    let make = || if as_line { format.line(raw, None) } else { format.payload(raw, None) };
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(Unrenderable(OWN_FAILURE.to_owned())))
}
