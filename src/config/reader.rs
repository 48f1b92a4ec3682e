//! Reading the values of one table: from what was written to what was meant.
//!
//! Each function reads one key and gives its value or, if it is not written or wrong, the default; what is wrong goes to
//! the report, so that one pass finds everything. Invariant: only a value that was written out in the file, a variable or
//! a flag is repeated in a message; one that comes from a reference never is.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration;
use super::errors::Report;
use super::nearest::nearest;
use super::size;
use super::written::{Entry, Origin, Table, Value};
use crate::domain::{Start, UnixMs};
use crate::secret::{Environment, Secret, Source, tidy};

/// Longer values are not repeated in messages.
const LONGEST_SHOWN: usize = 60;

/// The longest duration where nothing else limits it: a hundred years.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One section or sink, ready to be read.
pub(super) struct Reader<'r> {
    /// Where the keys stand, such as `poll` or `sinks.crm`.
    path: String,
    table: &'r Table,
    env: &'r Environment,
    report: &'r mut Report,
}

/// A text and what may be said about it.
pub(super) struct Text {
    /// Where it was written.
    pub(super) origin: Origin,
    /// The text.
    pub(super) value: Secret,
    /// Whether it was written out, and not read from a reference.
    pub(super) written_out: bool,
    /// Otherwise, what it was read from.
    pub(super) source: Option<Source>,
}

impl Text {
    /// The text itself; see [`Reader::refuse`] for messages.
    pub(super) fn as_str(&self) -> &str {
        self.value.expose()
    }

    /// The text as one word: without white space and a pair of quotes around it, which files of variables leave.
    pub(super) fn bare(&self) -> &str {
        tidy::bare(self.as_str())
    }

    /// Its parts, without the white space around them. Empty ones do not count.
    pub(super) fn split(&self, at: char) -> impl Iterator<Item = Self> + '_ {
        let parts = self.as_str().split(at).map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| self.with(part))
    }

    /// Another text from the same place.
    pub(super) fn with(&self, text: &str) -> Self {
        let Self { origin, written_out, source, .. } = self;
        Self { origin: origin.clone(), value: Secret::from(text), written_out: *written_out, source: source.clone() }
    }
}

impl<'r> Reader<'r> {
    /// Reads `table`, which stands at `path`.
    pub(super) fn new(path: String, table: &'r Table, env: &'r Environment, report: &'r mut Report) -> Self {
        Self { path, table, env, report }
    }

    /// The same for another table at the same place: an element of an array of tables.
    pub(super) fn of<'s>(&'s mut self, table: &'s Table) -> Reader<'s> {
        Reader { path: self.path.clone(), table, env: self.env, report: self.report }
    }

