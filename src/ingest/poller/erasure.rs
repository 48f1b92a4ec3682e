//! The schedule by which texts that were removed from the state are erased from the disk. Pure; the store erases.

use std::time::Duration;

use crate::time::Instant;

/// The time between two erasures if texts are erased on delivery.
const ON_DELIVERY: Duration = Duration::from_secs(2);

/// The time between two erasures if delivered messages are kept for a while.
const LATER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Erasure {
    /// Whether texts are erased as soon as they are delivered (`state.keep_delivered = "0s"`).
    on_delivery: bool,
    due: Instant,
}

impl Erasure {
    /// The first erasure is due at once.
    pub(super) fn new(on_delivery: bool, now: Instant) -> Self {
        Self { on_delivery, due: now }
    }

    pub(super) fn is_on_delivery(&self) -> bool {
        self.on_delivery
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Sets the next erasure to `at`, because a round of maintenance is over, and may have removed something.
    pub(super) fn erase_at(&mut self, at: Instant) {
        self.due = at;
    }

    /// Records that removed texts are erased now, whether that works or not.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now + if self.on_delivery { ON_DELIVERY } else { LATER };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[tokio::test(start_paused = true)]
    async fn erasures_come_more_often_if_texts_are_erased_on_delivery() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        for (on_delivery, wait) in [(true, ON_DELIVERY), (false, LATER)] {
            let mut erasure = Erasure::new(on_delivery, now);
            assert_eq!((erasure.due(), erasure.is_on_delivery()), (now, on_delivery));
            erasure.begin(now);
            assert_eq!(erasure.due(), now + wait);
            erasure.erase_at(now);
            assert_eq!(erasure.due(), now);
        }
    }
}
