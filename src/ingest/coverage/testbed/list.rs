//! The list of messages that a feed shows: its order, its pages, and its cursors.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::feed::Answer;
use crate::domain::{Cursor, More, Row, SpoiledRow, UnixMs};

/// How many rows a page has.
const PAGE: usize = 5;

/// The order of the list, newest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sort {
    /// The time of receipt.
    Received,
    /// The time at which the list got the message.
    Ingested,
    /// The time of receipt, plus or minus up to two ticks.
    Noisy,
}

/// The order of two messages with the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tie {
    /// The message with the higher id comes first.
    HigherId,
    /// The message with the lower id comes first.
    LowerId,
    /// The message that was added later comes first.
    LaterStored,
}

/// When a cursor works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CursorKind {
    /// The cursor stands for a place in the order, and always works.
    Place,
    /// The cursor stands for a row. Once the row is gone, the page to which the cursor leads is empty.
    RowElseEmpty,
    /// The cursor stands for a row. Once the row is gone, the cursor is refused.
    RowElseRefused,
    /// The cursor is refused this many ticks after it was given out.
    Expiring(i64),
}

/// A message of the list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number from which the message's id is made.
    pub number: i64,
    /// When the carrier received the message.
    pub time: i64,
    /// When the list got the message.
    pub ingested: i64,
    /// Whether the list no longer shows the message.
    pub gone: bool,
    /// Whether the row has an id.
    pub readable: bool,
    /// The tick before which the row is not valid JSON.
    pub spoiled_until: i64,
}

impl Entry {
    /// Returns the id by which the relay stores the message.
    pub fn id(&self) -> String {
        let kind = if self.readable { "m" } else { UNREADABLE };
        format!("{kind}{}", self.number)
    }
}

const UNREADABLE: &str = "unreadable:";

/// The values by which the list sorts a message: its time (which one, [`Sort`] says), its value for [`Tie`], and its
/// number.
type Key = (i64, i64, i64);

/// The messages, and the way in which the list shows them.
#[derive(Debug)]
pub struct List {
    /// The order of the list.
    pub sort: Sort,
    /// The order of two messages with the same time.
    pub tie: Tie,
    /// When cursors work.
    pub cursors: CursorKind,
    /// Whether rows have an `ingestedAt`.
    pub has_ingested: bool,
    /// The present tick.
    pub now: i64,
    /// All messages, also those that are gone, in the order in which they were added.
    pub entries: Vec<Entry>,
    places: HashMap<i64, usize>,
}

impl List {
    /// An empty list at tick 1000.
    pub fn new(sort: Sort, tie: Tie, cursors: CursorKind, has_ingested: bool) -> Self {
        Self { sort, tie, cursors, has_ingested, now: 1000, entries: Vec::new(), places: HashMap::new() }
    }

    /// Adds a message that the list gets now. Its number must be new.
    pub fn add(&mut self, number: i64, time: i64, readable: bool, spoiled_until: i64) {
        let before = self.places.insert(number, self.entries.len());
        assert!(before.is_none(), "the number {number} is taken");
        self.entries.push(Entry { number, time, ingested: self.now, gone: false, readable, spoiled_until });
    }

    /// Whether a message has this number.
    pub fn has(&self, number: i64) -> bool {
        self.places.contains_key(&number)
    }

    /// The time of the readable message with this id.
    pub fn time_of(&self, id: &str) -> i64 {
        let number = id.trim_start_matches('m').parse().expect("the id of a readable message");
        self.entry(number).time
    }

    /// Makes this many of the newest messages disappear.
    pub fn vanish(&mut self, count: usize) {
        let mut order: Vec<usize> = (0..self.entries.len()).filter(|place| !self.entries[*place].gone).collect();
        order.sort_unstable_by_key(|place| Reverse(self.key(&self.entries[*place])));
        for place in order.into_iter().take(count) {
            self.entries[place].gone = true;
        }
    }

