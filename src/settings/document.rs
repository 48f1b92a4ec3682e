//! The configuration as it was written: which keys, with which values, and where each of them stands.
//!
//! File, environment and flags are laid over each other here, key by key; what a value means is decided later. Names are
//! known to be right, values are not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::domain::SinkName;
use crate::secret::{Secret, Source};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// These bytes of the file.
    File(Range<usize>),
    /// The environment variable of this name.
    Variable(String),
    /// The flag of this name.
    Flag(&'static str),
    /// Nowhere: the value is implied.
    Default,
}

/// All that was written.
#[derive(Debug, Default)]
pub struct Document {
    sections: BTreeMap<&'static str, Table>,
    /// The sinks, by name.
    pub sinks: BTreeMap<SinkName, Table>,
}

/// The keys of one section or sink, by their full name below it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where the table begins, for what is missing in it.
    pub origin: Origin,
    /// What was written.
    pub entries: BTreeMap<String, WrittenEntry>,
    /// Keys that were probably meant by a misspelt one, so that they are not called missing, too.
    pub misspelt: BTreeSet<String>,
    /// The elements of each array of tables, by its name; their keys stand in full.
    pub elements: BTreeMap<String, Vec<Table>>,
}

/// One value and its place.
#[derive(Clone, Debug)]
pub struct WrittenEntry {
    /// Where it stands.
    pub origin: Origin,
    /// What it is.
    pub value: WrittenValue,
}

/// A value as it was written. Texts are secrets until the reader of their key knows better.
#[derive(Clone, Debug)]
pub enum WrittenValue {
    /// A string of the file, or anything of the environment and the flags.
    Text(Secret),
    /// `{ env | file | credential }`, or a variable that names a file.
    Reference(Source),
    /// An integer; one that does not fit is taken as the largest.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// true or false.
    Boolean(bool),
    /// A date, a time, or both.
    Datetime(String),
    /// An array.
    List(Vec<WrittenEntry>),
    /// A table whose names are the user's own.
    Map(Vec<Member>),
    /// A table that is no reference; what is wrong with it has been reported.
    Broken,
}

/// One entry of such a table.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name, as it was written.
    pub name: String,
    /// Where the name stands.
    pub origin: Origin,
    /// Its value.
    pub entry: WrittenEntry,
}

impl Document {
    /// The table of a section; empty if there is none.
    pub fn section(&mut self, section: &'static str) -> &mut Table {
        self.sections.entry(section).or_insert_with(|| Table::new(Origin::Default))
    }

    /// The table of a sink, made if there is none.
    pub fn sink(&mut self, name: SinkName, origin: &Origin) -> &mut Table {
        self.sinks.entry(name).or_insert_with(|| Table::new(origin.clone()))
    }
}

impl Table {
    /// A table without entries.
    pub fn new(origin: Origin) -> Self {
        Self { origin, entries: BTreeMap::new(), misspelt: BTreeSet::new(), elements: BTreeMap::new() }
    }

    /// Writes over what a lower layer has written for one name of a table of the user's own names. Case does not count.
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

    /// Writes over what a lower layer has written.
    pub fn set(&mut self, key: &str, origin: Origin, value: WrittenValue) {
        self.entries.insert(key.to_owned(), WrittenEntry { origin, value });
    }
}
