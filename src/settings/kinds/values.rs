//! Keys with durations, sizes, numbers and statuses within bounds; also truth values, words, and the point at which a
//! first run begins.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::super::declare::{Declared, WordChoice, quoted};
use super::super::document::{Origin, WrittenEntry, WrittenValue};
use super::super::duration::{self as spans, LONGEST};
use super::super::key::KeyKind;
use super::super::reader::{Reader, WrittenText};
use super::super::size as sizes;
use super::super::suggestion::{alternatives, nearest};
use crate::domain::{Start, UnixMs};

/// The status that error texts show as an example.
const EXAMPLE_STATUS: u16 = 409;

/// A duration within bounds.
pub fn duration(default: Duration, bounds: RangeInclusive<Duration>) -> Declared<Duration> {
    let kind = KeyKind::Duration { bounds: bounds.clone(), word: None };
    Declared::with_default(kind, quoted(&spans::show(default)), default, move |from, name| {
        let text = from.text(name, "a duration in quotes, such as \"5s\"")?;
        parse_duration(from, name, &text, &bounds)
    })
}

/// A duration within bounds, or `word` for no duration.
pub fn duration_or<T: From<Option<Duration>>>(
    word: &'static str,
    default: Option<Duration>,
    bounds: RangeInclusive<Duration>,
) -> Declared<T> {
    let kind = KeyKind::Duration { bounds: bounds.clone(), word: Some(word) };
    let shown = quoted(&default.map_or(word.to_owned(), spans::show));
    Declared::new(kind, Some(shown), move |from, name| {
        let written = match from.text(name, &format!("\"{word}\" or a duration in quotes, such as \"7d\"")) {
            None => default,
            Some(text) if text.bare().eq_ignore_ascii_case(word) => None,
            Some(text) => parse_duration(from, name, &text, &bounds).or(default),
        };
        written.into()
    })
}

/// A size in bytes within bounds.
pub fn size(default: u64, bounds: RangeInclusive<u64>) -> Declared<u64> {
    let shown = quoted(&sizes::write(default));
    Declared::with_default(KeyKind::Size(bounds.clone()), shown, default, move |from, name| {
        let text = from.text(name, "a size in quotes, such as \"1GiB\"")?;
        let Some(bytes) = sizes::parse(text.bare()) else {
            from.refuse(name, &text, "is not a size", sizes::EXAMPLES);
            return None;
        };
        within(from, name, &text, bytes, &bounds, ["small", "large"], sizes::show)
    })
}

/// Where a first run begins.
pub fn start(default: Start) -> Declared<Start> {
    let expected = "\"now\", \"beginning\", a time such as \"2026-01-31T08:00:00Z\" or a duration such as \"24h\"";
    Declared::with_default(KeyKind::Start, quoted(&default.to_string()), default, move |from, name| {
        let text = from.text(name, expected)?;
        match text.bare() {
            now if now.eq_ignore_ascii_case("now") => return Some(Start::Now),
            beginning if beginning.eq_ignore_ascii_case("beginning") => return Some(Start::Beginning),
            written => match (UnixMs::parse(written), spans::parse(written)) {
                (Some(instant), _) => return Some(Start::At(instant)),
                (None, Ok(back)) if back <= LONGEST => return Some(Start::Back(back)),
                (None, Ok(_)) => from.refuse(name, &text, "is longer than 100 years", ""),
                (None, Err(_)) => from.refuse(name, &text, "is not a start", &format!("it must be {expected}")),
            },
        }
        None
    })
}

/// A whole number within bounds.
pub fn integer<T>(default: T, bounds: RangeInclusive<i128>) -> Declared<T>
where
    T: TryFrom<i128> + Copy + ToString + 'static,
{
    Declared::with_default(KeyKind::Integer(bounds.clone()), default.to_string(), default, move |from, name| {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        scalar(from, name, &expected, |number| bounds.contains(number))?.try_into().ok()
    })
}

/// A number within bounds.
pub fn number(default: f64, bounds: RangeInclusive<f64>) -> Declared<f64> {
    Declared::with_default(KeyKind::Number(bounds.clone()), format!("{default:?}"), default, move |from, name| {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        // NaN lies in no range.
        scalar(from, name, &expected, |number| bounds.contains(number))
    })
}

/// true or false.
pub fn boolean(default: bool) -> Declared<bool> {
    Declared::with_default(KeyKind::Boolean, default.to_string(), default, read_boolean)
}

/// true, false or nothing.
pub fn optional_boolean() -> Declared<Option<bool>> {
    Declared::new(KeyKind::Boolean, None, read_boolean)
}

/// One of a few words.
pub fn choice<T: WordChoice>(default: T) -> Declared<T> {
    let word = T::WORDS.iter().find(|(_, value)| *value == default).map_or("", |(word, _)| *word);
    Declared::with_default(words(T::WORDS), quoted(word), default, |from, name| read_word(from, name, T::WORDS, &[]))
}

/// One of a few words, or nothing.
pub fn one_choice<T: WordChoice>() -> Declared<Option<T>> {
    one_of(T::WORDS.to_vec(), &[])
}

/// One of these words, each with its value; or nothing. `hints` has advice for wrong words that people write often.
pub fn one_of<T: Clone + 'static>(
    choices: Vec<(&'static str, T)>,
    hints: &'static [(&'static str, &'static str)],
) -> Declared<Option<T>> {
    Declared::new(words(&choices), None, move |from, name| read_word(from, name, &choices, hints))
}

/// HTTP statuses within bounds.
pub fn http_statuses(bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    statuses("HTTP statuses", &[], bounds)
}

