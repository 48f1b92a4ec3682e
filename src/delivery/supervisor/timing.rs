//! What a sink's loop does while nobody knows what time it is, and once that is known.
//!
//! Invariants: as long as it is not known, nothing becomes a dead letter because time has passed; what looks too old is
//! neither sent nor given up. When it becomes known, all that was claimed is looked at anew.

use super::Supervisor;
use super::expiry::AT_ONCE;
use crate::delivery::health::Moment;
use crate::domain::UnixMs;
use crate::time::Clock;

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeKnown {
    /// Whether the relay's time is right.
    pub(super) confirmed: bool,
    /// Whether it is known how old messages are.
    pub(super) ages: bool,
}

impl TimeKnown {
    pub(super) fn by(clock: &Clock) -> Self {
        Self { confirmed: clock.is_confirmed(), ages: clock.message_time().is_some() }
    }
}

impl Supervisor {
    /// Looks whether more is known of the time by now.
    pub(super) fn notice_the_time(&mut self) {
        let known = TimeKnown::by(&self.shared.clock);
        let before = std::mem::replace(&mut self.time, known);
        if known == before {
            return;
        }
        let rebased_by = self.shared.clock.rebased_by();
        if known.confirmed && !before.confirmed && rebased_by != 0 {
            let now = Moment { monotonic: self.now(), wall: self.shared.clock.relay_time() };
            self.standing.lock().follow_rebase(now);
            self.failing_from = self.failing_from.map(|from| UnixMs(from.0.saturating_add(rebased_by)));
            // As after a start: nobody knows what failed first.
            self.failing_since = self.failing_since.map(|_| UnixMs::MIN);
            self.bringing_forward = self.bringing_forward.map(|_| UnixMs::MIN);
        }
        self.too_old.clear();
        self.queues.give_back();
        self.queues.look_everywhere();
    }

    /// Whether messages were found to be too old that are to be written down now.
    pub(super) fn has_expired(&self) -> bool {
        self.time.ages && !self.too_old.is_empty()
    }

    /// Whether so many messages look too old that no more are looked at before it is known how old they are.
    pub(super) fn waits_for_the_time(&self) -> bool {
        !self.time.ages && self.too_old.len() >= AT_ONCE
    }
}
