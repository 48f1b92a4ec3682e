//! The readers that wait for messages beside the relay, and how fast the newest page is polled for them. Pure.

use std::time::Duration;

use crate::api::budget::Demand;
use crate::time::Instant;

/// The shortest time between two polls of the newest page.
const FASTEST: Duration = Duration::from_millis(200);

/// While a reader waits, polls come every [`FASTEST`] until the free slots of the budget become scarce. They are scarce
/// if one poll a second (or one each `poll.interval`, if that is shorter) would use them up before further slots become
/// free. Then polls become slower, so that no poll has to wait for a slot.
const SLOWEST_FOR_READERS: Duration = Duration::from_secs(1);

/// The readers that wait for messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingReaders {
    /// Whether there is any reader. While there is one, a relay that erases texts on delivery erases each text only
    /// some seconds after the delivery.
    pub present: bool,
    /// The instant until which some reader wants fast polls; `None` if no reader wants them.
    pub fast_until: Option<Instant>,
}

impl WaitingReaders {
    /// Returns whether some reader wants fast polls now.
    pub(super) fn want_fast_polls(&self, now: Instant) -> bool {
        self.fast_until.is_some_and(|until| now < until)
    }
}

/// The paces between which [`head_spacing`] chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadPaces {
    /// The time between two polls while no reader waits.
    pub(super) usual: Duration,
    /// `poll.interval`
    pub(super) interval: Duration,
    /// The shortest time between two polls with which the free slots of the budget last until further slots become
    /// free. Slots that sweeps may need do not count as free.
    pub(super) spare: Duration,
    /// The shortest time between two polls that leaves walks and the list of numbers their share of the budget.
    pub(super) beside_others: Duration,
}

/// Returns the time between two polls of the newest page.
///
/// While a reader waits, polls come every [`FASTEST`]. Once free slots are scarce ([`SLOWEST_FOR_READERS`]), polls come
/// so slowly that the free slots last. Other work keeps its share of the budget: for example, a catch-up may be about
/// to read the message for which the reader waits. Polls are never slower than without a reader.
pub(super) fn head_spacing(paces: HeadPaces, demand: Demand, fast: bool) -> Duration {
    let HeadPaces { usual, interval, spare, beside_others } = paces;
    if !fast {
        return usual;
    }
    let for_readers = if spare <= interval.min(SLOWEST_FOR_READERS) { FASTEST } else { spare };
    let for_readers = match demand {
        Demand::Nothing => for_readers,
        Demand::Sweeps | Demand::Walks => for_readers.max(beside_others),
    };
    for_readers.min(usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[test]
    fn polls_are_fast_while_the_budget_lasts_and_never_slower_than_without_a_reader() {
        let (nothing, sweeps, walks) = (Demand::Nothing, Demand::Sweeps, Demand::Walks);
        for (usual, interval, spare, beside_others, demand, fast, expected) in [
            // No reader.
            (1000, 1000, 100, 0, nothing, false, 1000),
            // Enough free slots (twice), then too few (twice).
            (1000, 1000, 620, 0, nothing, true, 200),
            (1000, 1000, 1000, 0, nothing, true, 200),
            (1000, 1000, 1001, 0, nothing, true, 1000),
            (1300, 1000, 1200, 0, nothing, true, 1200),
            // A `poll.interval` of a minute (twice), then short intervals, which are kept.
            (60_000, 60_000, 900, 0, nothing, true, 200),
            (60_000, 60_000, 1100, 0, nothing, true, 1100),
            (500, 500, 700, 0, nothing, true, 500),
            (100, 100, 50, 0, nothing, true, 100),
            // Other work keeps its share.
            (1000, 1000, 620, 625, sweeps, true, 625),
            (1000, 1000, 620, 1000, walks, true, 1000),
            (2000, 1000, 1500, 2000, walks, true, 2000),
        ] {
            let ms = Duration::from_millis;
            let paces = HeadPaces {
                usual: ms(usual),
                interval: ms(interval),
                spare: ms(spare),
                beside_others: ms(beside_others),
            };
            assert_eq!(head_spacing(paces, demand, fast), ms(expected), "{paces:?} {demand:?} {fast}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_wants_fast_polls_only_until_the_given_instant() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        let second = Duration::from_secs(1);
        let readers = WaitingReaders { present: true, fast_until: Some(now + second) };
        assert!(readers.want_fast_polls(now) && !readers.want_fast_polls(now + second));
        assert!(!WaitingReaders::default().want_fast_polls(now));
    }
}
