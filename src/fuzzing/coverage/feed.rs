//! The feed of the fuzz target: it does what the input says. It is an honest list with the troubles that coverage must
//! get over, or a liar.

use std::collections::HashMap;

use super::super::bytes::Bytes;
use crate::domain::{Cursor, More, Row, UnixMs, WalkId};

/// Rows on a page.
const PAGE: usize = 5;

/// The order of the list.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sort {
    Received,
    Ingested,
}

/// The fate of cursors.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cursors {
    Place,
    RefusedWithoutTheirRow,
    Expiring,
}

/// Who asks. An empty page is believed after enough repetitions, so the feed never tells one asker the same lie that
/// often.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Head,
    Walk(WalkId),
}

/// A row of the list.
pub(super) struct Entry {
    pub(super) number: i64,
    pub(super) time: i64,
    pub(super) ingested: i64,
    pub(super) gone: bool,
    pub(super) readable: bool,
}

impl Entry {
    pub(super) fn id(&self) -> String {
        let kind = if self.readable { "m" } else { "unreadable:" };
        format!("{kind}{}", self.number)
    }
}

/// The result of a request.
pub(super) enum Answer {
    Page(Vec<Row>, More),
    Refused,
    Failed,
}

pub(super) struct Feed {
    pub(super) entries: Vec<Entry>,
    pub(super) now: i64,
    pub(super) calm: bool,
    /// True for a feed that answers anything. Then the test asks only for the promises that hold for every feed.
    pub(super) lies: bool,
    pub(super) has_ingested: bool,
    sort: Sort,
    later_first: bool,
    cursors: Cursors,
    empty_in_a_row: HashMap<Asker, u8>,
}

type Key = (i64, i64);

impl Feed {
    pub(super) fn new(bytes: &mut Bytes<'_>) -> Self {
        Self {
            entries: Vec::new(),
            now: 1000,
            calm: false,
            lies: bytes.chance(64),
            has_ingested: !bytes.chance(32),
            sort: bytes.pick(&[Sort::Received, Sort::Ingested]),
            later_first: bytes.chance(128),
            cursors: bytes.pick(&[Cursors::Place, Cursors::RefusedWithoutTheirRow, Cursors::Expiring]),
            empty_in_a_row: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, time: i64, readable: bool) {
        let number = i64::try_from(self.entries.len()).unwrap_or(i64::MAX);
        self.entries.push(Entry { number, time, ingested: self.now, gone: false, readable });
    }

    /// Whether a row is dated ahead in a list that is not sorted by that date. Its place is then wrong by more than any
    /// margin.
    pub(super) fn is_out_of_order(&self, entry: &Entry) -> bool {
        self.sort == Sort::Ingested && entry.time > entry.ingested
    }

    /// Whether some rows are dated ahead, but by no more than a clock may be wrong.
    pub(super) fn has_rows_ahead(&self) -> bool {
        self.entries.iter().any(|entry| (1..1000).contains(&(entry.time - entry.ingested)))
    }

    /// Removes the newest rows.
    pub(super) fn vanish(&mut self, count: usize) {
        let mut order: Vec<usize> = (0..self.entries.len()).filter(|place| !self.entries[*place].gone).collect();
        order.sort_unstable_by_key(|place| std::cmp::Reverse(self.key(&self.entries[*place])));
        for place in order.into_iter().take(count) {
            self.entries[place].gone = true;
        }
    }

    /// How many pages the list has.
    pub(super) fn pages(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.gone).count().div_ceil(PAGE)
    }

    fn key(&self, entry: &Entry) -> Key {
        let main = if self.sort == Sort::Received { entry.time } else { entry.ingested };
        (main, if self.later_first { entry.number } else { -entry.number })
    }

    pub(super) fn ask(&mut self, bytes: &mut Bytes<'_>, asker: Asker, cursor: Option<&Cursor>) -> Answer {
        if self.lies && !self.calm {
            return lie(bytes, self.now);
        }
        let fault = if self.calm { 0 } else { bytes.below(32) };
        let after = cursor.map(read_cursor);
        match (fault, after) {
            (1, _) => return Answer::Failed,
            (2, Some(_)) => return Answer::Refused,
            _ => {}
        }
        if let Some((key, made)) = after {
            let gone = self.entries.iter().any(|entry| entry.gone && self.key(entry) == key);
            match self.cursors {
                Cursors::RefusedWithoutTheirRow if gone => return Answer::Refused,
                Cursors::Expiring if self.now - made > 20 => return Answer::Refused,
                _ => {}
            }
        }
        let mut shown: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.gone).collect();
        shown.retain(|entry| after.is_none_or(|(key, _)| self.key(entry) < key));
        shown.sort_unstable_by_key(|entry| std::cmp::Reverse(self.key(entry)));
        let more = match (shown.get(PAGE), fault, cursor) {
            (None, ..) => More::End,
            (Some(_), 3, _) => More::Lost,
            (Some(_), 4, Some(cursor)) => More::Cursor(cursor.clone()),
            _ => {
                let (main, tie) = self.key(shown[PAGE - 1]);
                More::Cursor(Cursor(format!("{main}:{tie}:{}", self.now)))
            }
        };
        let rows: Vec<Row> = shown.iter().take(PAGE).map(|entry| self.row(entry)).collect();
        let empties = self.empty_in_a_row.entry(asker).or_default();
        if matches!(fault, 5 | 6) && *empties < 2 && !rows.is_empty() {
            *empties += 1;
            let more = if fault == 5 { More::End } else { more };
            return Answer::Page(Vec::new(), more);
        }
        if !rows.is_empty() {
            *empties = 0;
        }
        Answer::Page(rows, more)
    }

    fn row(&self, entry: &Entry) -> Row {
        Row {
            id: entry.id(),
            readable: entry.readable,
            spoiled: None,
            time: UnixMs(entry.time),
            ingested: self.has_ingested.then_some(UnixMs(entry.ingested)),
            number: None,
            raw: "{}".into(),
        }
    }
}

fn read_cursor(cursor: &Cursor) -> (Key, i64) {
    let mut parts = cursor.0.split(':').map(|part| part.parse().expect("a cursor of this feed"));
    let mut part = || parts.next().expect("a whole cursor");
    ((part(), part()), part())
}

/// Any page at all.
fn lie(bytes: &mut Bytes<'_>, now: i64) -> Answer {
    let count = match bytes.below(10) {
        0 => return Answer::Refused,
        1 => return Answer::Failed,
        2 => 0,
        _ => bytes.below(8),
    };
    let rows = (0..count).map(|_| {
        let readable = !bytes.chance(16);
        let kind = if readable { "m" } else { "unreadable:" };
        let time = |bytes: &mut Bytes<'_>| match bytes.below(16) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => bytes.number(),
            3 => now + 100_000,
            _ => now - i64::from(bytes.byte()),
        };
        Row {
            id: format!("{kind}{}", bytes.byte()),
            readable,
            spoiled: None,
            time: UnixMs(time(bytes)),
            ingested: bytes.chance(192).then(|| UnixMs(time(bytes))),
            number: None,
            raw: "{}".into(),
        }
    });
    let rows = rows.collect();
    let more = match bytes.below(4) {
        0 => More::End,
        1 => More::Lost,
        _ => More::Cursor(Cursor(bytes.below(20).to_string())),
    };
    Answer::Page(rows, more)
}
