//! The silence after a 429 of the API, and when it ends. Pure: the time is passed in. After a 429 the relay also lowers
//! the learned pace (`unstated_limit.rs`) or leaves more requests to other programs (`server_limit/relay_share.rs`).
//! The poller logs the 429 (`ingest/poller/failure.rs`).
//!
//! Invariants:
//! - From the second 429 in a row on, the silence lasts at least as long as a schedule says, even if the API asks for a
//!   shorter silence. The times of this schedule grow with each 429, up to a maximum.
//! - If the API asks for a silence longer than [`LONGEST_SILENCE`], a request leaves after [`LONGEST_SILENCE`] at the
//!   latest, to ask whether the silence is over.

use std::time::Duration;

use super::headers::RateHeaders;
use super::server_limit::LONGEST_SILENCE;
use crate::time::Instant;
use crate::time::backoff::Schedule;

/// The lengths of the silences if the API names a time that is too long to wait for, or a reset that makes no sense
/// ([`RateHeaders::reset_is_absurd`]). After each of these silences one request is sent.
const PROBES: Schedule = Schedule { initial: Duration::from_secs(60), factor: 2.0, max: LONGEST_SILENCE };

/// The silence after 429s.
#[derive(Debug, Default)]
pub(super) struct RateLimited {
    silent_until: Option<Instant>,
    /// When the last 429 came.
    last: Option<Instant>,
    /// How many 429s came in a row.
    in_a_row: u32,
}

impl RateLimited {
    /// Records a 429, and returns the length of the silence after it. If this is the nth 429 in a row:
    ///
    /// - The silence lasts until the reset, or, if there is no reset, for `Retry-After`. (By the documentation a reset
    ///   is a number of seconds. If the API sends an instant instead, `Retry-After` takes precedence.) From the second
    ///   429 on, the silence lasts at least `fallback(n)` (`ingest/poller/backoff.rs`).
    /// - Without a reset and `Retry-After`, the silence lasts `fallback(n)`.
    /// - A reset that makes no sense, and a time longer than 15 minutes, are not obeyed. If the API gives nothing else,
    ///   the silences last one minute, two minutes, four minutes and so on, up to 15 minutes.
    pub(super) fn refused(
        &mut self,
        headers: &RateHeaders,
        fallback: impl Fn(u32) -> Duration,
        now: Instant,
    ) -> Duration {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = Some(now);
        let mut told = [headers.reset, headers.retry_after];
        if headers.reset_is_instant {
            told.reverse();
        }
        let asked = told.into_iter().flatten().find(|wait| *wait <= LONGEST_SILENCE);
        let is_too_long = headers.reset_is_absurd || told.iter().any(Option::is_some);
        let wait = match asked {
            Some(asked) if self.in_a_row == 1 => asked,
            Some(asked) => asked.max(fallback(self.in_a_row)),
            None if is_too_long => PROBES.delay(self.in_a_row),
            None => fallback(self.in_a_row),
        };
        self.silent_until = self.silent_until.max(Some(now + wait));
        wait
    }

    /// Records an answer that was not a 429.
    pub(super) fn not_refused(&mut self) {
        self.in_a_row = 0;
    }

    /// When the last 429 came; `None` if no 429 has come.
    pub(super) fn last_refused_at(&self) -> Option<Instant> {
        self.last
    }

    /// The number of 429s in a row.
    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// The end of the silence; `None` if there is no silence now.
    pub(super) fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.silent_until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    #[test]
    fn retry_after_counts_more_than_a_reset_that_is_an_instant() {
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        for (retry_after, expected) in [(Some(2), 2), (None, 60)] {
            let headers = RateHeaders {
                reset: Some(Duration::from_secs(60)),
                reset_is_instant: true,
                retry_after: retry_after.map(Duration::from_secs),
                ..RateHeaders::default()
            };
            let silence = RateLimited::default().refused(&headers, |_| Duration::from_secs(10), now);
            assert_eq!(silence, Duration::from_secs(expected));
        }
    }

    #[test]
    fn silence_lasts_as_long_as_the_api_asks_for_and_longer_each_time() {
        let seconds = |told: Option<u64>| told.map(Duration::from_secs);
        // The reset, `Retry-After`, whether the reset makes no sense; the silences after one, two and three 429s.
        let cases = [
            (Some(30), None, false, [30, 30, 40]),
            (None, Some(7), false, [7, 20, 40]),
            (Some(30), Some(7), false, [30, 30, 40]),
            (Some(5000), Some(7), false, [7, 20, 40]),
            (Some(5000), None, false, [60, 120, 240]),
            (None, None, true, [60, 120, 240]),
            (None, None, false, [10, 20, 40]),
        ];
        let now = Clock::starting_at(UnixMs(0)).monotonic();
        for (reset, retry_after, reset_is_absurd, expected) in cases {
            let (reset, retry_after) = (seconds(reset), seconds(retry_after));
            let headers = RateHeaders { reset, retry_after, reset_is_absurd, ..RateHeaders::default() };
            let mut limited = RateLimited::default();
            let fallback = |in_a_row| Duration::from_secs(5) * 2_u32.pow(in_a_row);
            let silences = expected.map(|_| limited.refused(&headers, fallback, now).as_secs());
            assert_eq!(silences, expected, "{headers:?}");
            assert_eq!(limited.silent_until(now), Some(now + Duration::from_secs(expected[2])));
            assert_eq!(limited.silent_until(now + Duration::from_secs(expected[2])), None);
            limited.not_refused();
            assert_eq!(limited.refused(&headers, fallback, now).as_secs(), expected[0], "it begins anew");
        }
    }
}
