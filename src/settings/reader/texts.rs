//! Reads texts: a text is written out, or comes from a reference to a variable, a file or a credential.
//!
//! Each text carries its place and its source. So an error text shows only texts that were written out.

use std::path::{Path, PathBuf};

use super::super::document::{Origin, WrittenEntry, WrittenValue};
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
    /// The source from which the text was read; `None`: the text was written out.
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
        Self { origin: Origin::Default, value: Secret::from(text), source: None }
    }

    /// The text itself. Error texts show it only through [`Reader::refuse`].
    pub fn as_str(&self) -> &str {
        self.value.expose()
    }

    /// Whether the text was written out, and does not come from a reference.
    pub fn is_written_out(&self) -> bool {
        self.source.is_none()
    }

    /// Whether the text stands in the file itself, where secrets do not belong.
    pub fn is_in_file(&self) -> bool {
        self.is_written_out() && matches!(self.origin, Origin::File(_))
    }

    /// The text as one word: without white space around it, and without the pair of quotes that a file of variables may
    /// leave around it.
    pub fn bare(&self) -> &str {
        trimming::bare(self.as_str())
    }

    /// The parts of the text that are not empty, without the white space around them.
    pub(in crate::settings) fn split(&self, at: char) -> impl Iterator<Item = Self> + '_ {
        let parts = self.as_str().split(at).map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| self.with(part))
    }

    /// Another text that counts as written at the same place.
    pub fn with(&self, text: &str) -> Self {
        Self { value: Secret::from(text), ..self.clone() }
    }
}

impl Reader<'_> {
    /// Reads a text, from its source if it is a reference.
    pub fn text(&mut self, key: &str, expected: &str) -> Option<WrittenText> {
        let entry = self.written(key)?;
        self.text_of(key, entry, expected)
    }

    /// Reads one element of a list as a text, from its source if it is a reference.
    pub fn text_of(&mut self, key: &str, entry: &WrittenEntry, expected: &str) -> Option<WrittenText> {
        let origin = entry.origin.clone();
        let found = match &entry.value {
            WrittenValue::Text(value) => return Some(WrittenText { origin, value: value.clone(), source: None }),
            // TOML has a type of its own for times; here they count as if they stood in quotes.
            WrittenValue::Datetime(text) => {
                return Some(WrittenText { origin, value: Secret::from(text.as_str()), source: None });
            }
            WrittenValue::Reference(source) => {
                self.report.read.watch(source);
                if let Source::File(path) = source {
                    self.note_file(key, &origin, path, FileUsage::Reference);
                }
                return self.read(key, origin, source.clone());
            }
            WrittenValue::Broken => return None,
            WrittenValue::Integer(_) | WrittenValue::Float(_) => "a number",
            WrittenValue::Boolean(_) => "true or false",
            WrittenValue::List(_) => "an array",
            WrittenValue::Map(_) => "a table",
        };
        self.wrong(key, &origin, &format!("must be {expected}, not {found}"), "");
        None
    }

    /// Reads the file that a key names, as a text.
    pub fn text_of_file(&mut self, key: &str, path: PathBuf) -> Option<WrittenText> {
        let origin = self.origin(key)?.clone();
        self.note_file(key, &origin, &path, FileUsage::Read);
        self.read(key, origin, Source::File(path))
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
        text.is_written_out() && short && self.may_show_at(&text.origin)
    }

    /// Whether an error text may repeat a value that stands at this place.
    pub(in crate::settings) fn may_show_at(&self, origin: &Origin) -> bool {
        self.report.may_show(origin)
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

    fn read(&mut self, key: &str, origin: Origin, source: Source) -> Option<WrittenText> {
        match self.report.read.read(&self.name(key), &source, self.env) {
            Ok(value) => Some(WrittenText { origin, value, source: Some(source) }),
            Err(error) => {
                self.report.error_with_value(&origin, format!("`{}`: {error}", self.name(key)), &error.hint());
                None
            }
        }
    }
}
