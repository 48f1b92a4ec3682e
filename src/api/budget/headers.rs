//! Reads the rate limit from the headers of a response (API documentation, "Rate limits").

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::domain::UnixMs;
use crate::http::retry_after;

/// The values of the three documented headers and of `Retry-After`. An implausible value is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// `X-RateLimit-Limit`: the number of requests in a window.
    pub limit: Option<u32>,
    /// `X-RateLimit-Remaining`: the number of requests that are left in the window.
    pub remaining: Option<u32>,
    /// `X-RateLimit-Reset`: the time until the window ends, at least a second and at most a day. The header gives this
    /// time in seconds, or gives the instant at which the window ends, as seconds or milliseconds since 1970.
    pub reset: Option<Duration>,
    /// Whether `X-RateLimit-Reset` gave an instant. The documentation mentions seconds only.
    pub reset_is_instant: bool,
    /// Whether `X-RateLimit-Reset` gave a number that makes sense neither as seconds (more than a day) nor as an
    /// instant (too far from the answer's `Date`, or the answer has no `Date`). Then the end of the window is not
    /// known, but the relay still has to wait for it.
    pub reset_is_absurd: bool,
    /// `Retry-After`: the time that the API asks the relay to wait.
    pub retry_after: Option<Duration>,
}

/// The longest plausible window, in seconds. A greater number is a mistake, or an instant.
const LONGEST_RESET: f64 = 86_400.0;

/// The end of a window may seem to be up to this many seconds before the answer's `Date`, because both were rounded.
const LATE: f64 = 2.0;

impl RateHeaders {
    /// Reads the headers of an answer whose `Date` was `date`. An instant in `X-RateLimit-Reset` is taken relative to
    /// `date`, because both come from the API's clock. A date in `Retry-After` is taken relative to `date`, or to `now`
    /// if there is no `date`.
    pub fn read(headers: &HeaderMap, date: Option<UnixMs>, now: UnixMs) -> Self {
        let number = |name: &str| -> Option<f64> {
            let value: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
            (value.is_finite() && value >= 0.0).then_some(value)
        };
        let told = number("x-ratelimit-reset");
        let is_near = |seconds: &f64| (-LATE..=LONGEST_RESET).contains(seconds);
        let until = |instant: f64| date.map(|date| instant - seconds_since_1970(date)).filter(is_near);
        let seconds = told.filter(is_near);
        let instant = told.and_then(|told| until(told).or_else(|| until(told / 1000.0)));
        let reset = seconds.or(instant);
        Self {
            limit: number("x-ratelimit-limit").map(whole).filter(|limit| *limit > 0),
            remaining: number("x-ratelimit-remaining").map(whole),
            // Zero seconds may be half a second that was rounded down.
            reset: reset.map(|seconds| Duration::from_secs_f64(seconds.max(1.0))),
            reset_is_instant: seconds.is_none() && instant.is_some(),
            reset_is_absurd: told.is_some() && reset.is_none(),
            retry_after: headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| retry_after::parse(text, date.unwrap_or(now))),
        }
    }

    /// Returns whether these headers state a limit.
    pub(super) fn state_limit(&self) -> bool {
        self.remaining.is_some() && (self.reset.is_some() || self.limit.is_some())
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium are exact in f64")]
fn seconds_since_1970(at: UnixMs) -> f64 {
    at.0 as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const DATE: UnixMs = UnixMs(1_764_331_200_000);

    fn read(limit: &str, remaining: &str, reset: &str) -> RateHeaders {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-ratelimit-limit", limit), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]
        {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        RateHeaders::read(&headers, Some(DATE), UnixMs(0))
    }

    #[test]
    fn reads_what_makes_sense() {
        let seconds = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        let table = [
            (("120", "42", "17"), (Some(120), Some(42), seconds(17.0))),
            (("120", "0", "0"), (Some(120), Some(0), seconds(1.0))),
            (("120", "7", "41.5"), (Some(120), Some(7), seconds(41.5))),
            (("120", "7", "1750000000"), (Some(120), Some(7), None)),
            (("120", "7", "121"), (Some(120), Some(7), seconds(121.0))),
            (("20", "19", "300"), (Some(20), Some(19), seconds(300.0))),
            (("20", "19", "1764331230"), (Some(20), Some(19), seconds(30.0))),
            (("20", "19", "1764331230500"), (Some(20), Some(19), seconds(30.5))),
            (("20", "19", "1764331199"), (Some(20), Some(19), seconds(1.0))),
            (("20", "19", "1764331190"), (Some(20), Some(19), None)),
            (("120", "7", "86401"), (Some(120), Some(7), None)),
            (("many", "-1", "soon"), (None, None, None)),
            (("0", "NaN", "inf"), (None, None, None)),
            (("", "", ""), (None, None, None)),
        ];
        for ((limit, remaining, reset), expected) in table {
            let read = read(limit, remaining, reset);
            assert_eq!((read.limit, read.remaining, read.reset), expected, "{limit} {remaining} {reset}");
        }
    }

    #[test]
    fn a_reset_that_makes_no_sense_differs_from_no_reset() {
        for (reset, absurd) in [("1750000000", true), ("300000", true), ("300", false), ("inf", false), ("", false)] {
            assert_eq!(read("120", "0", reset).reset_is_absurd, absurd, "{reset}");
        }
    }
}
