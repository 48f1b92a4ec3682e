//! Whether the loops of this process go round, or one of them is stuck. The watchdog, the heartbeat, and the probes of
//! the admin endpoint ask for this.

use std::time::Duration;

use tokio::sync::watch;

use crate::time::{Clock, Instant};

/// A loop that has not gone round for longer than this counts as stuck. Each loop goes round at least every 5 seconds.
pub const STANDSTILL: Duration = Duration::from_secs(20);

/// The progress of the loops, as the daemon's own loop last recorded it.
#[derive(Clone, Copy, Debug)]
struct NotedProgress {
    /// How long ago the slowest loop had last gone round, at the instant `at`.
    slowest: Duration,
    at: Instant,
    is_stopping: bool,
}

/// Shows whether the loops of this process go round. Clones show the same loops.
#[derive(Clone, Debug)]
pub struct LoopProgress {
    clock: Clock,
    noted: watch::Sender<NotedProgress>,
}

impl LoopProgress {
    /// Begins to observe the loops. Each loop counts as having gone round just now.
    pub fn new(clock: &Clock) -> Self {
        let noted = NotedProgress { slowest: Duration::ZERO, at: clock.monotonic(), is_stopping: false };
        Self { clock: clock.clone(), noted: watch::Sender::new(noted) }
    }

    /// Records how long ago the slowest loop last went round.
    pub fn note(&self, slowest: Duration) {
        let at = self.clock.monotonic();
        self.noted.send_modify(|noted| (noted.slowest, noted.at) = (slowest, at));
    }

    /// Records that the relay stops.
    pub fn note_stopping(&self) {
        self.noted.send_modify(|noted| noted.is_stopping = true);
    }

    /// Returns whether the relay stops.
    pub fn is_stopping(&self) -> bool {
        self.noted.borrow().is_stopping
    }

    /// Returns how long ago the slowest loop last went round. The loop that calls [`Self::note`] counts as well.
    pub fn longest_stall(&self) -> Duration {
        let noted = *self.noted.borrow();
        noted.slowest + self.clock.monotonic().saturating_duration_since(noted.at)
    }

    /// If a loop counts as stuck, returns how long ago it last went round. While the relay stops, its loops end, so no
    /// loop counts as stuck.
    pub fn standstill(&self) -> Option<Duration> {
        Some(self.longest_stall()).filter(|stall| *stall > STANDSTILL && !self.is_stopping())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[tokio::test(start_paused = true)]
    async fn every_loop_that_is_stuck_is_noticed() {
        let progress = LoopProgress::new(&Clock::starting_at(UnixMs(0)));
        progress.note(Duration::from_secs(15));
        assert_eq!(progress.standstill(), None);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(progress.standstill(), Some(Duration::from_secs(21)), "the loop that calls `note` is stuck");
        assert_eq!(progress.longest_stall(), Duration::from_secs(21));
        progress.note(Duration::ZERO);
        assert_eq!(progress.standstill(), None);
        progress.note(Duration::from_secs(30));
        assert_eq!(progress.standstill(), Some(Duration::from_secs(30)));
        progress.note_stopping();
        assert_eq!((progress.standstill(), progress.is_stopping()), (None, true));
    }
}
