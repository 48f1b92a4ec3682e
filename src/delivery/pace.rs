//! `requests_per_minute` of one sink: when the next attempt may begin. Pure: the time is passed in.
//!
//! Invariants:
//! - In any 60 seconds no more attempts begin than the limit allows, whichever worker makes them and however they end.
//! - Attempts are evenly spread: after a quiet hour the first attempt begins at once, and the others do not follow in a
//!   burst.
//! - A process begins with one wait, because the process before it may have begun an attempt just before its end. So a
//!   restart, or a crash loop, does not exceed the limit, and nothing has to be kept on disk for this.

use std::time::Duration;

use crate::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// An attempt that begins late by no more than this does not delay the attempts after it. Timers are coarse, and at a
/// high limit several attempts share a tick of the timer. So the wait after a late attempt may be shorter by up to this
/// time. To keep the limit all the same, the waits between the attempts of a minute add up to 60 s plus this time.
const TOLERANCE: Duration = Duration::from_millis(10);

/// The pace of one sink: the time between two attempts, and when the next attempt may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// Returns the pace of a sink with this limit; `None`: there is no limit (0).
    pub(super) fn new(requests_per_minute: u32, now: Instant) -> Option<Self> {
        // The wait between two attempts is rounded up. A wait that is a nanosecond too long does no harm; a wait that
        // is a nanosecond too short would let one attempt too many begin.
        let gap = (MINUTE + TOLERANCE).checked_div(requests_per_minute)? + Duration::from_nanos(1);
        Some(Self { gap, next: now + gap })
    }

    /// Returns the instant until which no attempt may begin; `None`: an attempt may begin now.
    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        Some(self.next).filter(|next| *next > now)
    }

    /// Notes that an attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        let planned = now.checked_sub(TOLERANCE).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = planned + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    fn start() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic() + Duration::from_secs(3600)
    }

    /// Begins attempts as soon as they may begin, with timers of whole milliseconds. Returns the beginnings in
    /// milliseconds.
    fn begun(pace: &mut Pace, start: Instant, from: u64, until: u64) -> Vec<u64> {
        let mut begun = Vec::new();
        for millisecond in from..until {
            let now = start + Duration::from_millis(millisecond);
            while pace.wait_until(now).is_none() {
                pace.began(now);
                begun.push(millisecond);
            }
        }
        begun
    }

    fn most_in_a_minute(begun: &[u64]) -> usize {
        let (mut first, mut most) = (0, 0);
        for (last, at) in begun.iter().enumerate() {
            while begun[first] + 60_000 <= *at {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    #[test]
    fn zero_means_no_limit() {
        assert!(Pace::new(0, start()).is_none());
    }

    #[test]
    fn the_limit_is_used_and_never_exceeded() {
        for limit in [1_u32, 7, 60, 600, 10_000, 60_000, 1_000_000] {
            let start = start();
            let mut pace = Pace::new(limit, start).unwrap();
            let begun = begun(&mut pace, start, 0, 180_000);
            let most = most_in_a_minute(&begun);
            let limit = usize::try_from(limit).unwrap();
            assert!(most <= limit && most + 1 + limit / 500 >= limit, "{limit} a minute: {most}");
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = start();
        let mut pace = Pace::new(60, start).unwrap();
        let hour = 3_600_000;
        let begun = begun(&mut pace, start, hour, hour + 10_000);
        assert_eq!(begun[0], hour, "the first attempt begins at once");
        assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= 990), "{begun:?}");
    }

    #[test]
    fn a_start_begins_with_a_wait() {
        let start = start();
        let pace = Pace::new(30, start).unwrap();
        let first = pace.wait_until(start).unwrap() - start;
        assert!((2_000..2_010).contains(&first.as_millis()), "{first:?}");
        assert_eq!(pace.wait_until(start + Duration::from_secs(3)), None);
    }

    proptest! {
        /// Attempts begin at any time, and the process is restarted at any time.
        #[test]
        fn in_no_60_seconds_more_attempts_begin_than_allowed(
            limit in 1_u32..200,
            steps in prop::collection::vec((0_u64..5_000, 0_u8..20), 1..400),
        ) {
            let start = start();
            let mut pace = Pace::new(limit, start).unwrap();
            let (mut at, mut begun) = (0, Vec::new());
            for (wait, what) in steps {
                at += wait;
                let now = start + Duration::from_millis(at);
                if what == 0 {
                    pace = Pace::new(limit, now).unwrap();
                }
                while pace.wait_until(now).is_none() {
                    pace.began(now);
                    begun.push(at);
                }
            }
            prop_assert!(most_in_a_minute(&begun) <= usize::try_from(limit).unwrap());
        }
    }
}
