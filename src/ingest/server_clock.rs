//! Estimates the API's time.
//!
//! A `Date` has whole seconds, rounded down, and was written before it arrived. So the API's time is never earlier than
//! a `Date` plus the time that has passed since the `Date` arrived. Each `Date` gives such a lower bound. The highest
//! bound is the relay's *estimate* of the API's time. It is soon exact to a few milliseconds.
//!
//! If answers have no `Date`, rows give such bounds, too: the `ingestedAt` of a row plus the time that has passed since
//! the row was read. If that time were not added, the estimate would stand still on a quiet account: no sweep would
//! come due, and a row dated a second ahead would stay ahead.
//!
//! Coverage uses the estimate only to limit its marks (such as the frontier) and to compute the floors of walks. If the
//! estimate is behind, walks read a little more than they must. If the estimate is ahead, messages that come late are
//! lost: the anchor rises with the estimate, so sweeps no longer read down to these messages. So each `Date` is
//! compared with the *expected time*: the last estimate plus the time that has passed since.
//!
//! - A `Date` that is more than an hour behind the expected time, or more than five minutes ahead of it, is believed
//!   only after it was repeated for 15 minutes, or if another clock confirms it ([`ClockDoubt`]).
//! - The first `Date` of a process has no earlier `Date` to be compared with. If no other clock confirms it, the
//!   earlier one of this `Date` and the relay's time counts as the API's time. But if the latest `ingestedAt` of the
//!   page is later, that time counts ([`safe_estimate`]).
//! - Three clocks may confirm a `Date`:
//!   - the relay's time, which goes on while the machine is suspended;
//!   - the machine's clock, which is right again after a virtual machine was paused;
//!   - the latest `ingestedAt` of the page, but only if the `Date` is later than the expected time.

use std::time::Duration;

use crate::domain::UnixMs;
use crate::time::{ClockDoubt, Instant, agree, is_plausible};

/// Estimates the API's present time from the API's answers.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    last: Option<(UnixMs, Instant)>,
    /// Whether any answer has had a `Date`.
    dated: bool,
    doubt: ClockDoubt,
}

/// The readings of the clocks other than the API's, taken when an answer came.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalClocks {
    /// The relay's time.
    pub(super) relay: UnixMs,
    /// The machine's clock.
    pub(super) machine: UnixMs,
    /// The monotonic clock.
    pub(super) at: Instant,
}

/// A `Date` is rounded down to whole seconds. So it is behind the API's clock by less than this.
const SECOND: Duration = Duration::from_secs(1);

impl ServerClock {
    /// Handles an answer, and returns the estimate of the API's time. The answer states a time: its `Date`, or, without
    /// a `Date`, the latest `ingestedAt` of its rows. If it states no time, or a time that is not believed, the result
    /// is the expected time. There are two exceptions. If the first `Date` of the process is not believed, the result
    /// is [`safe_estimate`]. If the answer states no time, and there is no estimate yet, the result is the relay's
    /// time.
    pub(super) fn read(&mut self, date: Option<UnixMs>, newest_ingested: Option<UnixMs>, own: LocalClocks) -> UnixMs {
        let Some(date) = date else { return self.read_undated(newest_ingested, own.relay, own.at) };
        let carried = self.estimate(own.at).filter(|_| self.dated);
        let expected = carried.unwrap_or_else(|| safe_estimate(date, newest_ingested, own.relay));
        let vouched = agree(date, own.relay)
            || agree(date, own.machine)
            || (date > expected && newest_ingested.is_some_and(|ingested| is_plausible(date, ingested)));
        let is_ahead = date > expected && !agree(date, expected);
        let is_believed = if is_ahead && !vouched {
            self.doubt.has_settled(date, expected, own.at)
        } else {
            self.doubt.believes(date, expected, vouched, own.at)
        };
        let is_rounded = carried.is_some() && date <= expected && expected.since(date) < SECOND;
        let now = if is_believed && !is_rounded { date } else { expected };
        if carried != Some(now) {
            self.last = Some((now, own.at));
        }
        self.dated = true;
        now
    }

