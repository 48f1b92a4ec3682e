//! The waits of the poller after failures: a second, then twice as long each time, up to a minute, with jitter.

use std::time::Duration;

use crate::time::backoff::{Jitter, Schedule};

const SCHEDULE: Schedule = Schedule { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

/// The one back-off of the poller. Each part of the poller counts its own failures.
#[derive(Debug)]
pub(super) struct Backoff {
    jitter: Jitter,
}

impl Backoff {
    /// `seed` decides the jitter, so that the waits with a given seed can be repeated.
    pub(super) fn seeded(seed: u64) -> Self {
        Self { jitter: Jitter::seeded(seed) }
    }

    /// Returns the wait after this many failures in a row (1 = the first).
    pub(super) fn wait(&self, failures: u32) -> Duration {
        SCHEDULE.jittered(failures, &self.jitter)
    }
}
