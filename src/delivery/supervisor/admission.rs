//! Beginning attempts: which may begin now, and which message is sent next.
//!
//! Invariant: no attempt begins while the sink is paused, while its receiver wants silence, or before the pace allows
//! it.

use super::Supervisor;
use crate::delivery::breaker::Admission;
use crate::delivery::health::AttemptStart;
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

    /// Returns which attempts may begin now. `None`: no attempt may begin while the sink is retired or paused, or while
    /// its queues are incomplete.
    pub(super) fn admission(&self) -> Option<Admission> {
        // If the sink keeps the order of each number, a message must not overtake an older one that is not in the queue
        // of its number yet.
        let is_incomplete = self.context.is_ordered() && (self.backfill.is_under_way() || self.has_unordered_in_flight);
        if self.is_retired || self.pauses.reason().is_some() || is_incomplete {
            return None;
        }
        let now = self.context.monotonic();
        let health = self.context.health.lock();
        Some(health.silence_until(now).map_or_else(|| health.admission(now), Admission::NotBefore))
    }

    /// Asks the store for messages to send. Returns whether the store answered.
    async fn claim(&mut self, chunk: ClaimLimits) -> bool {
        let Self { context, store, .. } = self;
        if store.waits_until(context.monotonic()).is_some() {
            return false;
        }
        let mut excluded = self.dispatch.excluded();
        excluded.seqs.extend(self.expiry.set_aside());
        let chunk = ClaimLimits { details: context.identity.format.number_use() != NumberUse::Ignored, ..chunk };
        let now = context.now().relay_time;
        let claimed = self.queues.claim(&context.shared.store, context.id(), now, chunk, excluded).await;
        store.note_read(context, claimed).is_some()
    }

    /// Begins the delivery whose turn it is, if a delivery may begin now. Returns whether a delivery began.
    fn begin_next(&mut self, is_probe: bool) -> bool {
        if self.gate() != Gate::Open || self.expiry.is_full(self.time) {
            return false;
        }
        let now = self.context.monotonic();
        let sharing = self.context.health.lock().lane_sharing(now);
        let message_time = self.context.shared.clock.latest_message_time();
        loop {
            let lane = self.dispatch.next_lane(self.queues.waiting(), is_probe, sharing);
            let Some((lane, claim)) = lane.and_then(|lane| Some((lane, self.queues.take(lane)?))) else { return false };
            if self.expiry.sets_aside(&claim, message_time) {
                continue;
            }
            let start = AttemptStart { at: now, is_probe };
            self.dispatch.begin(&self.context, claim, lane, start, self.time.may_give_up());
            return true;
        }
    }

    /// Returns when an attempt may begin, by the pace that the receiver sets and by `requests_per_minute`.
    pub(super) fn gate(&self) -> Gate {
        let now = self.context.monotonic();
        match (self.context.health.lock().gate(now), self.dispatch.paced_until(now)) {
            (Gate::Open, Some(paced)) => Gate::At(paced),
            (Gate::At(next), Some(paced)) => Gate::At(next.max(paced)),
            (gate, _) => gate,
        }
    }
}
