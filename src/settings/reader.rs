//! Reads the values of one table of a [`Document`](super::Document): from what was written to what was meant.
//!
//! Each function reads one key. It returns the key's value, or the default if the key is missing or wrong. Errors go to
//! the report, so that one pass finds all of them. Invariant: a message repeats only values that were written out in
//! the file, a variable or a flag, never one that comes from a reference.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Member, Origin, Table, WrittenEntry, WrittenValue};
use super::report::Complaints;
use super::suggestion::nearest;
use super::{duration, size};
use crate::domain::{Start, UnixMs};
use crate::secret::{Environment, Secret, Source, trimming};

/// Longer values are not repeated in messages; in characters.
const LONGEST_SHOWN: usize = 60;

/// The status that messages show as an example.
const EXAMPLE_STATUS: u16 = 409;

/// The longest duration where no other bound applies: a hundred years.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One section or sink, or a table in it, ready to be read.
pub struct Reader<'r> {
    /// The section or sink, such as `poll` or `sinks.crm`.
    path: String,
    /// The table in the section, such as `retry.`; "" for the section itself.
    group: String,
    table: &'r Table,
    env: &'r Environment,
    report: &'r mut Complaints,
}

/// A text, and where it comes from.
#[derive(Clone, Debug)]
pub struct WrittenText {
    /// The place where the text, or the reference to it, was written.
    pub origin: Origin,
    /// The text.
    pub value: Secret,
    /// True for a text that was written out; false for one that was read from a reference.
    pub written_out: bool,
    /// The reference's source, if there is one.
    pub source: Option<Source>,
}

/// The texts of a key that takes one text or several.
#[derive(Clone, Debug)]
pub struct Texts {
    /// The place of the key.
    pub origin: Origin,
    /// The texts that could be read.
    pub texts: Vec<WrittenText>,
    /// Whether all texts could be read.
    pub whole: bool,
    /// Whether an empty array was written.
    pub is_empty_array: bool,
}

impl WrittenText {
    /// A text that stands for a missing one.
    pub(super) fn implied(text: &str) -> Self {
        Self { origin: Origin::Default, value: Secret::from(text), written_out: true, source: None }
    }

    /// The text itself. Messages show it by [`Reader::refuse`] only.
    pub fn as_str(&self) -> &str {
        self.value.expose()
    }

    /// Whether the text stands in the file itself, where secrets do not belong.
    pub fn is_in_file(&self) -> bool {
        self.written_out && matches!(self.origin, Origin::File(_))
    }

    /// The text as one word: without the white space and the pair of quotes around it that files of variables may
    /// leave.
    pub fn bare(&self) -> &str {
        trimming::bare(self.as_str())
    }

    /// The parts of the text, without the white space around them and without empty ones.
    fn split(&self, at: char) -> impl Iterator<Item = Self> + '_ {
        let parts = self.as_str().split(at).map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| self.with(part))
    }

    /// Another text that counts as written at the same place.
    pub fn with(&self, text: &str) -> Self {
        let Self { origin, written_out, source, .. } = self;
        Self { origin: origin.clone(), value: Secret::from(text), written_out: *written_out, source: source.clone() }
    }
}

impl<'r> Reader<'r> {
    /// A reader of `table`, which stands at `path`.
    pub fn new(path: String, table: &'r Table, env: &'r Environment, report: &'r mut Complaints) -> Self {
        Self { path, group: String::new(), table, env, report }
    }

