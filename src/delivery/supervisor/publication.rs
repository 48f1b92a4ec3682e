//! Publishes what the loop knows of its sink, for `status`, for `once` and for a reload.

use super::Supervisor;
use super::wakeups::SLOW_POLL;
use crate::delivery::breaker::Admission;
use crate::delivery::lanes::PerLane;
use crate::delivery::status::{BlockedBy, Published, SinkStatus, shortened};

impl Supervisor {
    /// Publishes the values of the sink after this turn. Tasks that wait for a change are woken only if `blocked_by` or
    /// `idle_after` has changed. Counters change with nearly every turn, and no task waits for that.
    pub(super) fn publish(&self) {
        let now = self.context.now();
        let pause = self.pauses.reason();
        let (blocked_by, silence_until, learned_per_minute) = {
            let health = self.context.health.lock();
            let blocked_by = pause.map(BlockedBy::Pause).or_else(|| health.blocked_by(now));
            (blocked_by, health.silence_until(now.monotonic), health.learned_per_minute(now.monotonic))
        };
        let may_begin_more = matches!(self.admission(), Some(Admission::All | Admission::Probe))
            && !self.expiry.is_full(self.time)
            && (self.queues.needs_claims() || self.queues.waiting() != PerLane::default());
        // The command `once` ends when all sinks are idle. It is to wait for the end of a short silence, so a sink in
        // such a silence does not count as idle.
        let is_silent_for_a_moment =
            pause.is_none() && silence_until.is_some_and(|until| until <= now.monotonic + SLOW_POLL);
        let is_idle =
            self.dispatch.in_flight() == 0 && !may_begin_more && !self.has_store_work() && !is_silent_for_a_moment;
        let status = SinkStatus {
            name: self.context.name().to_owned(),
            in_flight: self.dispatch.in_flight(),
            failing: self.outage.is_failing(),
            failing_since: self.outage.failing_since(),
            last_failure: self.outage.last_failure().map(shortened),
            delivered: self.delivered,
            blocked_by,
            learned_per_minute,
        };
        let idle_after = is_idle.then_some(self.wakeups.seen());
        let published = Published { status, idle_after, is_retired: self.is_retired };
        self.published.send_if_modified(|before| {
            let wakes =
                before.idle_after != published.idle_after || before.status.blocked_by != published.status.blocked_by;
            *before = published;
            wakes
        });
    }
}
