//! Notices when a command has asked for a replay of messages that a sink never had. The poller decides whether the sink
//! wants these messages, because the decision may need details of numbers.

use crate::store::ReplayCount;
use crate::time::{Instant, MAX_TURN_INTERVAL};

/// The replays that were decided, and when the poller looks for new ones.
pub(super) struct ReplayWatch {
    decided: ReplayCount,
    due: Instant,
}

impl ReplayWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { decided: ReplayCount::default(), due: now }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Lets the next look come at this instant, because a command may have asked for a replay.
    pub(super) fn look_at(&mut self, at: Instant) {
        self.due = at;
    }

    /// Records that the poller looks now. The next look is due in a few seconds.
    pub(super) fn look(&mut self, now: Instant) {
        self.due = now + MAX_TURN_INTERVAL;
    }

    /// Returns whether commands have asked for further replays since the last decision.
    pub(super) fn is_new(&self, found: ReplayCount) -> bool {
        found != self.decided
    }

    /// Records that all replays up to the count `found` were decided.
    pub(super) fn note_decided(&mut self, found: ReplayCount) {
        self.decided = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn the_next_look_is_due_in_a_few_seconds() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut watch = ReplayWatch::new(now);
        assert!(watch.due() == now && !watch.is_new(ReplayCount::default()));
        watch.look(now);
        assert_eq!(watch.due(), now + MAX_TURN_INTERVAL);
    }
}
