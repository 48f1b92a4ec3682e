//! The configuration as written: the keys, their values, and the place of each value.
//!
//! File, environment and flags are merged here, key by key. All keys in a document are declared. The values may be
//! wrong: they are checked later, when they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::domain::SinkName;
use crate::secret::{Secret, Source};

/// The place where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At these bytes of the file.
    File(Range<usize>),
    /// In the environment variable of this name.
    Variable(String),
    /// In the flag of this name.
    Flag(&'static str),
    /// Nowhere: the value is implied.
    Default,
}

/// Everything that was written, from all layers.
#[derive(Debug, Default)]
pub struct Document {
    sections: BTreeMap<&'static str, Table>,
    /// The sinks, by name.
    pub sinks: BTreeMap<SinkName, Table>,
}

/// The keys of one section or sink. A key in a table has the name of the table in its name, but not the name of the
/// section: `retry.max`, and not `sinks.crm.retry.max`.
#[derive(Clone, Debug)]
pub struct Table {
    /// The place where the table begins, for errors about missing keys.
    pub origin: Origin,
    /// The written values.
    pub entries: BTreeMap<String, WrittenEntry>,
    /// The known keys that were probably meant by misspelt keys of this table. They are not reported as missing.
    pub misspelt: BTreeSet<String>,
    /// The elements of each array of tables, by the array's name. The names of their keys begin with that name, such as
    /// `filter.to`.
    pub elements: BTreeMap<String, Vec<Table>>,
}

/// One value and its place.
#[derive(Clone, Debug)]
pub struct WrittenEntry {
    /// The place of the value.
    pub origin: Origin,
    /// The value.
    pub value: WrittenValue,
}

/// A value as written. A text counts as a secret until the code that reads its key has decided that it is not a secret.
#[derive(Clone, Debug)]
pub enum WrittenValue {
    /// A string of the file, or any value of the environment and the flags.
    Text(Secret),
    /// `{ env | file | credential }`, or a variable that names a file.
    Reference(Source),
    /// An integer. An integer that is too large for the type counts as the largest.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// true or false.
    Boolean(bool),
    /// A date, a time, or both.
    Datetime(String),
    /// An array.
    List(Vec<WrittenEntry>),
    /// A table with names that the user chooses.
    Map(Vec<Member>),
    /// A value that cannot be used. Its error has been reported already.
    Broken,
}

/// One entry of a table with names that the user chooses.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name as written.
    pub name: String,
    /// The place of the name.
    pub origin: Origin,
    /// The value.
    pub entry: WrittenEntry,
}

impl Document {
    /// The table of a section; empty if there is none.
    pub fn section(&mut self, section: &'static str) -> &mut Table {
        self.sections.entry(section).or_insert_with(|| Table::new(Origin::Default))
    }

    /// The tables of all sections for which [`Self::section`] was called, by the name of the section.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&'static str, &Table)> {
        self.sections.iter().map(|(name, table)| (*name, table))
    }

    /// The table of a sink. It is made if there is none.
    pub fn sink(&mut self, name: SinkName, origin: &Origin) -> &mut Table {
        self.sinks.entry(name).or_insert_with(|| Table::new(origin.clone()))
    }
}

impl Table {
    /// A table without entries.
    pub fn new(origin: Origin) -> Self {
        Self { origin, entries: BTreeMap::new(), misspelt: BTreeSet::new(), elements: BTreeMap::new() }
    }

    /// Sets one entry of a table with names that the user chooses. The entry replaces the entry of the same name from a
    /// layer with lower precedence. Names are compared without regard to case.
    pub fn set_member(&mut self, key: &str, name: String, origin: &Origin, value: WrittenValue) {
        let entry = WrittenEntry { origin: origin.clone(), value };
        let member = Member { name, origin: origin.clone(), entry };
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            Some(WrittenValue::Map(members)) => {
                members.retain(|known| !known.name.eq_ignore_ascii_case(&member.name));
                members.push(member);
            }
            _ => self.set(key, origin.clone(), WrittenValue::Map(vec![member])),
        }
    }

    /// Sets a key. The value replaces the value from a layer with lower precedence.
    pub fn set(&mut self, key: &str, origin: Origin, value: WrittenValue) {
        self.entries.insert(key.to_owned(), WrittenEntry { origin, value });
    }
}
