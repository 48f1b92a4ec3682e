//! Whether a command has asked for messages that a sink never had. Whether the sink wants them is for the poller to decide,
//! since the answer may need details of numbers.

use crate::store::Replays;
use crate::time::{AT_LEAST_EVERY, Instant};

/// What commands had asked for when the poller looked last.
pub(super) struct ReplayWatch {
    decided: Replays,
    due: Instant,
}

impl ReplayWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { decided: Replays::default(), due: now }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Looks: the next look is due in a few seconds.
    pub(super) fn look(&mut self, now: Instant) {
        self.due = now + AT_LEAST_EVERY;
    }

    /// Whether commands have asked for more since the last decision.
    pub(super) fn is_new(&self, found: Replays) -> bool {
        found != self.decided
    }

    /// All that commands had asked for was decided.
    pub(super) fn note_decided(&mut self, found: Replays) {
        self.decided = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn the_next_look_is_due_as_often_as_the_loop_turns() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let mut watch = ReplayWatch::new(now);
        assert!(watch.due() == now && !watch.is_new(Replays::default()));
        watch.look(now);
        assert_eq!(watch.due(), now + AT_LEAST_EVERY);
    }
}