    /// A reader of the table `group` in this table.
    pub fn inside(&mut self, group: &str) -> Reader<'_> {
        let group = format!("{}{group}.", self.group);
        Reader { path: self.path.clone(), group, table: self.table, env: self.env, report: self.report }
    }

    /// The elements of an array of tables.
    pub fn elements(&self, group: &str) -> &'r [Table] {
        self.table.elements.get(&self.key(group)).map_or(&[], Vec::as_slice)
    }

    /// A reader of an element of an array of tables. Its path is the path of this table.
    pub fn of<'s>(&'s mut self, table: &'s Table) -> Reader<'s> {
        Reader { path: self.path.clone(), group: self.group.clone(), table, env: self.env, report: self.report }
    }

    /// The full name of a key; of the table itself for "".
    pub fn name(&self, key: &str) -> String {
        format!("{}.{}", self.path, self.key(key)).trim_end_matches('.').to_owned()
    }

    /// The value that was written for a key. `None` also for a key that was only misspelt.
    pub fn written(&self, key: &str) -> Option<&'r WrittenEntry> {
        self.table.entries.get(&self.key(key))
    }

    /// The text that was written out for a key that another component reads.
    pub fn written_out(&self, key: &str) -> Option<&'r str> {
        match &self.written(key)?.value {
            WrittenValue::Text(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// The place where a key was written.
    pub fn origin(&self, key: &str) -> Option<&'r Origin> {
        self.written(key).map(|entry| &entry.origin)
    }

    /// The keys that were written in the table `group`, by their full names below the section. The group "" is this
    /// table.
    pub fn all_written(&self, group: &str) -> impl Iterator<Item = (&'r str, &'r WrittenEntry)> + use<'r> {
        let group = if group.is_empty() { self.group.clone() } else { self.key(group) + "." };
        let below = move |(key, _): &(&String, &WrittenEntry)| key.starts_with(&group);
        self.table.entries.iter().filter(below).map(|(key, entry)| (key.as_str(), entry))
    }

    /// The place where the section begins.
    pub fn place(&self) -> &'r Origin {
        &self.table.origin
    }

    /// Reports an error of a key without showing a value. `help` says what to do, or is "".
    pub fn error(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.error(origin, message, help);
    }

    /// Reports an error of a key without showing a value. `wrong` goes on after the name of the key.
    pub fn wrong(&mut self, key: &str, origin: &Origin, wrong: &str, help: &str) {
        self.report.error(origin, format!("`{}` {wrong}", self.name(key)), help);
    }

    /// Reports an error of a value that may be shown.
    pub fn error_with_value(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.error_with_value(origin, message, help);
    }

    /// Reports a warning.
    pub fn warn(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.warn(origin, message, help);
    }

    /// Reports a warning that concerns several sections, unless it was reported before.
    pub fn warn_once(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.warn_once(origin, message, help);
    }

    /// Reports that one of these keys is needed and none was written. Reports nothing if one was misspelt, or may stand
    /// in a part of the file that could not be read.
    pub fn missing(&mut self, keys: &[&str], origin: &Origin, message: String, help: &str) {
        let excused = |key: &&str| self.written(key).is_some() || self.table.misspelt.contains(&self.key(key));
        if self.report.is_complete() && !keys.iter().any(excused) {
            self.report.error(origin, message, help);
        }
    }

    /// Whether everything that was written could be read.
    pub fn is_complete(&self) -> bool {
        self.report.is_complete()
    }

    /// The variables that references may name.
    pub fn environment(&self) -> &'r Environment {
        self.env
    }

    /// The variable that sets a key.
    pub fn variable(&self, key: &str) -> String {
        let name = self.name(key).to_ascii_uppercase().replace('.', "__").replace('-', "_");
        format!("{}{name}", self.report.declared().prefix)
    }

    /// Reports an error that several keys depend on; only the first report counts.
    pub fn error_once(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.error_once(origin, message, help);
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.group)
    }

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

    /// One of a few words.
    pub fn choice<T: Clone>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = quoted.join(" or ");
        let text = self.text(key, &expected)?;
        let written = text.bare().to_ascii_lowercase();
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&written));
        let found = found.map(|(_, value)| value.clone());
        if found.is_none() {
            let meant = nearest(&written, words.iter().map(|(word, _)| *word));
            let wrong = meant.map(|meant| format!("is not known; did you mean \"{meant}\"?"));
            self.refuse(key, &text, &wrong.unwrap_or_else(|| format!("is not {expected}")), "");
        }
        found
    }

    /// Reads a path. A relative path in the file counts from the directory of the file.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.text(key, "a path in quotes")?;
        let wrong = match text.as_str() {
            "" => "is empty",
            home if home == "~" || home.starts_with("~/") => "begins with `~`, which only a shell understands",
            odd if odd.contains(char::is_control) => "holds a control character",
            quoted if trimming::unquoted(quoted) != quoted => "is in quotes",
            _ => return Some(self.beside_file(&text)),
        };
        self.refuse(key, &text, wrong, "write the path in full");
        None
    }

    /// The path that a text names. A relative path in the file counts from the directory of the file.
    pub fn beside_file(&self, text: &WrittenText) -> PathBuf {
        let base = match text.origin {
            Origin::File(_) => self.report.path().and_then(Path::parent),
            Origin::Default | Origin::Flag(_) | Origin::Variable(_) => None,
        };
        base.unwrap_or(Path::new("")).join(text.as_str())
    }

    /// Reads a text, from its source if it is a reference.
    pub fn text(&mut self, key: &str, expected: &str) -> Option<WrittenText> {
        let entry = self.written(key)?;
        self.text_of(key, entry, expected)
    }

    /// Reads one text or several. `split`: a variable or a flag may hold several, with commas between them.
    pub fn texts(&mut self, key: &str, expected: &str, split: bool) -> Option<Texts> {
        let WrittenEntry { origin, value } = self.written(key)?;
        let mut found = Texts { origin: origin.clone(), texts: Vec::new(), whole: true, is_empty_array: false };
        let entries = match value {
            WrittenValue::List(entries) => entries.as_slice(),
            _ => std::slice::from_ref(self.written(key)?),
        };
        found.is_empty_array = entries.is_empty();
        for entry in entries {
            match self.text_of(key, entry, expected) {
                Some(text) if split && text.written_out && !text.is_in_file() => found.texts.extend(text.split(',')),
                Some(text) => found.texts.push(text),
                None => found.whole = false,
            }
        }
        Some(found)
    }

    /// Reads a table with names that the user chooses. [`Self::text_of`] reads the texts of its members.
    pub fn map(&mut self, key: &str) -> Vec<Member> {
        let Some(entry) = self.written(key) else { return Vec::new() };
        match &entry.value {
            WrittenValue::Map(members) => return members.clone(),
            WrittenValue::Broken => {}
            _ => {
                let message = format!("`{}` cannot be set as a whole by a variable", self.name(key));
                let help = "set each header by a variable of its own, such as …__HEADERS__X_TEAM";
                self.report.error(&entry.origin, message, help);
            }
        }
        Vec::new()
    }

    /// Reads the file that a key names, as a text.
    pub fn text_of_file(&mut self, key: &str, path: PathBuf) -> Option<WrittenText> {
        let origin = self.origin(key)?.clone();
        let value = self.read(key, &origin, &Source::File(path))?;
        Some(WrittenText { origin, value, written_out: false, source: None })
    }

    /// Notes the content of a file that a key names, so that a change of the content counts as a change of the key.
    pub fn note_content(&mut self, key: &str, content: &[u8]) {
        let name = self.name(key);
        self.report.read.note(&name, content);
    }

    /// Reads one element of a list as a text, from its source if it is a reference.
    pub fn text_of(&mut self, key: &str, entry: &WrittenEntry, expected: &str) -> Option<WrittenText> {
        let origin = entry.origin.clone();
        let found = match &entry.value {
            WrittenValue::Text(value) => {
                return Some(WrittenText { origin, value: value.clone(), written_out: true, source: None });
            }
            // TOML has a type of its own for times; here they count as if they stood in quotes.
            WrittenValue::Datetime(text) => {
                return Some(WrittenText {
                    origin,
                    value: Secret::from(text.as_str()),
                    written_out: true,
                    source: None,
                });
            }
            WrittenValue::Reference(source) => {
                self.report.read.watch(source);
                let value = self.read(key, &origin, source)?;
                return Some(WrittenText { origin, value, written_out: false, source: Some(source.clone()) });
            }
            WrittenValue::Broken => return None,
            WrittenValue::Integer(_) | WrittenValue::Float(_) => "a number",
            WrittenValue::Boolean(_) => "true or false",
            WrittenValue::List(_) => "an array",
            WrittenValue::Map(_) => "a table",
        };
        let message = format!("`{}` must be {expected}, not {found}", self.name(key));
        self.report.error(&entry.origin, message, "");
        None
    }

    /// Takes off everything around a secret that certainly does not belong to it, with a warning. Refuses a secret
    /// around which stands something that may belong to it.
    pub fn tidy(&mut self, key: &str, text: &WrittenText, kind: trimming::SecretKind) -> Option<WrittenText> {
        let name = self.name(key);
        let named = match &text.source {
            Some(source) => format!("`{name}`: {source}"),
            None => format!("`{name}`"),
        };
        match trimming::tidy(text.as_str(), kind) {
            Ok(trimming::Tidy { text: tidied, left_out }) => {
                if let Some(what) = left_out.filter(|_| !tidied.is_empty()) {
                    self.report.warn(&text.origin, format!("{named} has {what}, which is left out"), "");
                }
                Some(text.with(tidied))
            }
            Err(doubt) => {
                self.report.error(&text.origin, format!("{named} {doubt}"), doubt.hint());
                None
            }
        }
    }

    /// Like [`Self::tidy`], for one token, or for several with commas between them and perhaps quotes around all.
    pub fn tokens(&mut self, key: &str, text: &WrittenText) -> Option<Vec<WrittenText>> {
        let parts = match text.as_str().contains(',') {
            true => text.with(text.bare()).split(',').collect(),
            false => vec![text.with(text.as_str())],
        };
        let tidied: Option<Vec<WrittenText>> =
            parts.iter().map(|part| self.tidy(key, part, trimming::SecretKind::Token)).collect();
        Some(tidied?.into_iter().filter(|part| !part.as_str().is_empty()).collect())
    }

    /// Reports that a value is wrong, and shows the value if it may be shown. `wrong` goes on after the name of the
    /// key.
    pub fn refuse(&mut self, key: &str, text: &WrittenText, wrong: &str, help: &str) {
        let name = self.name(key);
        if self.may_show(text) {
            let message = format!("`{name}` = \"{}\" {wrong}", text.as_str().escape_debug());
            self.report.error_with_value(&text.origin, message, help);
        } else {
            self.report.error(&text.origin, format!("`{name}` {wrong}"), help);
        }
    }

    /// Whether a message may repeat a text. A text that is long or has several lines is probably not what was meant.
    pub fn may_show(&self, text: &WrittenText) -> bool {
        let value = text.as_str();
        let short = value.chars().count() <= LONGEST_SHOWN && !value.contains(['\n', '\r']);
        text.written_out && short && self.report.may_show(&text.origin)
    }

    /// Reads statuses within bounds, sorted. A text from outside the file has commas between them. `what` names the
    /// kind of statuses.
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

    fn read(&mut self, key: &str, origin: &Origin, source: &Source) -> Option<Secret> {
        match self.report.read.read(&self.name(key), source, self.env) {
            Ok(value) => Some(value),
            Err(error) => {
                let hint = error.hint();
                self.report.error_with_value(origin, format!("`{}`: {error}", self.name(key)), &hint);
                None
            }
        }
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

    /// Reads a number or a truth value. Variables and flags are text, and so is a file that a variable names.
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
