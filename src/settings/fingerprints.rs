//! A fingerprint of the value of each key, by which two readings of a configuration are compared.
//!
//! Invariants:
//! - A fingerprint covers the value that a component gets. If the value is a reference, the fingerprint covers the
//!   content of its source. So if a secret is replaced, the fingerprint of its key changes.
//! - A fingerprint is a hash and is kept in memory only. It shows nothing of a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::document::{Document, Table, WrittenEntry, WrittenValue};
use crate::secret::{Environment, Secret, Source, Unavailable};

/// The fingerprints of all keys that were written, by the full names of the keys, such as `sinks.crm.retry.max`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<String, [u8; 32]>);

/// The sources from which values were read. Each source is read once, so that all keys see the same content.
#[derive(Debug, Default)]
pub(super) struct SourcesRead {
    contents: Vec<(Source, Secret)>,
    /// For each key, a hash of the contents that were read for it, in the order of reading.
    of_keys: BTreeMap<String, Sha256>,
    /// The files to which values refer (`{ file = "path" }`).
    files: BTreeSet<PathBuf>,
}

impl SourcesRead {
    /// Reads a source for the key of this full name.
    pub(super) fn read(&mut self, key: &str, source: &Source, env: &Environment) -> Result<Secret, Unavailable> {
        let known = self.contents.iter().find(|(known, _)| known == source).map(|(_, content)| content.clone());
        let content = match known {
            Some(content) => content,
            None => {
                let content = source.read(env)?;
                self.contents.push((source.clone(), content.clone()));
                content
            }
        };
        self.note(key, content.expose().as_bytes());
        Ok(content)
    }

    /// If a source is a file, notes that the file is to be read again when it changes.
    pub(super) fn watch(&mut self, source: &Source) {
        if let Source::File(path) = source {
            self.files.insert(path.clone());
        }
    }

    /// Notes content that belongs to the value of a key.
    pub(super) fn note(&mut self, key: &str, content: &[u8]) {
        add(self.of_keys.entry(key.to_owned()).or_default(), content);
    }

    /// Returns the files that are to be read again when they change.
    pub(super) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }
}

impl Fingerprints {
    /// Returns the fingerprints of everything in the document, and of the contents that were read for its keys.
    pub(super) fn of(document: &Document, read: &SourcesRead) -> Self {
        let mut hashes = BTreeMap::new();
        for (section, table) in document.sections() {
            add_table(&mut hashes, section, table);
        }
        for (sink, table) in &document.sinks {
            // Without this entry, a sink without any key would be missing.
            hashes.insert(format!("sinks.{sink}"), Sha256::new());
            add_table(&mut hashes, &format!("sinks.{sink}"), table);
        }
        for (key, content) in &read.of_keys {
            add(hashes.entry(key.clone()).or_default(), &content.clone().finalize());
        }
        Self(hashes.into_iter().map(|(key, hash)| (key, hash.finalize().into())).collect())
    }

    /// Makes fingerprints for tests: each key with the text of its value.
    pub fn of_texts<'t>(values: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let hashed = |(key, value): (&str, &str)| (key.to_owned(), Sha256::digest(value).into());
        Self(values.into_iter().map(hashed).collect())
    }

    /// Returns the full names of all keys that were written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the keys whose values differ, and the keys that only one of the two configurations has.
    pub fn changed_keys(&self, other: &Self) -> BTreeSet<String> {
        let keys = self.0.keys().chain(other.0.keys());
        keys.filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }

    /// Takes the fingerprint of a key from `other`; if `other` does not have the key, it is removed here, too.
    pub fn take_from(&mut self, other: &Self, key: &str) {
        match other.0.get(key) {
            Some(hash) => drop(self.0.insert(key.to_owned(), *hash)),
            None => drop(self.0.remove(key)),
        }
    }
}

fn add_table(hashes: &mut BTreeMap<String, Sha256>, path: &str, table: &Table) {
    for (key, entry) in &table.entries {
        add_value(hashes.entry(format!("{path}.{key}")).or_default(), entry);
    }
    for (key, elements) in &table.elements {
        let hash = hashes.entry(format!("{path}.{key}")).or_default();
        for element in elements {
            add(hash, b"element");
            for (key, entry) in &element.entries {
                add(hash, key.as_bytes());
                add_value(hash, entry);
            }
        }
    }
}

fn add_value(hash: &mut Sha256, entry: &WrittenEntry) {
    match &entry.value {
        WrittenValue::Text(text) => add(hash, text.expose().as_bytes()),
        // The content of the reference is added later, under the name of the key.
        WrittenValue::Reference(_) => add(hash, b"reference"),
        WrittenValue::Integer(number) => add(hash, number.to_string().as_bytes()),
        WrittenValue::Float(number) => add(hash, number.to_string().as_bytes()),
        WrittenValue::Boolean(value) => add(hash, value.to_string().as_bytes()),
        WrittenValue::Datetime(text) => add(hash, text.as_bytes()),
        WrittenValue::List(entries) => {
            add(hash, b"list");
            entries.iter().for_each(|entry| add_value(hash, entry));
            add(hash, b"end");
        }
        WrittenValue::Map(members) => {
            add(hash, b"map");
            for member in members {
                add(hash, member.name.as_bytes());
                add_value(hash, &member.entry);
            }
            add(hash, b"end");
        }
        WrittenValue::Broken => add(hash, b"broken"),
    }
}

/// Adds a part with its length, so that two parts are never mistaken for one.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_named() {
        let before = Fingerprints::of_texts([("poll.interval", "1s"), ("log.level", "info"), ("api.url", "a")]);
        let after = Fingerprints::of_texts([("poll.interval", "2s"), ("log.level", "info"), ("api.key", "k")]);
        let changed: Vec<String> = before.changed_keys(&after).into_iter().collect();
        assert_eq!(changed, ["api.key", "api.url", "poll.interval"]);
        let mut mixed = after.clone();
        for key in ["api.url", "api.key"] {
            mixed.take_from(&before, key);
        }
        assert_eq!(mixed.changed_keys(&before).into_iter().collect::<Vec<_>>(), ["poll.interval"]);
    }

    #[test]
    fn a_source_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let (mut read, source, env) = (SourcesRead::default(), Source::File(path.clone()), Environment::new());
        assert_eq!(read.read("sinks.a.url", &source, &env).unwrap().expose(), "first");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(read.read("sinks.b.url", &source, &env).unwrap().expose(), "first");
        let again = SourcesRead::default().read("sinks.a.url", &source, &env);
        assert_eq!(again.unwrap().expose(), "second");
    }
}