    fn read_undated(&mut self, newest_ingested: Option<UnixMs>, local: UnixMs, now: Instant) -> UnixMs {
        let carried = self.estimate(now);
        // One row with a wrong `ingestedAt` must not change the estimate by years. If answers have a `Date`, such a row
        // must not change the estimate at all.
        let is_believed =
            |at: &UnixMs| carried.is_none() || (!self.dated && (*at <= local || is_plausible(*at, local)));
        let best = carried.max(newest_ingested.filter(is_believed)).unwrap_or(local);
        if carried != Some(best) {
            self.last = Some((best, now));
        }
        best
    }

    /// Returns the last estimate plus the time that has passed since; `None` before the first answer.
    pub(super) fn estimate(&self, now: Instant) -> Option<UnixMs> {
        self.last.map(|(date, at)| date.after(now.saturating_duration_since(at)))
    }
}

/// Returns the time that counts as the API's time while the first `Date` of a process is doubted. This is the earlier
/// one of `date` and the relay's time, so that the estimate does not run ahead. If the latest `ingestedAt` is later, it
/// counts instead, but no further than to the later one of `date` and the relay's time.
fn safe_estimate(date: UnixMs, newest_ingested: Option<UnixMs>, relay: UnixMs) -> UnixMs {
    let ingested = newest_ingested.map(|ingested| ingested.min(date.max(relay)));
    ingested.unwrap_or(UnixMs::MIN).max(date.min(relay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(local: UnixMs, clock: &crate::time::Clock) -> LocalClocks {
        LocalClocks { relay: local, machine: local, at: clock.monotonic() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_date_is_believed_only_after_a_quarter_of_an_hour() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let (local, wrong) = (UnixMs(5), UnixMs(4_000_000_000_000));
        let mut read = |date: Option<i64>| server.read(date.map(UnixMs), Some(UnixMs(900)), own(local, &clock));
        assert_eq!(read(None), UnixMs(900));
        assert_eq!(read(Some(1000)), UnixMs(1000));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(read(None), UnixMs(3000));
        assert_eq!(read(Some(wrong.0)), UnixMs(3000));
        assert_eq!(read(Some(3000)), UnixMs(3000));
        for second in 0..900 {
            assert_eq!(read(Some(wrong.0 + 1000 * second)), UnixMs(3000 + 1000 * second), "repeated for {second} s");
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(read(Some(wrong.0 + 900_000)), UnixMs(wrong.0 + 900_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_another_clock_confirms_is_believed_at_once() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let at = clock.monotonic();
        let (began, day) = (UnixMs(1_750_000_000_000), Duration::from_secs(86_400));
        let usual = LocalClocks { relay: began, machine: began, at };
        // The second `Date` is a day later than the first. In the first three cases another clock shows that a day has
        // passed: the relay's time, the machine's clock, or a new row. In the last two cases nothing shows it.
        let later = began.after(day);
        let quiet = Some(began.before(day));
        for (own, ingested, is_believed) in [
            (LocalClocks { relay: later, ..usual }, quiet, true),
            (LocalClocks { machine: later, ..usual }, quiet, true),
            (usual, Some(later.before(day / 48)), true),
            (usual, quiet, false),
            (usual, None, false),
        ] {
            let mut server = ServerClock::default();
            assert_eq!(server.read(Some(began), quiet, usual), began);
            assert_eq!(server.read(Some(later), ingested, own), if is_believed { later } else { began });
        }
        // A `Date` that is behind is not confirmed by a message that was ingested at that time: the message may simply
        // be old.
        let mut server = ServerClock::default();
        server.read(Some(began), quiet, usual);
        assert_eq!(server.read(Some(began.before(day)), quiet, usual), began);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_date_that_no_other_clock_confirms_does_not_make_the_estimate_run_ahead() {
        const HOUR: i64 = 3_600_000;
        const YEAR: i64 = 366 * 24 * HOUR;
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let began = UnixMs(1_750_000_000_000);
        let off = |milliseconds: i64| UnixMs(began.0 + milliseconds);
        // Each case has four values: the error of the first `Date`, the age of the newest row, the error of our clocks
        // (the relay's time and the machine's clock), and the error of the estimate after that `Date`.
        let cases = [
            (HOUR, 24 * HOUR, 0, 0),
            (70 * YEAR, 24 * HOUR, 0, 0),
            (-HOUR, 24 * HOUR, 0, -HOUR),
            (-50 * YEAR, 24 * HOUR, 0, -24 * HOUR),
            // The `Date` is right. Our clocks are years behind (a machine without a battery) or days ahead.
            (0, 24 * HOUR, -50 * YEAR, -24 * HOUR),
            (0, 0, -50 * YEAR, 0),
            (0, 24 * HOUR, 8 * 24 * HOUR, 0),
            // The `Date` is wrong by so little that it agrees with our clocks.
            (200_000, 24 * HOUR, 0, 200_000),
        ];
        for (date, age, ours, expected) in cases {
            let mut server = ServerClock::default();
            let own = LocalClocks { relay: off(ours), machine: off(ours), at: clock.monotonic() };
            let first = server.read(Some(off(date)), Some(off(-age)), own);
            assert_eq!(first, off(expected), "{date} {age} {ours}");
            // The next answer has the right `Date`, and our clocks are right, or are set right.
            let set_right = LocalClocks { relay: began, machine: began, ..own };
            assert_eq!(server.read(Some(began), Some(off(-age)), set_right), began, "{date} {age} {ours}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_half_an_hour_ahead_is_doubted_and_a_date_half_an_hour_behind_is_not() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let began = UnixMs(1_750_000_000_000);
        let usual = LocalClocks { relay: began, machine: began, at: clock.monotonic() };
        let minutes = |minutes: i64| UnixMs(began.0 + minutes * 60_000);
        for (told, expected) in [(4, 4), (30, 0), (-30, -30), (-90, 0)] {
            let mut server = ServerClock::default();
            server.read(Some(began), None, usual);
            assert_eq!(server.read(Some(minutes(told)), None, usual), minutes(expected), "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_dates_the_estimate_goes_on_from_the_latest_ingested_row() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let local = UnixMs(50_000);
        let mut read = |ingested: Option<i64>| server.read(None, ingested.map(UnixMs), own(local, &clock));
        assert_eq!(read(Some(10_000)), UnixMs(10_000));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(read(Some(10_000)), UnixMs(13_000));
        assert_eq!(read(Some(2_000)), UnixMs(13_000), "a page of old rows");
        assert_eq!(read(None), UnixMs(13_000));
        assert_eq!(read(Some(40_000)), UnixMs(40_000));
        assert_eq!(read(Some(4_000_000_000_000)), UnixMs(40_000), "this time is years ahead of the relay's time");
    }

    #[tokio::test(start_paused = true)]
    async fn the_estimate_becomes_finer_than_a_second_and_never_runs_ahead() {
        let clock = crate::time::Clock::starting_at(UnixMs(0));
        let mut server = ServerClock::default();
        let mut last = 0;
        for step in 0..40_i64 {
            // The `Date` is the true time, rounded down to a second.
            let truth = 10_000 + 370 * step;
            let read = server.read(Some(UnixMs(truth / 1000 * 1000)), None, own(UnixMs(0), &clock));
            assert!(read.0 <= truth, "{} is ahead of {truth}", read.0);
            last = truth - read.0;
            tokio::time::advance(Duration::from_millis(370)).await;
        }
        assert!(last <= 30, "{last} ms behind");
        // If the clock is set back by a few seconds, the estimate follows it.
        assert_eq!(server.read(Some(UnixMs(20_000)), None, own(UnixMs(0), &clock)), UnixMs(20_000));
    }
}
