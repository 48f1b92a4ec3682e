//! Decides when the loop turns next, if nothing wakes it up before.

use super::Supervisor;
use super::wakeups::SLOW_POLL;
use crate::delivery::breaker::Admission;
use crate::delivery::clock_reading::ClockReading;
use crate::delivery::throttle::Gate;
use crate::domain::UnixMs;
use crate::time::Instant;

impl Supervisor {
    pub(super) fn next_turn(&self) -> Instant {
        let ClockReading { monotonic: now, relay_time, .. } = self.context.now();
        let next = self.wakeups.poll_at();
        if self.is_retired {
            return next;
        }
        let next = self.outage.report_at().map_or(next, |tell_at| next.min(tell_at));
        let next = match self.store.waits_until(now) {
            Some(again_at) => next.min(again_at),
            None if self.has_store_work() || self.expiry.is_unfinished() || self.outage.is_recovery_unreported() => {
                return now;
            }
            None => next,
        };
        match self.admission() {
            None | Some(Admission::Probing) => next,
            Some(Admission::NotBefore(at)) => next.min(at),
            Some(Admission::All | Admission::Probe) => {
                let due_at = |due: UnixMs| now + due.since(relay_time).min(SLOW_POLL);
                let paced = match self.gate() {
                    Gate::At(at) if self.dispatch.has_free_worker() => at,
                    Gate::At(_) | Gate::Open | Gate::AfterTrial => next,
                };
                next.min(self.queues.next_due().map_or(next, due_at)).min(paced)
            }
        }
    }

    /// Whether a part of the loop has work to do on the store. Claims do not count here.
    pub(super) fn has_store_work(&self) -> bool {
        self.bring_forward.pending(&self.context).is_some()
            || self.expiry.has_dead_letters(self.time)
            || self.backfill.is_under_way()
    }
}
