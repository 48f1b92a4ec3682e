//! Decides when a sink's loop looks into the store: after each wake-up, and every five seconds (the *slow poll*) in
//! case a wake-up was lost.
//!
//! Invariant: wake-ups never put off the slow poll, because only the slow poll is sure to notice what commands have
//! changed in the store.

use std::time::Duration;

use crate::delivery::waker::WakeCounts;
use crate::time::{Instant, MAX_TURN_INTERVAL};

/// Time between two slow polls.
pub(super) const SLOW_POLL: Duration = MAX_TURN_INTERVAL;

/// The next slow poll, and the last wake-ups that the loop has noticed.
#[derive(Debug)]
pub(super) struct Wakeups {
    poll_at: Instant,
    seen: WakeCounts,
}

/// Why the loop looks into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreReadReason {
    /// A wake-up came: there may be something to deliver.
    Deliveries,
    /// The slow poll is due, or a wake-up says that a command may have changed the store: the loop also looks for
    /// pauses and for a new name of the sink.
    Everything,
}

impl Wakeups {
    pub(super) fn new(now: Instant) -> Self {
        Self { poll_at: now + SLOW_POLL, seen: WakeCounts::default() }
    }

    /// Takes the numbers of wake-ups so far. Returns what to look for in the store, if there is a reason to look.
    pub(super) fn notice(&mut self, wake: WakeCounts, now: Instant) -> Option<StoreReadReason> {
        let before = std::mem::replace(&mut self.seen, wake);
        let is_due = now >= self.poll_at;
        if is_due || before.for_commands != wake.for_commands {
            self.poll_at = now + SLOW_POLL;
            return Some(StoreReadReason::Everything);
        }
        (before != wake).then_some(StoreReadReason::Deliveries)
    }

    /// When the next slow poll is due.
    pub(super) fn poll_at(&self) -> Instant {
        self.poll_at
    }

    /// The number of the last wake-up that was noticed.
    pub(super) fn seen(&self) -> u64 {
        self.seen.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    fn woken(all: u64, for_commands: u64) -> WakeCounts {
        WakeCounts { all, for_commands }
    }

    #[tokio::test]
    async fn a_wake_up_for_commands_is_a_slow_poll() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let mut wakeups = Wakeups::new(start);
        let later = start + Duration::from_secs(1);
        assert_eq!(wakeups.notice(woken(1, 1), later), Some(StoreReadReason::Everything));
        assert_eq!(wakeups.poll_at(), later + SLOW_POLL);
        assert_eq!(wakeups.notice(woken(2, 1), later), Some(StoreReadReason::Deliveries));
        assert_eq!(wakeups.notice(woken(2, 1), later), None);
    }

    #[tokio::test]
    async fn the_slow_poll_comes_however_often_somebody_wakes_the_loop() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let mut wakeups = Wakeups::new(start);
        let polls = (1..=600_u64).filter(|tenth| {
            let reason = wakeups.notice(woken(*tenth, 0), start + Duration::from_millis(100 * tenth));
            assert!(reason.is_some(), "each wake-up is a reason to look");
            reason == Some(StoreReadReason::Everything)
        });
        assert_eq!(polls.count(), 12, "one every five seconds");
    }

    #[tokio::test]
    async fn a_wake_up_is_noticed_once() {
        let start = Clock::starting_at(UnixMs(0)).monotonic();
        let mut wakeups = Wakeups::new(start);
        assert_eq!(wakeups.notice(woken(0, 0), start), None);
        assert_eq!(wakeups.notice(woken(3, 0), start), Some(StoreReadReason::Deliveries));
        assert_eq!((wakeups.notice(woken(3, 0), start), wakeups.seen()), (None, 3));
        assert_eq!(wakeups.notice(woken(3, 0), wakeups.poll_at()), Some(StoreReadReason::Everything));
        assert_eq!(wakeups.poll_at(), start + 2 * SLOW_POLL);
    }
}
