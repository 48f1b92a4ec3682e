//! Decides when a sink's loop looks into the store: after each wake-up, and every five seconds (the *slow poll*) in
//! case a wake-up was lost.
//!
//! Invariant: wake-ups never put off the slow poll, because only the slow poll notices what commands have changed in
//! the store.

use std::time::Duration;

use crate::time::{Instant, MAX_TURN_INTERVAL};

/// Time between two slow polls.
pub(super) const SLOW_POLL: Duration = MAX_TURN_INTERVAL;

/// The next slow poll, and the last wake-up that the loop has noticed.
#[derive(Debug)]
pub(super) struct Wakeups {
    poll_at: Instant,
    seen: u64,
}

/// Why the loop looks into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreReadReason {
    /// A wake-up came.
    WokenUp,
    /// The slow poll is due, with or without a wake-up.
    SlowPoll,
}

impl Wakeups {
    pub(super) fn new(now: Instant) -> Self {
        Self { poll_at: now + SLOW_POLL, seen: 0 }
    }

    /// Takes the number of wake-ups so far. Returns why to look into the store, if there is a reason.
    pub(super) fn notice(&mut self, wake: u64, now: Instant) -> Option<StoreReadReason> {
        let woken = std::mem::replace(&mut self.seen, wake) != wake;
        if now >= self.poll_at {
            self.poll_at = now + SLOW_POLL;
            return Some(StoreReadReason::SlowPoll);
        }
        woken.then_some(StoreReadReason::WokenUp)
    }

    /// When the next slow poll is due.
    pub(super) fn poll_at(&self) -> Instant {
        self.poll_at
    }

    /// The number of the last wake-up that was noticed.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test]
    async fn the_slow_poll_comes_however_often_somebody_wakes_the_loop() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let mut wakeups = Wakeups::new(start);
        let polls = (1..=600_u64).filter(|tenth| {
            let reason = wakeups.notice(*tenth, start + Duration::from_millis(100 * tenth));
            assert!(reason.is_some(), "each wake-up is a reason to look");
            reason == Some(StoreReadReason::SlowPoll)
        });
        assert_eq!(polls.count(), 12, "in a minute");
    }

    #[tokio::test]
    async fn a_wake_up_is_noticed_once() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let mut wakeups = Wakeups::new(start);
        assert_eq!(wakeups.notice(0, start), None);
        assert_eq!(wakeups.notice(3, start), Some(StoreReadReason::WokenUp));
        assert_eq!((wakeups.notice(3, start), wakeups.seen()), (None, 3));
        assert_eq!(wakeups.notice(3, wakeups.poll_at()), Some(StoreReadReason::SlowPoll));
        assert_eq!(wakeups.poll_at(), start + 2 * SLOW_POLL);
    }
}
