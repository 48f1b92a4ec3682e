//! Durations as people write them: `500ms`, `15m`, `7d`, `1h30m`.

use std::time::Duration;

/// The units, largest first, in milliseconds. No months and years: their length depends on the calendar.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration if no other bound applies: a hundred years.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Examples of durations, for error texts.
pub(super) const EXAMPLES: &str = "a duration is written like \"500ms\", \"15m\", \"1h30m\" or \"7d\"";

/// The regular expression that all durations match. It does not check the order of the units.
pub(super) const PATTERN: &str = "^\\s*([0-9]+\\s*(w|d|h|m|s|ms)\\s*)+$";

/// Reads whole numbers, each with a unit, larger units first, with or without spaces between them.
///
/// # Errors
/// The end of a sentence that begins with the value, such as "has no unit".
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    if rest.starts_with('-') {
        return Err("is negative".to_owned());
    }
    let mut total = 0_u64;
    let mut larger_than = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|next: char| !next.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || after.starts_with(['.', ',']) {
            return Err("is not a duration".to_owned());
        }
        if unit.is_empty() {
            return Err("has no unit".to_owned());
        }
        let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err("has a unit other than w, d, h, m, s and ms".to_owned());
        };
        if *millis >= larger_than {
            return Err("must name each unit once, the larger first".to_owned());
        }
        larger_than = *millis;
        let part = number.parse().ok().and_then(|number: u64| number.checked_mul(*millis));
        total = part.and_then(|part| total.checked_add(part)).ok_or("is too long")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration so that [`parse`] reads it again, rounded down to milliseconds.
pub fn show(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS.into_iter().skip(1) {
        if millis >= length {
            text += &format!("{}{unit}", millis / length);
            millis %= length;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("1s", 1_000),
            ("15m", 900_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("1d 2h 3m 4s 5ms", 93_784_005),
            ("90 m", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for (text, why) in [
            ("", "is empty"),
            ("5", "has no unit"),
            ("1h30", "has no unit"),
            ("-5s", "is negative"),
            ("s", "is not a duration"),
            ("1.5h", "is not a duration"),
            ("1h,30m", "is not a duration"),
            ("forever", "is not a duration"),
            ("1mo", "has a unit other than"),
            ("1y", "has a unit other than"),
            ("5S", "has a unit other than"),
            ("1M", "has a unit other than"),
            ("1h1h", "each unit once"),
            ("1m1h", "the larger first"),
            ("99999999999999999999s", "is too long"),
            ("18446744073709551615w", "is too long"),
            ("+5s", "is not a duration"),
            ("٣s", "is not a duration"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn shows_what_it_reads(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".*") {
            drop(parse(&text));
        }
    }
}
