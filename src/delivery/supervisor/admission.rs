//! Begins attempts: decides how many may begin now, and which message is sent next.
//!
//! Invariants: no attempt begins while the sink is paused, while its receiver wants silence, or before the pace allows
//! it. The times of a claim are compared with the relay's time only if the relay's time was not corrected since the
//! claim was made.

use super::Supervisor;
use crate::delivery::breaker::Admission;
use crate::delivery::queues::{CLAIM_BATCH, PROBE_CLAIM};
use crate::delivery::throttle::Gate;
use crate::domain::NumberUse;
use crate::store::ClaimLimits;

impl Supervisor {
    /// Begins as many attempts as may begin now.
    pub(super) async fn begin_attempts(&mut self) {
        match self.admission() {
            Some(Admission::All) => {
                while self.dispatch.has_free_worker() {
                    if self.queues.needs_claims() && !self.claim(CLAIM_BATCH).await {
                        return;
                    }
                    let mut begun = false;
                    while self.begin_next(false) {
                        begun = true;
                        if self.queues.needs_claims() {
                            break;
                        }
                    }
                    if !begun {
                        return;
                    }
                }
            }
            Some(Admission::Probe) => {
                if self.queues.needs_claims() && self.claim(PROBE_CLAIM).await {
                    self.begin_next(true);
                }
                self.queues.give_back();
            }
            Some(Admission::NotBefore(_) | Admission::Probing) | None => self.queues.give_back(),
        }
    }

    /// Returns which attempts may begin now. `None`: no attempt, because the sink is retired or paused, its queues are
    /// not complete, or the stored times are being corrected.
    pub(super) fn admission(&self) -> Option<Admission> {
        // If the sink keeps the order of each number, a message must not overtake an older message that is not in the
        // queue of the number yet.
        let is_incomplete = self.context.is_ordered() && (self.backfill.is_under_way() || self.has_unordered_in_flight);
        // A claim contains stored times. While these are being corrected, it is not known whether the times of a new
        // claim are correct already.
        let is_correcting = self.context.shared.clock.relay_moment().is_correcting;
        if self.is_retired || self.pauses.reason().is_some() || is_incomplete || is_correcting {
            return None;
        }
        let now = self.context.monotonic();
        let health = self.context.health.lock();
        Some(health.silence_until(now).map_or_else(|| health.admission(now), Admission::NotBefore))
    }

    /// Asks the store for messages to send. Returns whether the store answered.
    async fn claim(&mut self, chunk: ClaimLimits) -> bool {
        let Self { context, store, .. } = self;
        let clock = context.shared.clock.relay_moment();
        if store.waits_until(context.monotonic()).is_some() || clock.is_correcting {
            return false;
        }
        if std::mem::replace(&mut self.claims_corrected_by, clock.corrected_by) != clock.corrected_by {
            self.queues.give_back();
        }
        let mut excluded = self.dispatch.excluded();
        excluded.seqs.extend(self.expiry.set_aside());
        let chunk = ClaimLimits { details: context.identity.format.number_use() != NumberUse::Ignored, ..chunk };
        let claimed = self.queues.claim(&context.shared.store, context.id(), clock.time, chunk, excluded).await;
        store.note_read(context, claimed).is_some()
    }

    /// Begins the delivery whose turn it is, if a delivery may begin now. Returns whether a delivery began.
    fn begin_next(&mut self, is_probe: bool) -> bool {
        if self.gate() != Gate::Open || self.expiry.is_full(self.time) {
            return false;
        }
        let now = self.context.now();
        if now.corrected_by != self.claims_corrected_by {
            // The relay's time was corrected since the claims were made, so the times of the claims are wrong.
            return false;
        }
        let sharing = self.context.health.lock().lane_sharing(now.monotonic);
        let message_time = self.context.shared.clock.latest_message_time();
        loop {
            let lane = self.dispatch.next_lane(self.queues.waiting(), is_probe, sharing);
            let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
            if self.expiry.sets_aside(&claim, message_time) {
                continue;
            }
            self.dispatch.begin(&self.context, claim, lane, now, is_probe, self.time.may_give_up());
            return true;
        }
    }

    /// Returns when the next attempt may begin, by the pace that the receiver sets and by `requests_per_minute`.
    pub(super) fn gate(&self) -> Gate {
        let now = self.context.monotonic();
        match (self.context.health.lock().gate(now), self.dispatch.paced_until(now)) {
            (Gate::Open, Some(paced)) => Gate::At(paced),
            (Gate::At(next), Some(paced)) => Gate::At(next.max(paced)),
            (gate, _) => gate,
        }
    }
}
