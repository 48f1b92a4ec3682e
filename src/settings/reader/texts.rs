//! Reads texts: a text is written out, or comes from a reference to a variable, a file or a credential.
//!
//! Each text carries its place, and a flag that says whether it was written out. So an error text shows only texts that
//! may be shown.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use super::super::document::{Member, Origin, WrittenEntry, WrittenValue};
use super::super::named_file::{FileUsage, NamedFile};
use super::Reader;
use crate::secret::{Secret, Source, trimming};

/// The length, in characters, above which error texts do not repeat a value.
const LONGEST_SHOWN: usize = 60;

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
    /// A text that is used because none was written.
    pub(in crate::settings) fn implied(text: &str) -> Self {
        Self { origin: Origin::Default, value: Secret::from(text), written_out: true, source: None }
    }

    /// The text itself. Error texts show it only through [`Reader::refuse`].
    pub fn as_str(&self) -> &str {
        self.value.expose()
    }

    /// Whether the text stands in the file itself, where secrets do not belong.
    pub fn is_in_file(&self) -> bool {
        self.written_out && matches!(self.origin, Origin::File(_))
    }

    /// The text as one word: without white space around it, and without the pair of quotes that a file of variables may
    /// leave around it.
    pub fn bare(&self) -> &str {
        trimming::bare(self.as_str())
    }

    /// The parts of the text that are not empty, without the white space around them.
    pub(super) fn split(&self, at: char) -> impl Iterator<Item = Self> + '_ {
        let parts = self.as_str().split(at).map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| self.with(part))
    }

    /// Returns the members if the text is the value of a variable, and is written as an array of texts is written in
    /// the file, such as `["/bin/sh", "on-sms.sh"]`. Other texts that begin with a bracket, such as the pattern
    /// `[+]1*`, are no arrays.
    fn members(&self) -> Option<Vec<Self>> {
        let text = self.as_str().trim();
        if !self.written_out || !matches!(self.origin, Origin::Variable(_)) || !text.starts_with('[') {
            return None;
        }
        let array = toml::de::ValueDeserializer::parse(text).ok()?;
        let members = Vec::<String>::deserialize(array).ok()?;
        Some(members.iter().map(|member| self.with(member)).collect())
    }

    /// Another text that counts as written at the same place.
    pub fn with(&self, text: &str) -> Self {
        let Self { origin, written_out, source, .. } = self;
        Self { origin: origin.clone(), value: Secret::from(text), written_out: *written_out, source: source.clone() }
    }
}

impl Reader<'_> {
    /// Reads a text, from its source if it is a reference.
    pub fn text(&mut self, key: &str, expected: &str) -> Option<WrittenText> {
        let entry = self.written(key)?;
        self.text_of(key, entry, expected)
    }

    /// Reads one text or several. A variable may hold an array of texts as in the file. `split`: a variable or a flag
    /// may hold several texts, with commas between them.
    pub fn texts(&mut self, key: &str, expected: &str, split: bool) -> Option<Texts> {
        let WrittenEntry { origin, value } = self.written(key)?;
        let mut found = Texts { origin: origin.clone(), texts: Vec::new(), whole: true, is_empty_array: false };
        let entries = match value {
            WrittenValue::List(entries) => entries.as_slice(),
            _ => std::slice::from_ref(self.written(key)?),
        };
        found.is_empty_array = entries.is_empty();
        for entry in entries {
            let text = self.text_of(key, entry, expected);
            if let Some(members) = text.as_ref().and_then(WrittenText::members) {
                found.is_empty_array |= members.is_empty();
                found.texts.extend(members);
                continue;
            }
            match text {
                Some(text) if split && text.written_out && !text.is_in_file() => found.texts.extend(text.split(',')),
                Some(text) => found.texts.push(text),
                None => found.whole = false,
            }
        }
        Some(found)
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
                if let Source::File(path) = source {
                    self.note_file(key, &origin, path, FileUsage::Reference);
                }
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

    /// Reads the file that a key names, as a text.
    pub fn text_of_file(&mut self, key: &str, path: PathBuf) -> Option<WrittenText> {
        let origin = self.origin(key)?.clone();
        self.note_file(key, &origin, &path, FileUsage::Read);
        let value = self.read(key, &origin, &Source::File(path))?;
        Some(WrittenText { origin, value, written_out: false, source: None })
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

    /// Removes the characters around a secret that certainly do not belong to the secret, and adds a warning about
    /// them. If it is doubtful whether such characters belong to the secret, the secret is refused.
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

    /// Returns the tokens in a text, each tidied as by [`Self::tidy`]. Commas separate several tokens, and quotes may
    /// stand around the whole text.
    pub fn tokens(&mut self, key: &str, text: &WrittenText) -> Option<Vec<WrittenText>> {
        let parts = match text.as_str().contains(',') {
            true => text.with(text.bare()).split(',').collect(),
            false => vec![text.with(text.as_str())],
        };
        let tidied: Option<Vec<WrittenText>> =
            parts.iter().map(|part| self.tidy(key, part, trimming::SecretKind::Token)).collect();
        Some(tidied?.into_iter().filter(|part| !part.as_str().is_empty()).collect())
    }

    /// Reports that a value is wrong, and shows the value if it may be shown. `wrong` is the rest of a sentence that
    /// begins with the name of the key.
    pub fn refuse(&mut self, key: &str, text: &WrittenText, wrong: &str, help: &str) {
        let name = self.name(key);
        if self.may_show(text) {
            let message = format!("`{name}` = \"{}\" {wrong}", text.as_str().escape_debug());
            self.report.error_with_value(&text.origin, message, help);
        } else {
            self.report.error(&text.origin, format!("`{name}` {wrong}"), help);
        }
    }

    /// Whether an error text may repeat a text. A text that is long or has several lines is not repeated: it was
    /// probably meant for another place.
    pub fn may_show(&self, text: &WrittenText) -> bool {
        let value = text.as_str();
        let short = value.chars().count() <= LONGEST_SHOWN && !value.contains(['\n', '\r']);
        text.written_out && short && self.report.may_show(&text.origin)
    }

    /// Notes a file that a key names, and how the relay uses the file. Files that variables and flags name are left
    /// out: a service has other variables and flags than the command that looks at its configuration.
    pub fn note_file(&mut self, key: &str, origin: &Origin, path: &Path, usage: FileUsage) {
        if let Origin::File(_) = origin {
            let file = NamedFile { key: self.name(key), path: path.to_owned(), usage };
            self.report.named_files.push(file);
        }
    }

    /// Notes the content of a file that a key names, so that a change of the content counts as a change of the key.
    pub fn note_content(&mut self, key: &str, content: &[u8]) {
        let name = self.name(key);
        self.report.read.note(&name, content);
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
}
