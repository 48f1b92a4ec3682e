//! Reads the values of one table of a [`Document`](super::Document): it turns the written values into the values that
//! components use.
//!
//! This file has the table that is read, the places of its keys, and the errors. `texts` reads texts, references and
//! secrets. `kinds` has the values of other kinds.
//!
//! Errors go to the report, so that one pass finds all of them. Invariant: an error text repeats only values that were
//! written out in the file, a variable or a flag, and never a value that comes from a reference.

mod texts;

use super::document::{Origin, Table, WrittenEntry, WrittenValue};
use super::report::Complaints;
use crate::secret::Environment;

pub use texts::{Texts, WrittenText};

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

    /// A reader of `table`, an element of an array of tables. Error texts name its keys as if they stood in this table.
    pub fn of<'s>(&'s mut self, table: &'s Table) -> Reader<'s> {
        Reader { path: self.path.clone(), group: self.group.clone(), table, env: self.env, report: self.report }
    }

    /// The full name of a key. The key "" stands for the table itself.
    pub fn name(&self, key: &str) -> String {
        format!("{}.{}", self.path, self.key(key)).trim_end_matches('.').to_owned()
    }

    /// The value that was written for a key. `None`: the key was not written, or it was misspelt.
    pub fn written(&self, key: &str) -> Option<&'r WrittenEntry> {
        self.table.entries.get(&self.key(key))
    }

    /// The text of a key, if it was written out. Reports no error: the code that declares the key does so.
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

    /// The place where the section, the sink or the element of an array begins.
    pub fn place(&self) -> &'r Origin {
        &self.table.origin
    }

    /// Reports an error of a key without showing a value. `help` says what to do, or is "".
    pub fn error(&mut self, origin: &Origin, message: String, help: &str) {
        self.report.error(origin, message, help);
    }

    /// Reports an error of a key without showing a value. `wrong` is the rest of a sentence that begins with the name
    /// of the key.
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

    /// Reports that one of these keys is missing. Does nothing if one of them was written or misspelt, or if a part of
    /// the file could not be read, because a key may stand there.
    pub fn missing(&mut self, keys: &[&str], origin: &Origin, message: String, help: &str) {
        let excused = |key: &&str| self.written(key).is_some() || self.table.misspelt.contains(&self.key(key));
        if self.report.is_complete() && !keys.iter().any(excused) {
            self.report.error(origin, message, help);
        }
    }

    /// Whether there is a configuration file.
    pub fn has_file(&self) -> bool {
        self.report.path().is_some()
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

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.group)
    }
}
