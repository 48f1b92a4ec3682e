//! Reads durations, sizes, numbers and statuses within bounds; also truth values, words, and the point at which a first
//! run begins.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::document::{Origin, WrittenValue};
use super::super::suggestion::nearest;
use super::super::{duration, size};
use super::{Reader, WrittenText};
use crate::domain::{Start, UnixMs};

/// The status that error texts show as an example.
const EXAMPLE_STATUS: u16 = 409;

/// The longest duration if no other bound applies: a hundred years.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Lists words in quotes: `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub fn alternatives<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut quoted: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    let last = quoted.pop().unwrap_or_default();
    if quoted.is_empty() { last } else { format!("{} or {last}", quoted.join(", ")) }
}

impl Reader<'_> {
    /// A duration within bounds.
    pub fn duration(&mut self, key: &str, default: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        let text = self.text(key, "a duration in quotes, such as \"5s\"");
        text.and_then(|text| self.parse_duration(key, &text, &bounds)).unwrap_or(default)
    }

    /// A duration within bounds, or `word` for none.
    pub fn duration_or(
        &mut self,
        key: &str,
        word: &str,
        default: Option<Duration>,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        match self.text(key, &format!("\"{word}\" or a duration in quotes, such as \"7d\"")) {
            None => default,
            Some(text) if text.bare().eq_ignore_ascii_case(word) => None,
            Some(text) => self.parse_duration(key, &text, &bounds).or(default),
        }
    }

    /// A size in bytes within bounds.
    pub fn size(&mut self, key: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some(text) = self.text(key, "a size in quotes, such as \"1GiB\"") else { return default };
        let Some(bytes) = size::parse(text.bare()) else {
            self.refuse(key, &text, "is not a size", size::EXAMPLES);
            return default;
        };
        if bytes < *bounds.start() {
            let wrong = format!("is too small; the least is {}", size::show(*bounds.start()));
            self.refuse(key, &text, &wrong, "");
        } else if bytes > *bounds.end() {
            let wrong = format!("is too large; the most is {}", size::show(*bounds.end()));
            self.refuse(key, &text, &wrong, "");
        }
        bytes
    }

    /// Reads where a first run begins.
    pub fn start(&mut self, key: &str, default: Start) -> Start {
        let expected = "\"now\", \"beginning\", a time such as \"2026-01-31T08:00:00Z\" or a duration such as \"24h\"";
        let Some(text) = self.text(key, expected) else { return default };
        match text.bare() {
            now if now.eq_ignore_ascii_case("now") => Start::Now,
            beginning if beginning.eq_ignore_ascii_case("beginning") => Start::Beginning,
            written => {
                if let Some(instant) = UnixMs::parse(written) {
                    return Start::At(instant);
                }
                match duration::parse(written) {
                    Ok(back) if back <= LONGEST => return Start::Back(back),
                    Ok(_) => self.refuse(key, &text, "is longer than 100 years", ""),
                    Err(_) => self.refuse(key, &text, "is not a start", &format!("it must be {expected}")),
                }
                default
            }
        }
    }

    /// A whole number within bounds.
    pub fn integer<T: TryFrom<i128> + Copy>(&mut self, key: &str, default: T, bounds: RangeInclusive<i128>) -> T {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let from_value =
            |value: &WrittenValue| if let WrittenValue::Integer(number) = value { Some(*number) } else { None };
        self.scalar(key, &expected, from_value, |number| T::try_from(*number).ok().filter(|_| bounds.contains(number)))
            .unwrap_or(default)
    }

    /// A number within bounds.
    pub fn float(&mut self, key: &str, default: f64, bounds: RangeInclusive<f64>) -> f64 {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let from_value = |value: &WrittenValue| match value {
            #[expect(clippy::cast_precision_loss, reason = "integers that lose precision are far out of bounds")]
            WrittenValue::Integer(number) => Some(*number as f64),
            WrittenValue::Float(number) => Some(*number),
            _ => None,
        };
        // NaN lies in no range.
        self.scalar(key, &expected, from_value, |number| Some(*number).filter(|number| bounds.contains(number)))
            .unwrap_or(default)
    }

    /// true or false.
    pub fn boolean(&mut self, key: &str, default: bool) -> bool {
        let from_value =
            |value: &WrittenValue| if let WrittenValue::Boolean(value) = value { Some(*value) } else { None };
        self.scalar(key, "true or false", from_value, |value| Some(*value)).unwrap_or(default)
    }

    /// One of a few words. `hints` has advice for wrong words that people write often.
    pub fn choice<T: Clone>(&mut self, key: &str, words: &[(&str, T)], hints: &[(&str, &str)]) -> Option<T> {
        let expected = alternatives(words.iter().map(|(word, _)| *word));
        let text = self.text(key, &expected)?;
        let written = text.bare().to_ascii_lowercase();
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&written));
        let found = found.map(|(_, value)| value.clone());
        if found.is_none() {
            let meant = nearest(&written, words.iter().map(|(word, _)| *word));
            let wrong = meant.map(|meant| format!("is not known; did you mean \"{meant}\"?"));
            let hint = hints.iter().find(|(word, _)| *word == written).map_or("", |(_, hint)| hint);
            self.refuse(key, &text, &wrong.unwrap_or_else(|| format!("is not {expected}")), hint);
        }
        found
    }

    /// Reads statuses within bounds, sorted. In the text of a variable or a flag, commas separate the statuses. `what`
    /// names the kind of statuses.
    pub fn statuses(&mut self, key: &str, what: &str, bounds: &RangeInclusive<u16>) -> Vec<u16> {
        let Some(entry) = self.written(key) else { return Vec::new() };
        let (least, most) = (bounds.start(), bounds.end());
        let expected = format!("an array of {what} from {least} to {most}, such as [{}]", EXAMPLE_STATUS.min(*most));
        let mut statuses = Vec::new();
        match (&entry.value, &entry.origin) {
            (WrittenValue::List(entries), _) => {
                for entry in entries {
                    let status = match entry.value {
                        WrittenValue::Integer(number) => {
                            u16::try_from(number).ok().filter(|status| bounds.contains(status))
                        }
                        _ => None,
                    };
                    if status.is_none() {
                        let message = format!("`{}` must be {expected}", self.name(key));
                        self.report.error_with_value(&entry.origin, message, "");
                    }
                    statuses.extend(status);
                }
            }
            (WrittenValue::Text(_), Origin::File(_)) => {
                let message = format!("`{}` must be {expected}, without quotes", self.name(key));
                self.report.error(&entry.origin, message, "");
            }
            _ => {
                let Some(text) = self.text(key, &expected) else { return Vec::new() };
                for part in text.split(',') {
                    let Some(status) = part.as_str().parse().ok().filter(|status| bounds.contains(status)) else {
                        let wrong = format!("is not a list of {what} from {least} to {most}");
                        let help = "write them with commas between, such as \"409,425\"";
                        self.refuse(key, &text, &wrong, help);
                        return Vec::new();
                    };
                    statuses.push(status);
                }
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    fn parse_duration(&mut self, key: &str, text: &WrittenText, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = match duration::parse(text.bare()) {
            Ok(parsed) => parsed,
            Err(wrong) => {
                self.refuse(key, text, &wrong, duration::EXAMPLES);
                return None;
            }
        };
        if bounds.contains(&parsed) {
            return Some(parsed);
        }
        let (least, most) = (duration::show(*bounds.start()), duration::show(*bounds.end()));
        let wrong = if parsed < *bounds.start() {
            format!("is too short; the least is {least}")
        } else {
            format!("is too long; the most is {most}")
        };
        self.refuse(key, text, &wrong, "");
        None
    }

    /// Reads a number or a truth value. The value of an environment variable or a flag is always a text, and so is the
    /// content of a file that a variable names.
    fn scalar<V: std::str::FromStr + fmt::Display, T>(
        &mut self,
        key: &str,
        expected: &str,
        from_value: impl Fn(&WrittenValue) -> Option<V>,
        accept: impl Fn(&V) -> Option<T>,
    ) -> Option<T> {
        let entry = self.written(key)?;
        if let WrittenValue::Broken = entry.value {
            return None;
        }
        if let Some(value) = from_value(&entry.value) {
            let accepted = accept(&value);
            if accepted.is_none() {
                let shown = if self.report.may_show(&entry.origin) { format!(" = {value}") } else { String::new() };
                let message = format!("`{}`{shown} is not {expected}", self.name(key));
                self.report.error_with_value(&entry.origin, message, "");
            }
            return accepted;
        }
        if let Origin::File(_) = entry.origin {
            let message = format!("`{}` must be {expected}, without quotes", self.name(key));
            self.report.error(&entry.origin, message, "");
            return None;
        }
        let text = self.text(key, expected)?;
        let accepted = text.bare().to_ascii_lowercase().parse().ok().and_then(|value| accept(&value));
        if accepted.is_none() {
            self.refuse(key, &text, &format!("is not {expected}"), "");
        }
        accepted
    }
}
