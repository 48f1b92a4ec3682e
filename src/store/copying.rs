//! Copying a whole state to another place, for example from a SQLite file to PostgreSQL.
//!
//! Both backends have the same tables, with the same columns and meanings. The exceptions are the checksums, the number
//! of transactions, the lease, and the lists of replicas and of their requests. These are not copied, because they are
//! about one database, and not about the state in it. One more difference: a SQLite file marks an event in the column
//! `event`; PostgreSQL and a copied record mark it in the column `standing`.
//!
//! Invariant: all records are written in one transaction, so the new place gets either the whole state or nothing.

use super::error::Error;

/// A table that is copied.
#[derive(Debug)]
pub struct CopiedTable {
    /// The name of the table.
    pub(super) name: &'static str,
    /// The columns. The first [`Self::key`] columns are the key, by which the records are ordered.
    pub(super) columns: &'static [CopiedColumn],
    /// How many columns the key has.
    pub(super) key: usize,
}

/// A column that is copied.
#[derive(Debug)]
pub(super) struct CopiedColumn {
    pub(super) name: &'static str,
    #[cfg_attr(
        not(feature = "replicas"),
        expect(dead_code, reason = "only the backend for PostgreSQL uses the kinds")
    )]
    pub(super) kind: ColumnKind,
}

/// The kind of values in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// A number or an instant.
    Number,
    /// True or false. Copied as 1 or 0.
    Flag,
    /// A word or a text of the relay itself.
    Word,
    /// A text of the API.
    ApiText,
}

/// A value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopiedValue {
    /// The record has no value in this column.
    Null,
    /// A number, an instant or a flag.
    Number(i64),
    /// A word or a text.
    Text(String),
}

/// A record: a value for each column.
pub type CopiedRecord = Vec<CopiedValue>;

/// A function that returns the next records to be copied, and their table; `None` if there are no more.
pub type NextRecords<'n> = dyn FnMut() -> Result<Option<(&'static CopiedTable, Vec<CopiedRecord>)>, Error> + 'n;

/// Transactions that copy whole states.
pub trait CopyTransactions {
    /// Reads records in the order of their key: the next ones after the key `after`, or the first ones if `after` is
    /// `None`.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn read_records(
        &self,
        table: &'static CopiedTable,
        after: Option<&[CopiedValue]>,
        at_most: usize,
    ) -> Result<Vec<CopiedRecord>, Error>;

    /// Fills an empty state with all records that `next` returns, in one transaction. Returns `false`, and changes
    /// nothing, if the state is not empty.
    ///
    /// # Errors
    /// Returns the errors of `next`, and those that [`super::Backend`] lists.
    fn fill(&mut self, next: &mut NextRecords<'_>) -> Result<bool, Error>;
}

/// Lists the columns of a table.
macro_rules! columns {
    ($($kind:ident: $($name:ident)+;)+) => {
        &[$($(CopiedColumn { name: stringify!($name), kind: ColumnKind::$kind },)+)+]
    };
}

/// The tables of a state, in the order in which they are copied.
pub(super) static TABLES: [CopiedTable; 8] = [
    CopiedTable { name: "number", columns: columns!(Number: key; ApiText: id details; Number: fetched_at;), key: 1 },
    CopiedTable {
        name: "message",
        columns: columns!(
            Number: seq; ApiText: id; Number: time ingested; Word: standing;
            Number: held_by release_no stored_at; ApiText: raw; Number: number;
        ),
        key: 1,
    },
    CopiedTable {
        name: "sink",
        columns: columns!(
            Number: id; Word: name; Flag: active; Word: paused; Number: paused_at busy_until failures created_at;
            Number: ordered fill_next fill_last fill_since;
        ),
        key: 1,
    },
    CopiedTable {
        name: "delivery",
        columns: columns!(
            Number: seq sink class release_no; Word: state; Number: attempts first_attempt due settled_at status;
            Word: reason answer; Number: paused_ms replays number handed_by;
        ),
        key: 2,
    },
    CopiedTable {
        name: "walk",
        columns: columns!(
            Number: id; Word: kind; Number: sweep_floor; Flag: streaming; ApiText: cursor; Word: trail;
            Number: floor opened_seq opened_at lowest failures empty_answers restarts since;
        ),
        key: 1,
    },
    CopiedTable {
        name: "coverage",
        columns: columns!(Number: one frontier watermark anchor start_instant next_seq next_walk;),
        key: 1,
    },
    CopiedTable { name: "counter", columns: columns!(Word: name; Number: value;), key: 1 },
    CopiedTable { name: "meta", columns: columns!(Word: key value;), key: 1 },
];

/// The name of the counter of transactions in the table `counter`. This counter is not copied.
pub(super) const COMMITS: &str = "commits";

impl CopiedTable {
    /// Returns the names of the columns, separated by commas.
    pub(super) fn column_names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the names of the columns of the key, separated by commas.
    pub(super) fn key_names(&self) -> String {
        self.columns[..self.key].iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the index of a column in a record.
    pub(super) fn place_of(&self, column: &str) -> usize {
        self.columns.iter().position(|found| found.name == column).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_first() {
        let names = |table: &CopiedTable| (table.name, table.key_names());
        let keys: Vec<(&str, String)> = TABLES.iter().map(names).collect();
        let expected = [
            ("number", "key"),
            ("message", "seq"),
            ("sink", "id"),
            ("delivery", "seq, sink"),
            ("walk", "id"),
            ("coverage", "one"),
            ("counter", "name"),
            ("meta", "key"),
        ];
        assert_eq!(keys, expected.map(|(table, key)| (table, key.to_owned())));
    }
}
