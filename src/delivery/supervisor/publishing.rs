//! What a sink's loop shows of itself.

use std::time::Duration;

use super::{Allowance, Supervisor};
use crate::delivery::breaker::Admission;
use crate::delivery::lanes::PerLane;
use crate::delivery::status::{Held, Published, SinkStatus};
use crate::time::{AT_LEAST_EVERY, Instant};

/// Of a silence: as long as the slow poll.
const A_MOMENT: Duration = AT_LEAST_EVERY;

impl Supervisor {
    /// After each turn.
    pub(super) fn publish(&self) {
        let now = self.now();
        let wall = |at: Instant| self.shared.clock.relay_time().after(at.saturating_duration_since(now));
        let held = self.held().or_else(|| {
            let standing = self.standing.lock();
            if let Some(until) = standing.silent_until(now) {
                return Some(Held::Busy { until: wall(until) });
            }
            match standing.admission(now) {
                Admission::All => None,
                Admission::Probe => Some(Held::Probing { next: Some(wall(now)) }),
                Admission::NotBefore(next) => Some(Held::Probing { next: Some(wall(next)) }),
                Admission::Probing => Some(Held::Probing { next: None }),
            }
        });
        let may_begin_more = match self.allowance() {
            Allowance::Nothing { .. } => false,
            _ if self.waits_for_the_time() => false,
            Allowance::Probe | Allowance::All => self.queues.must_look() || self.queues.waiting() != PerLane::default(),
        };
        let store_work = self.to_bring_forward().is_some() || self.has_expired() || self.preparing.is_under_way();
        let idle = self.in_flight.is_empty() && !may_begin_more && !store_work && !self.is_silent_for_a_moment();
        let status = SinkStatus {
            name: self.identity.name.clone(),
            in_flight: self.in_flight.len(),
            failing: self.health.is_failing(),
            failing_since: self.failing_from,
            held,
        };
        let published = Published { status, idle_after: idle.then_some(self.seen_wake) };
        self.published.send_if_modified(|before| {
            let changed = *before != published;
            *before = published;
            changed
        });
    }

    /// A receiver that sets the pace is waited for, also by who delivers what is due and ends.
    fn is_silent_for_a_moment(&self) -> bool {
        let now = self.now();
        let until = self.standing.lock().busy_until(now);
        self.held().is_none() && until.is_some_and(|until| until <= now + A_MOMENT)
    }
}