    /// The name of a key in full.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The table as it was written.
    pub(super) fn table(&self) -> &'r Table {
        self.table
    }

    /// The variables that references may name.
    pub(super) fn environment(&self) -> &'r Environment {
        self.env
    }

    /// Where problems go.
    pub(super) fn report(&mut self) -> &mut Report {
        self.report
    }

    /// A duration within bounds.
    pub(super) fn duration(&mut self, key: &str, default: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        let text = self.text(key, "a duration in quotes, such as \"5s\"");
        text.and_then(|text| self.parse_duration(key, &text, &bounds)).unwrap_or(default)
    }

    /// A duration within bounds, or `word` for none.
    pub(super) fn duration_or(
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
    pub(super) fn size(&mut self, key: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some(text) = self.text(key, "a size in quotes, such as \"1GiB\"") else { return default };
        let Some(bytes) = size::parse(text.bare()) else {
            self.refuse(key, &text, "is not a size", Some(size::EXAMPLES.to_owned()));
            return default;
        };
        if bytes < *bounds.start() {
            let wrong = format!("is too small; the least is {}", size::show(*bounds.start()));
            self.refuse(key, &text, &wrong, None);
        } else if bytes > *bounds.end() {
            let wrong = format!("is too large; the most is {}", size::show(*bounds.end()));
            self.refuse(key, &text, &wrong, None);
        }
        bytes
    }

    /// Where a first run begins.
    pub(super) fn start(&mut self, key: &str, default: Start) -> Start {
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
                    Ok(_) => self.refuse(key, &text, "is longer than 100 years", None),
                    Err(_) => self.refuse(key, &text, "is not a start", Some(format!("it must be {expected}"))),
                }
                default
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer<T: TryFrom<i128> + Copy>(
        &mut self,
        key: &str,
        default: T,
        bounds: RangeInclusive<i128>,
    ) -> T {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let from_value = |value: &Value| if let Value::Integer(number) = value { Some(*number) } else { None };
        self.scalar(key, &expected, from_value, |number| T::try_from(*number).ok().filter(|_| bounds.contains(number)))
            .unwrap_or(default)
    }

    /// A number within bounds.
    pub(super) fn float(&mut self, key: &str, default: f64, bounds: RangeInclusive<f64>) -> f64 {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let from_value = |value: &Value| match value {
            #[expect(clippy::cast_precision_loss, reason = "integers that lose precision are far out of bounds")]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        // NaN is in no range.
        self.scalar(key, &expected, from_value, |number| Some(*number).filter(|number| bounds.contains(number)))
            .unwrap_or(default)
    }

    /// true or false.
    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let from_value = |value: &Value| if let Value::Boolean(value) = value { Some(*value) } else { None };
        self.scalar(key, "true or false", from_value, |value| Some(*value)).unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = quoted.join(" or ");
        let text = self.text(key, &expected)?;
        let written = text.bare().to_ascii_lowercase();
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&written)).map(|(_, value)| *value);
        if found.is_none() {
            let meant = nearest(&written, words.iter().map(|(word, _)| *word));
            let wrong = meant.map(|meant| format!("is not known; did you mean \"{meant}\"?"));
            self.refuse(key, &text, &wrong.unwrap_or_else(|| format!("is not {expected}")), None);
        }
        found
    }

    /// A path; one that is written in the file counts from the file.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.text(key, "a path in quotes")?;
        let wrong = match text.as_str() {
            "" => "is empty",
            home if home == "~" || home.starts_with("~/") => "begins with `~`, which only a shell understands",
            odd if odd.contains(char::is_control) => "holds a control character",
            quoted if tidy::unquoted(quoted) != quoted => "is in quotes",
            path if matches!(text.origin, Origin::File(_)) => {
                let base = self.report.file().and_then(|file| file.path().parent()).unwrap_or(Path::new(""));
                return Some(base.join(path));
            }
            path => return Some(PathBuf::from(path)),
        };
        self.refuse(key, &text, wrong, Some("write the path in full".to_owned()));
        None
    }

    /// A text, read from its source if it is a reference.
    pub(super) fn text(&mut self, key: &str, expected: &str) -> Option<Text> {
        let entry = self.table.entries.get(key)?;
        self.text_of(key, entry, expected)
    }

    /// The same for an element of a list.
    pub(super) fn text_of(&mut self, key: &str, entry: &Entry, expected: &str) -> Option<Text> {
        let origin = entry.origin.clone();
        let found = match &entry.value {
            Value::Text(value) => {
                return Some(Text { origin, value: value.clone(), written_out: true, source: None });
            }
            // TOML has a type of its own for times; here they are as good as in quotes.
            Value::Datetime(text) => {
                return Some(Text { origin, value: Secret::from(text.as_str()), written_out: true, source: None });
            }
            Value::Reference(source) => {
                let value = self.read(key, &origin, source)?;
                return Some(Text { origin, value, written_out: false, source: Some(source.clone()) });
            }
            Value::Broken => return None,
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "an array",
            Value::Map(_) => "a table",
        };
        let message = format!("`{}` must be {expected}, not {found}", self.name(key));
        self.report.error(&entry.origin, message, None);
        None
    }

    /// A secret without what certainly does not belong to it, which is said; what may belong to it is refused.
    pub(super) fn tidy(&mut self, key: &str, text: &Text, kind: tidy::Kind) -> Option<Text> {
        let name = self.name(key);
        let named = match &text.source {
            Some(source) => format!("`{name}`: {source}"),
            None => format!("`{name}`"),
        };
        match tidy::tidy(text.as_str(), kind) {
            Ok(tidy::Tidy { text: tidied, left_out }) => {
                if let Some(what) = left_out.filter(|_| !tidied.is_empty()) {
                    self.report.warn(&text.origin, format!("{named} has {what}, which is left out"), None);
                }
                Some(text.with(tidied))
            }
            Err(doubt) => {
                self.report.error(&text.origin, format!("{named} {doubt}"), Some(doubt.hint().to_owned()));
                None
            }
        }
    }

    /// The same for one token, or for several with commas between; quotes may stand around them all.
    pub(super) fn tokens(&mut self, key: &str, text: &Text) -> Option<Vec<Text>> {
        let parts = match text.as_str().contains(',') {
            true => text.with(text.bare()).split(',').collect(),
            false => vec![text.with(text.as_str())],
        };
        let tidied: Option<Vec<Text>> = parts.iter().map(|part| self.tidy(key, part, tidy::Kind::Token)).collect();
        Some(tidied?.into_iter().filter(|part| !part.as_str().is_empty()).collect())
    }

    /// Reports that a value is wrong, and shows it if it may be shown. `wrong` goes on after the name of the key.
    pub(super) fn refuse(&mut self, key: &str, text: &Text, wrong: &str, help: Option<String>) {
        let name = self.name(key);
        if self.may_show(text) {
            let message = format!("`{name}` = \"{}\" {wrong}", text.as_str().escape_debug());
            self.report.error_with_value(&text.origin, message, help);
        } else {
            self.report.error(&text.origin, format!("`{name}` {wrong}"), help);
        }
    }

    /// Whether a text may be repeated: not if it is long or has several lines, since then it is not what is meant.
    pub(super) fn may_show(&self, text: &Text) -> bool {
        let value = text.as_str();
        let short = value.chars().count() <= LONGEST_SHOWN && !value.contains(['\n', '\r']);
        text.written_out && short && self.report.may_show(&text.origin)
    }

    fn read(&mut self, key: &str, origin: &Origin, source: &Source) -> Option<Secret> {
        match source.read(self.env) {
            Ok(value) => Some(value),
            Err(error) => {
                let hint = error.hint();
                self.report.error_with_value(origin, format!("`{}`: {error}", self.name(key)), Some(hint));
                None
            }
        }
    }

    fn parse_duration(&mut self, key: &str, text: &Text, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = match duration::parse(text.bare()) {
            Ok(parsed) => parsed,
            Err(wrong) => {
                self.refuse(key, text, &wrong, Some(duration::EXAMPLES.to_owned()));
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
        self.refuse(key, text, &wrong, None);
        None
    }

    /// A number or a truth value. Variables and flags are text, and so is a file that a variable names.
    fn scalar<V: std::str::FromStr + fmt::Display, T>(
        &mut self,
        key: &str,
        expected: &str,
        from_value: impl Fn(&Value) -> Option<V>,
        accept: impl Fn(&V) -> Option<T>,
    ) -> Option<T> {
        let entry = self.table.entries.get(key)?;
        if let Value::Broken = entry.value {
            return None;
        }
        if let Some(value) = from_value(&entry.value) {
            let accepted = accept(&value);
            if accepted.is_none() {
                let shown = if self.report.may_show(&entry.origin) { format!(" = {value}") } else { String::new() };
                let message = format!("`{}`{shown} is not {expected}", self.name(key));
                self.report.error_with_value(&entry.origin, message, None);
            }
            return accepted;
        }
        if let Origin::File(_) = entry.origin {
            let message = format!("`{}` must be {expected}, without quotes", self.name(key));
            self.report.error(&entry.origin, message, None);
            return None;
        }
        let text = self.text(key, expected)?;
        let accepted = text.bare().to_ascii_lowercase().parse().ok().and_then(|value| accept(&value));
        if accepted.is_none() {
            self.refuse(key, &text, &format!("is not {expected}"), None);
        }
        accepted
    }
}