/// Exit statuses of a program within bounds.
pub fn exit_statuses(default: &'static [u16], bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    statuses("exit statuses", default, bounds)
}

/// Statuses within bounds, sorted. In the text of a variable or a flag, commas separate the statuses. `what` names the
/// kind of statuses.
fn statuses(what: &'static str, default: &'static [u16], bounds: RangeInclusive<u16>) -> Declared<Vec<u16>> {
    let kind = KeyKind::Statuses { what, bounds: bounds.clone() };
    Declared::with_default(kind, format!("{default:?}"), default.to_vec(), move |from, name| {
        let entry = from.written(name)?;
        let (least, most) = (bounds.start(), bounds.end());
        let expected = format!("an array of {what} from {least} to {most}, such as [{}]", EXAMPLE_STATUS.min(*most));
        let parse = |text: &str| text.parse().ok().filter(|status| bounds.contains(status));
        let mut statuses: Vec<u16> = match (&entry.value, &entry.origin) {
            (WrittenValue::List(entries), _) => {
                let mut statuses = Vec::new();
                for WrittenEntry { origin, value } in entries {
                    let status =
                        if let WrittenValue::Integer(number) = value { parse(&number.to_string()) } else { None };
                    if status.is_none() {
                        from.error_with_value(origin, format!("`{}` must be {expected}", from.name(name)), "");
                    }
                    statuses.extend(status);
                }
                statuses
            }
            (WrittenValue::Text(_), Origin::File(_)) => {
                from.wrong(name, &entry.origin, &format!("must be {expected}, without quotes"), "");
                return None;
            }
            _ => {
                let text = from.text(name, &expected)?;
                let Some(statuses) = text.split(',').map(|part| parse(part.as_str())).collect() else {
                    let wrong = format!("is not a list of {what} from {least} to {most}");
                    from.refuse(name, &text, &wrong, "write them with commas between, such as \"409,425\"");
                    return None;
                };
                statuses
            }
        };
        statuses.sort_unstable();
        statuses.dedup();
        Some(statuses)
    })
}

fn words<T>(choices: &[(&'static str, T)]) -> KeyKind {
    KeyKind::Words(choices.iter().map(|(word, _)| *word).collect())
}

fn read_word<T: Clone>(from: &mut Reader<'_>, name: &str, choices: &[(&str, T)], hints: &[(&str, &str)]) -> Option<T> {
    let expected = alternatives(choices.iter().map(|(word, _)| *word));
    let text = from.text(name, &expected)?;
    let written = text.bare().to_ascii_lowercase();
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&written));
    if found.is_none() {
        let wrong = match nearest(&written, choices.iter().map(|(word, _)| *word)) {
            Some(meant) => format!("is not known; did you mean \"{meant}\"?"),
            None => format!("is not {expected}"),
        };
        let hint = hints.iter().find(|(word, _)| *word == written).map_or("", |(_, hint)| hint);
        from.refuse(name, &text, &wrong, hint);
    }
    found.map(|(_, value)| value.clone())
}

fn read_boolean(from: &mut Reader<'_>, name: &str) -> Option<bool> {
    scalar(from, name, "true or false", |_| true)
}

fn parse_duration(
    from: &mut Reader<'_>,
    name: &str,
    text: &WrittenText,
    bounds: &RangeInclusive<Duration>,
) -> Option<Duration> {
    match spans::parse(text.bare()) {
        Ok(parsed) => within(from, name, text, parsed, bounds, ["short", "long"], spans::show),
        Err(wrong) => {
            from.refuse(name, text, &wrong, spans::EXAMPLES);
            None
        }
    }
}

/// Returns `value` if it lies within bounds. Otherwise an error names the bound. `low` and `high` are the words for a
/// value below and above the bounds.
fn within<T: PartialOrd + Copy>(
    from: &mut Reader<'_>,
    name: &str,
    text: &WrittenText,
    value: T,
    bounds: &RangeInclusive<T>,
    [low, high]: [&str; 2],
    show: fn(T) -> String,
) -> Option<T> {
    let wrong = if value < *bounds.start() {
        format!("is too {low}; the least is {}", show(*bounds.start()))
    } else if value > *bounds.end() {
        format!("is too {high}; the most is {}", show(*bounds.end()))
    } else {
        return Some(value);
    };
    from.refuse(name, text, &wrong, "");
    None
}

/// Reads a number or a truth value. The value of a variable or a flag is always a text, and so is the content of a file
/// that a variable names.
fn scalar<T: FromStr + fmt::Display>(
    from: &mut Reader<'_>,
    name: &str,
    expected: &str,
    is_accepted: impl Fn(&T) -> bool,
) -> Option<T> {
    let WrittenEntry { origin, value } = from.written(name)?;
    let spelled = match value {
        WrittenValue::Broken => return None,
        WrittenValue::Integer(number) => Some(number.to_string()),
        WrittenValue::Float(number) => Some(number.to_string()),
        WrittenValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    };
    if let Some(value) = spelled.and_then(|spelled| spelled.parse().ok()) {
        if is_accepted(&value) {
            return Some(value);
        }
        let shown = if from.may_show_at(origin) { format!(" = {value}") } else { String::new() };
        from.error_with_value(origin, format!("`{}`{shown} is not {expected}", from.name(name)), "");
        return None;
    }
    if let Origin::File(_) = origin {
        from.wrong(name, origin, &format!("must be {expected}, without quotes"), "");
        return None;
    }
    let text = from.text(name, expected)?;
    let parsed = text.bare().to_ascii_lowercase().parse().ok().filter(is_accepted);
    if parsed.is_none() {
        from.refuse(name, &text, &format!("is not {expected}"), "");
    }
    parsed
}
