//! Reads `Retry-After`, by which the other side says how long the relay should wait.

use std::time::Duration;

use super::date;
use crate::domain::UnixMs;

/// The longest wait that is obeyed. A mistyped date must not make the relay wait for years.
pub const CAP: Duration = Duration::from_secs(24 * 3600);

/// Reads a number of seconds, whole or with a fraction, or an HTTP date. A date is taken relative to `now`; a date that
/// has passed is a wait of zero. The result is at most [`CAP`].
///
/// `now` should be the answer's own `Date`, if the answer has one, so that a difference between the clocks does no
/// harm. Returns `None` for invalid values, including negative numbers.
pub fn parse(text: &str, now: UnixMs) -> Option<Duration> {
    let text = text.trim();
    let wait = if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(' ') {
        seconds(text)?
    } else {
        date::parse(text)?.since(now)
    };
    Some(wait.min(CAP))
}

/// Reads digits with at most one dot. A parser of `f64` would also accept "1e9", "inf" and "NaN", which are invalid
/// here.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    Some(Duration::try_from_secs_f64(number).unwrap_or(CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-06-15T12:00:00Z";

    fn read(text: &str) -> Option<Duration> {
        parse(text, UnixMs::parse(NOW).unwrap())
    }

    #[test]
    fn reads_seconds_fractions_and_dates() {
        for (text, milliseconds) in [
            ("0", 0),
            ("120", 120_000),
            (" 7 ", 7_000),
            ("1.5", 1_500),
            ("0.001", 1),
            ("007", 7_000),
            ("Mon, 15 Jun 2026 12:00:30 GMT", 30_000),
            ("Mon, 15 Jun 2026 11:59:00 GMT", 0),
        ] {
            assert_eq!(read(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_wait_longer_than_a_day_becomes_a_day() {
        for text in [
            "315360000",
            "86401",
            "99999999999999999999999999",
            "86400.5",
            "Mon, 15 Jun 2036 12:00:00 GMT",
            "Tue, 16 Jun 2026 12:00:01 GMT",
        ] {
            assert_eq!(read(text), Some(CAP), "{text}");
        }
    }

    #[test]
    fn invalid_values_are_none() {
        for text in
            ["", " ", "-1", "-0.5", "+5", "1e9", "inf", "NaN", "0x10", "1.", ".5", "1.2.3", "5s", "soon", "1 2", "१"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_never_passes_the_cap(text in "\\PC{0,40}", now in proptest::num::i64::ANY) {
            if let Some(wait) = parse(&text, UnixMs(now)) {
                proptest::prop_assert!(wait <= CAP);
            }
        }
    }
}
