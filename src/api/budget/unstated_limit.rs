//! The limit of an API whose answers state no limit. The relay learns the limit from 429s. Pure: the time is passed in.
//!
//! No answer states the length of the API's windows, so the relay learns a pace and spaces its requests evenly. Evenly
//! spaced requests fit into windows of any length.
//!
//! - The first 429 begins a series of 429s, and the next accepted request ends the series. When the API accepts
//!   requests again, one of its windows is over. So the API accepts this pace: the number of requests that it accepted
//!   in the window before the series, divided by the time from the first of these requests to the end of the series.
//!   The relay begins a little below this pace.
//! - While no 429 comes, the pace rises step by step, up to a little below the pace that was refused last. There it
//!   stays for an hour. Then it rises further, because the API's limit may have changed. After each such rise it stays
//!   for twice as long as before.
//!
//! Invariant: the pace is never higher than the configured limit.

use std::collections::VecDeque;
use std::time::Duration;

use super::server_limit::{LONGEST_SILENCE, Share};
use crate::time::Instant;

/// The first pace after a series of 429s, as a share of the pace that the API accepted.
const BELOW_ACCEPTED: f64 = 0.9;

/// The highest pace, as a share of the pace that was refused last.
const BELOW_REFUSED: f64 = 0.95;

/// The factor by which one step raises the pace.
const STEP: f64 = 1.1;

/// The shortest time, and the fewest requests, between two steps.
const STEP_TIME: Duration = Duration::from_secs(60);
const STEP_REQUESTS: f64 = 10.0;

/// How long the pace stays just below the refused pace before it rises further, and the longest such time.
const FIRST_STAY: Duration = Duration::from_secs(60 * 60);
const LONGEST_STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The factor by which the highest pace rises after such a time.
const FURTHER: f64 = 1.25;

/// The limit as far as 429s have shown it.
#[derive(Debug)]
pub(super) struct UnstatedLimit {
    /// The configured limit, in requests a second, and the length of its window.
    configured: f64,
    window: Duration,
    /// The requests that were accepted in the last window: when each was sent, oldest first.
    accepted: VecDeque<Instant>,
    series: Option<RefusedSeries>,
    taught: Option<TaughtPace>,
}

/// A series of 429s without an accepted request in between.
#[derive(Clone, Copy, Debug)]
struct RefusedSeries {
    /// When the first of the `accepted` requests was sent.
    began: Instant,
    /// How many requests were accepted in the window before the series.
    accepted: usize,
}

/// A pace that a series of 429s has taught, in requests a second.
#[derive(Clone, Copy, Debug)]
struct TaughtPace {
    pace: f64,
    /// The pace that was refused last. After each `stay` this value grows, because the API's limit may have changed.
    refused: f64,
    /// When the series ended.
    since: Instant,
    /// When the pace was last changed.
    changed: Instant,
    /// How long the pace stays just below `refused`.
    stay: Duration,
}

/// Returns the pace of this many requests in a `window`, in requests a second.
fn pace_of(requests: u32, window: Duration) -> f64 {
    f64::from(requests.max(1)) / window.as_secs_f64()
}

impl UnstatedLimit {
    /// Makes a limit about which nothing is known. The configured limit is `requests` in a `window`.
    pub(super) fn new(requests: u32, window: Duration) -> Self {
        let configured = pace_of(requests, window);
        Self { configured, window, accepted: VecDeque::new(), series: None, taught: None }
    }

    /// Sets a new configured limit. A pace that was learned stays, unless the new limit is lower.
    pub(super) fn set_configured(&mut self, requests: u32) {
        self.configured = pace_of(requests, self.window);
        if let Some(taught) = &mut self.taught {
            taught.pace = taught.pace.min(self.configured);
        }
    }

    /// Forgets everything, because an answer has stated the limit.
    pub(super) fn forget(&mut self) {
        *self = Self { configured: self.configured, ..Self::new(1, self.window) };
    }

    /// Records a 429 that states no limit.
    pub(super) fn refused(&mut self, now: Instant) {
        self.forget_accepted_before(now);
        let began = self.accepted.front().copied().unwrap_or(now);
        self.series.get_or_insert(RefusedSeries { began, accepted: self.accepted.len() });
    }

    /// Records an accepted request. The request was sent at `sent`, after the last 429 had come.
    pub(super) fn accepted(&mut self, sent: Instant) {
        if let Some(series) = self.series.take() {
            self.learn(series, sent);
            self.accepted.clear();
        }
        self.forget_accepted_before(sent);
        self.accepted.push_back(sent);
        if let Some(taught) = &mut self.taught {
            taught.rise(self.configured, sent);
        }
    }

    fn forget_accepted_before(&mut self, now: Instant) {
        while self.accepted.front().is_some_and(|sent| *sent + self.window < now) {
            self.accepted.pop_front();
        }
    }

    fn learn(&mut self, series: RefusedSeries, ended: Instant) {
        let lasted = ended.saturating_duration_since(series.began);
        // If no request was accepted in the window before the series, nothing shows how many requests the API accepts.
        let Some(accepted) = u32::try_from(series.accepted).ok().filter(|accepted| *accepted > 0) else { return };
        let refused = self.taught.map_or(self.configured, |taught| taught.pace);
        let accepted = f64::from(accepted) / lasted.as_secs_f64().max(0.001);
        let least = 1.0 / LONGEST_SILENCE.as_secs_f64();
        let pace = (BELOW_ACCEPTED * accepted.min(refused)).max(least.min(self.configured));
        let stay = self.taught.map_or(FIRST_STAY, |taught| taught.stay);
        self.taught = Some(TaughtPace { pace, refused, since: ended, changed: ended, stay });
    }

