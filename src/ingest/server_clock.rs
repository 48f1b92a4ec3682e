//! What time it is by the server's clock.
//!
//! A `Date` has whole seconds, rounded down, and was written before it arrived: it is a lower bound. Carried on by our
//! monotonic clock it stays one, and the highest of them is soon exact to a few milliseconds.
//!
//! Without a `Date`, what was ingested is such a bound as well: it has happened. It too is carried on, or a quiet account
//! would stand still in time: no sweep would come due, and rows dated a moment ahead would never become ordinary.
//!
//! Used for caps and floors only. Still, one answer with a wrong date must not move the anchor by years: a date that
//! disagrees with all before it is believed when it was repeated.

use std::time::Duration;

use crate::domain::UnixMs;
use crate::time::Instant;

/// Estimates the server's now from what its answers say.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    last: Option<(UnixMs, Instant)>,
    /// Whether that goes back to a date.
    dated: bool,
    disagreed: u32,
}

/// Further off than this, a date is doubted.
const PLAUSIBLE: Duration = Duration::from_secs(3600);

/// What rounding down takes away.
const SECOND: Duration = Duration::from_secs(1);

/// So many doubtful dates in a row are believed.
const CONVINCING: u32 = 3;

impl ServerClock {
    /// Takes the `Date` of an answer in; without one, the largest ingestedAt. Where neither is higher than the time that
    /// has passed since the last, that counts, and our own clock if there is nothing at all.
    pub(super) fn read(
        &mut self,
        date: Option<UnixMs>,
        newest_ingested: Option<UnixMs>,
        local: UnixMs,
        now: Instant,
    ) -> UnixMs {
        let Some(date) = date else { return self.read_undated(newest_ingested, local, now) };
        if let Some(expected) = self.estimate(now).filter(|_| self.dated) {
            let off = date.since(expected).max(expected.since(date));
            self.disagreed = if off > PLAUSIBLE { self.disagreed + 1 } else { 0 };
            if (1..CONVINCING).contains(&self.disagreed) || (date <= expected && off < SECOND) {
                return expected;
            }
        }
        self.disagreed = 0;
        self.dated = true;
        self.last = Some((date, now));
        date
    }

    fn read_undated(&mut self, newest_ingested: Option<UnixMs>, local: UnixMs, now: Instant) -> UnixMs {
        let carried = self.estimate(now);
        // One row with a wrong ingestedAt must not move the clock by years, nor one at all where there are dates.
        let believed = |at: &UnixMs| carried.is_none() || (!self.dated && *at <= local.after(PLAUSIBLE));
        let best = carried.max(newest_ingested.filter(believed)).unwrap_or(local);
        if carried != Some(best) {
            self.last = Some((best, now));
        }
        best
    }

    /// The time between answers; `None` before the first one.
    pub(super) fn estimate(&self, now: Instant) -> Option<UnixMs> {
        self.last.map(|(date, at)| date.after(now.saturating_duration_since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_wrong_date_is_not_believed_but_three_are() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let (local, wrong) = (UnixMs(5), UnixMs(4_000_000_000_000));
        let mut read = |date: Option<i64>| server.read(date.map(UnixMs), Some(UnixMs(900)), local, clock.monotonic());
        assert_eq!(read(None), UnixMs(900));
        assert_eq!(read(Some(1000)), UnixMs(1000));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(read(None), UnixMs(3000));
        assert_eq!(read(Some(wrong.0)), UnixMs(3000));
        assert_eq!(read(Some(3000)), UnixMs(3000));
        assert_eq!(read(Some(wrong.0)), UnixMs(3000));
        assert_eq!(read(Some(wrong.0)), UnixMs(3000));
        assert_eq!(read(Some(wrong.0)), wrong);
    }

    #[tokio::test(start_paused = true)]
    async fn without_dates_time_goes_on_from_what_was_ingested() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let local = UnixMs(50_000);
        let mut read = |ingested: Option<i64>| server.read(None, ingested.map(UnixMs), local, clock.monotonic());
        assert_eq!(read(Some(10_000)), UnixMs(10_000));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(read(Some(10_000)), UnixMs(13_000));
        assert_eq!(read(Some(2_000)), UnixMs(13_000), "a page of old rows");
        assert_eq!(read(None), UnixMs(13_000));
        assert_eq!(read(Some(40_000)), UnixMs(40_000));
        assert_eq!(read(Some(4_000_000_000_000)), UnixMs(40_000), "no clock is off by so much");
    }

    #[tokio::test(start_paused = true)]
    async fn the_estimate_becomes_finer_than_a_second_and_never_runs_ahead() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let mut last = 0;
        for step in 0..40_i64 {
            // The true time is 10,000 + 370 x step; what arrives is rounded down to a second.
            let truth = 10_000 + 370 * step;
            let read = server.read(Some(UnixMs(truth / 1000 * 1000)), None, UnixMs(0), clock.monotonic());
            assert!(read.0 <= truth, "{} is ahead of {truth}", read.0);
            last = truth - read.0;
            tokio::time::advance(Duration::from_millis(370)).await;
        }
        assert!(last <= 30, "{last} ms behind");
        // A clock that was set back by a few seconds is followed.
        assert_eq!(server.read(Some(UnixMs(20_000)), None, UnixMs(0), clock.monotonic()), UnixMs(20_000));
    }
}
