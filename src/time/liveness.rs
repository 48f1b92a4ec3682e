//! Shows whether the loops still go round. While they do, the relay sends signs of life to systemd's watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Clock, Instant};

/// The longest time between two turns of a loop that does not rest ([`Liveness::rest`]).
pub const MAX_TURN_INTERVAL: Duration = Duration::from_secs(5);

/// The time at which one loop last turned. Clones share this time.
///
/// A loop goes on turning while it waits for a receiver, or for a program to read stdout, because such a wait is no
/// hang. A loop that waits for the store does not turn, so a store that hangs is noticed.
#[derive(Clone, Debug)]
pub struct Liveness {
    clock: Clock,
    start: Instant,
    /// The milliseconds from `start` to the last turn; [`RESTING`] while the loop has nothing to do.
    last: Arc<AtomicU64>,
}

const RESTING: u64 = u64::MAX;

impl Liveness {
    /// Makes the liveness of a loop that turns now for the first time.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), start: clock.monotonic(), last: Arc::default() }
    }

    /// Records that the loop has turned.
    pub fn tick(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Records that the loop has nothing to do until it gets new work.
    pub fn rest(&self) {
        self.last.store(RESTING, Ordering::Relaxed);
    }

    /// Returns how long ago the loop last turned; zero while it rests.
    pub fn stalled_for(&self) -> Duration {
        match self.last.load(Ordering::Relaxed) {
            RESTING => Duration::ZERO,
            last => Duration::from_millis(self.now().saturating_sub(last)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from((self.clock.monotonic() - self.start).as_millis()).unwrap_or(RESTING - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_stalled_and_one_that_rests_is_not() {
        let turns = Liveness::new(&Clock::starting_at(UnixMs(0)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(turns.stalled_for(), Duration::from_secs(7));
        turns.tick();
        assert_eq!(turns.stalled_for(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(turns.clone().stalled_for(), Duration::from_secs(3));
        turns.rest();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(turns.stalled_for(), Duration::ZERO);
    }
}