    /// How many pages the list has.
    pub fn pages(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.gone).count().div_ceil(PAGE)
    }

    /// Returns the answer to a cursor that no longer works; `None` if the cursor works.
    pub fn answer_to_dead_cursor(&self, cursor: &Cursor) -> Option<Answer> {
        let (key, made) = read_cursor(cursor);
        let gone = self.entry(key.2).gone;
        match self.cursors {
            CursorKind::RowElseEmpty if gone => Some(Answer::Page(Vec::new(), More::End)),
            CursorKind::RowElseRefused if gone => Some(Answer::Refused),
            CursorKind::Expiring(ticks) if self.now - made > ticks => Some(Answer::Refused),
            _ => None,
        }
    }

    /// Returns the rows of the page to which the cursor `after` leads, or of the first page if there is no cursor. Also
    /// returns the cursor of the next page, if there is one.
    pub fn page(&self, after: Option<&Cursor>) -> (Vec<Row>, Option<Cursor>) {
        let mut keys: Vec<Key> = self.entries.iter().filter(|entry| !entry.gone).map(|entry| self.key(entry)).collect();
        if let Some(after) = after {
            let (after, _) = read_cursor(after);
            keys.retain(|key| *key < after);
        }
        keys.sort_unstable_by_key(|key| Reverse(*key));
        let next = keys.get(PAGE).map(|_| self.write_cursor(keys[PAGE - 1]));
        let mut rows: Vec<Row> = keys.iter().take(PAGE).map(|key| self.row(self.entry(key.2))).collect();
        // The relay dates a spoiled row like the row above it. If only spoiled rows are above it, the relay dates it
        // like the first valid row. This list does the same.
        let first = rows.iter().find(|row| row.spoiled.is_none()).map(|row| row.time);
        let mut above = first.unwrap_or(UnixMs(self.now));
        for row in &mut rows {
            if row.spoiled.is_some() {
                row.time = above;
            }
            above = row.time;
        }
        (rows, next)
    }

    /// Returns the value by which the list has sorted the last row of the page that gave the cursor. In most lists this
    /// is the row's time.
    pub fn place_of(cursor: &Cursor) -> i64 {
        read_cursor(cursor).0.0
    }

    fn entry(&self, number: i64) -> &Entry {
        &self.entries[self.places[&number]]
    }

    fn key(&self, entry: &Entry) -> Key {
        let main = match self.sort {
            Sort::Received => entry.time,
            Sort::Ingested => entry.ingested,
            Sort::Noisy => entry.time + entry.number % 5 - 2,
        };
        let tie = match self.tie {
            Tie::HigherId => entry.number,
            Tie::LowerId => -entry.number,
            Tie::LaterStored => entry.ingested,
        };
        (main, tie, entry.number)
    }

    fn row(&self, entry: &Entry) -> Row {
        let is_spoiled = self.now < entry.spoiled_until;
        let spoiled = || Box::new(SpoiledRow { id: None, place: 1, wrong: String::new() });
        Row {
            id: if is_spoiled { format!("{UNREADABLE}{}", entry.number) } else { entry.id() },
            readable: entry.readable && !is_spoiled,
            spoiled: is_spoiled.then(spoiled),
            time: UnixMs(entry.time),
            ingested: (self.has_ingested && !is_spoiled).then_some(UnixMs(entry.ingested)),
            number: None,
            raw: format!("{{\"id\":\"{}\"}}", entry.id()).into_boxed_str(),
        }
    }

    fn write_cursor(&self, (main, tie, number): Key) -> Cursor {
        Cursor(format!("{main}:{tie}:{number}:{}", self.now))
    }
}

/// Returns the key of the last row of the page that gave this cursor, and the tick at which it gave it.
fn read_cursor(cursor: &Cursor) -> (Key, i64) {
    let mut parts = cursor.0.split(':').map(|part| part.parse().expect("a cursor of this list"));
    let mut part = || parts.next().expect("a whole cursor");
    ((part(), part(), part()), part())
}
