//! One row of the feed: the fields that the relay has to understand.

use super::{Cursor, UnixMs};

/// The sequence number of a stored row: rows are numbered in the order in which they were stored. No number is used
/// twice, even after its row is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

/// A message as the API listed it. The relay reads only the fields below from it; sinks get `raw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The API's id. If the row is not valid JSON, or if its id is missing, empty or not a string, this is
    /// `unreadable:` and a hash of the row.
    pub id: String,
    /// True for a row that has an id and is valid JSON. Any other row is set aside and never delivered.
    pub readable: bool,
    /// Details of a row that is not valid JSON. Such a row is not readable.
    pub spoiled: Option<Box<SpoiledRow>>,
    /// `receivedAt`. A row without a readable `receivedAt` gets the time of a neighbouring row of its page, or,
    /// if no row of the page has a time, the present time by the API's clock.
    pub time: UnixMs,
    /// `ingestedAt`; `None` if it is not readable.
    pub ingested: Option<UnixMs>,
    /// `numberId`; `None` if the row has no `numberId` that is a string.
    pub number: Option<String>,
    /// The JSON text of the row, byte for byte. For a spoiled row: the bytes that came, with `\xNN` for each byte that
    /// is not UTF-8.
    pub raw: Box<str>,
}

/// A row that is not valid JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoiledRow {
    /// The API's id; `None` if it cannot be read.
    pub id: Option<String>,
    /// The row's place on its page, counted from 1.
    pub place: usize,
    /// The mistake in the row, without a quote from the row.
    pub wrong: String,
}

/// How the feed goes on after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum More {
    /// More rows follow; a request with this cursor gets them.
    Cursor(Cursor),
    /// No rows follow.
    End,
    /// The answer promises more rows, but has no cursor.
    Lost,
}
