//! One row of the feed, as far as the relay has to understand it.

use super::{Cursor, UnixMs};

/// The order in which rows were stored. Never used twice, also after a row is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

/// A message as the API listed it. Only its place in the feed is read; `raw` is what the sinks get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The API's id, or `unreadable:` and a hash of the row where it has no string id or is no JSON.
    pub id: String,
    /// Whether the row has an id and is JSON; any other is set aside and never delivered.
    pub readable: bool,
    /// What is known of a row that is no JSON. Such a row is not readable.
    pub spoiled: Option<Box<Spoiled>>,
    /// `receivedAt`; a row without a readable one has its neighbour's.
    pub time: UnixMs,
    /// `ingestedAt`, where it is readable.
    pub ingested: Option<UnixMs>,
    /// `numberId`, where there is one.
    pub number: Option<String>,
    /// The JSON text of the row, byte for byte. Of a spoiled row: what came, with bytes that are no UTF-8 as `\xNN`.
    pub raw: Box<str>,
}

/// A row that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoiled {
    /// The API's id, where it can be read.
    pub id: Option<String>,
    /// Which row of its page it was, counted from 1.
    pub place: usize,
    /// What is wrong with it, without quoting it.
    pub wrong: String,
}

/// Whether more rows follow a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum More {
    /// Behind this cursor.
    Cursor(Cursor),
    /// None.
    End,
    /// The answer promises more, but does not say where.
    Lost,
}