    /// Returns the pace that was learned, as a number of requests in a window of about the configured length; `None` if
    /// no pace was learned.
    pub(super) fn share(&self) -> Option<Share> {
        let taught = self.taught?;
        let requests = (taught.pace * self.window.as_secs_f64()).floor().max(1.0);
        let window = Duration::from_secs_f64(requests / taught.pace);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and what is configured")]
        let requests = requests as usize;
        Some(Share { requests, window, since: Some(taught.since) })
    }

    /// Returns the least time between two requests; `None` if no pace was learned.
    pub(super) fn spacing(&self) -> Option<Duration> {
        self.taught.map(|taught| Duration::from_secs_f64(1.0 / taught.pace))
    }
}

impl TaughtPace {
    /// Raises the pace if it has been accepted for long enough.
    fn rise(&mut self, configured: f64, now: Instant) {
        let kept = now.saturating_duration_since(self.changed);
        let most = (BELOW_REFUSED * self.refused).min(configured);
        if self.pace >= most {
            if kept < self.stay || most >= configured {
                return;
            }
            self.stay = (2 * self.stay).min(LONGEST_STAY);
            self.refused *= FURTHER;
        } else if kept < STEP_TIME.max(Duration::from_secs_f64(STEP_REQUESTS / self.pace)) {
            return;
        }
        self.pace = (STEP * self.pace).min(BELOW_REFUSED * self.refused).min(configured);
        self.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::time::Clock;

    const MINUTE: Duration = Duration::from_secs(60);

    fn origin() -> Instant {
        Clock::starting_at(UnixMs(0)).monotonic()
    }

    /// Makes a limit, configured as 120 requests a minute. `accepted` requests are accepted, one each 500 ms; one
    /// request is refused; and `silence` seconds later a request is accepted again. Returns the limit and the time of
    /// the last request.
    fn taught(accepted: u32, silence: u64) -> (UnstatedLimit, Instant) {
        let start = origin();
        let mut limit = UnstatedLimit::new(120, MINUTE);
        let mut at = start;
        for _ in 0..accepted {
            limit.accepted(at);
            at += Duration::from_millis(500);
        }
        limit.refused(at);
        at += Duration::from_secs(silence);
        limit.accepted(at);
        (limit, at)
    }

    #[test]
    fn the_first_pace_is_below_what_was_accepted() {
        // Requests before the 429, seconds of silence; seconds between requests.
        for (accepted, silence, expected) in [(60, 30, 1.11), (20, 290, 16.7), (20, 0, 0.56), (119, 1, 0.56)] {
            let spacing = taught(accepted, silence).0.spacing().unwrap().as_secs_f64();
            assert!((spacing - expected).abs() < 0.02 * expected, "{accepted} and {silence} s: {spacing}");
        }
        assert_eq!(taught(0, 60).0.spacing(), None, "nothing tells how many requests are accepted");
        assert_eq!(taught(1, 90_000).0.spacing(), Some(LONGEST_SILENCE), "the least pace");
    }

    #[test]
    fn requests_before_the_end_of_the_series_do_not_count_in_the_learned_pace() {
        let (limit, at) = taught(60, 30);
        let share = limit.share().unwrap();
        assert_eq!((share.requests, share.since), (54, Some(at)));
        assert!(share.window.abs_diff(MINUTE) < Duration::from_secs(1), "{:?}", share.window);
    }

    #[test]
    fn the_pace_rises_to_just_below_the_refused_pace_and_stays_there() {
        let (mut limit, mut at) = taught(60, 30);
        let began = at;
        let mut spacings = vec![limit.spacing().unwrap()];
        while at < began + 5 * FIRST_STAY {
            at += Duration::from_secs(1);
            if at == began + Duration::from_secs(600) {
                // The pace is above the limit of the API: one more series.
                limit.refused(at);
                at += Duration::from_secs(1);
            }
            limit.accepted(at);
            let spacing = limit.spacing().unwrap();
            if spacings.last() != Some(&spacing) {
                spacings.push(spacing);
            }
        }
        let seconds: Vec<f64> =
            spacings.iter().map(|spacing| (spacing.as_secs_f64() * 100.0).round() / 100.0).collect();
        assert_eq!(seconds[..4], [1.11, 1.01, 0.92, 0.83], "it rises each minute");
        let limited: Vec<f64> = seconds.iter().copied().skip_while(|seconds| *seconds > 0.53).collect();
        assert!(limited.iter().all(|seconds| *seconds >= 0.5), "never above the configured pace: {seconds:?}");
        assert_eq!(limit.taught.unwrap().stay, 2 * FIRST_STAY, "it tried once to go further");
    }

    #[test]
    fn a_new_configured_limit_lowers_the_learned_pace_and_never_raises_it() {
        let (mut limit, _) = taught(60, 30);
        let learned = limit.spacing();
        limit.set_configured(600);
        assert_eq!(limit.spacing(), learned);
        limit.set_configured(30);
        assert_eq!(limit.spacing(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_limit_that_is_stated_ends_the_learned_pace() {
        let (mut limit, _) = taught(60, 30);
        limit.forget();
        assert!(limit.share().is_none() && limit.spacing().is_none());
        assert!((limit.configured - 2.0).abs() < f64::EPSILON);
    }
}
