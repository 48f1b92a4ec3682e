//! Saving what a state holds, also one that is damaged, of another version, or both.
//!
//! A state that is whole is read as usual. From any other each page is read by itself, without SQLite: no page is needed
//! to find another, so whatever is not damaged itself is found, even if the beginning of the file is gone. What was
//! removed lately may turn up again.
//!
//! Invariant: nothing is written, not even into the journal.

mod pages;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use rusqlite::params;

use self::pages::Pages;
use self::record::SalvagedRow;
use super::checksum::Sum;
use super::erasure::text_of;
use super::error::Error;
use super::snapshot::Look;
use super::spool::Spool;
use crate::domain::UnixMs;

/// A message that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its number in the store.
    pub seq: i64,
    /// The API's id.
    pub id: String,
    /// When it was received, by the API's word.
    pub received: UnixMs,
    /// `news`; `unreadable` if it came without an id or is no JSON; `below_watermark` if it came too late to be delivered.
    pub standing: String,
    /// The text as the API sent it.
    pub raw: String,
    /// Whether it is what was stored; `None` = it has no checksum.
    pub intact: Option<bool>,
    /// What became of it.
    pub deliveries: Vec<SavedDelivery>,
}

/// What became of a message at one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedDelivery {
    /// The sink's name; `None` if that could not be read.
    pub sink: Option<String>,
    /// `fresh`, `retry`, `delivered`, `dead`, …
    pub state: String,
    /// Attempts that were made.
    pub attempts: i64,
    /// When the first was made.
    pub first_attempt: Option<UnixMs>,
    /// When the next is due.
    pub due: Option<UnixMs>,
    /// When the last one was recorded.
    pub settled_at: Option<UnixMs>,
    /// The last HTTP status.
    pub status: Option<i64>,
    /// Why it is dead.
    pub reason: Option<String>,
    /// The last answer, for people.
    pub answer: Option<String>,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Salvage {
    /// Messages that were saved.
    pub messages: u64,
    /// Those of them that are not what was stored.
    pub altered: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// What is wrong with the state; `None` = it is whole, and everything was saved.
    pub wrong: Option<Error>,
}

/// Hands everything on that can be read of the state in `dir`; `None` if there is none. Messages whose text is gone by
/// their age are left out.
///
/// A state that is whole is read in portions, in the order in which messages were stored, and is not open while `each` does
/// its work: that may take long, and would keep SQLite's journal from being emptied. So each message is as it was when its
/// portion was read. What is stored after the beginning is left out, and so is a text that goes before its turn.
///
/// # Errors
/// Those of `each`, of a file that cannot be opened at all, and of a state that cannot be read any more halfway.
pub fn save(dir: &Path, mut each: impl FnMut(&Saved) -> io::Result<()>) -> io::Result<Option<Salvage>> {
    let wrong = match whole(dir) {
        Ok(None) => return Ok(None),
        Ok(Some(last)) => match save_whole(dir, last, &mut each)? {
            Ok(salvage) => return Ok(Some(salvage)),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let pages = Pages::open(dir)?;
    let mut salvage = carve(&pages, &mut each)?;
    salvage.wrong = Some(wrong);
    Ok(Some(salvage))
}

/// So many messages are read in one go, unless their texts have so many bytes before.
const AT_ONCE: i64 = 100;
const BYTES: usize = 1 << 20;

/// The last message that the state has, if there is nothing wrong with it.
fn whole(dir: &Path) -> Result<Option<i64>, Error> {
    let counted = super::state_files::counted(dir)?;
    let Some(look) = Look::begin(dir)? else { return Ok(None) };
    look.spool.untouched(|spool| spool.check_whole(counted))?;
    let last = "SELECT coalesce(max(seq), 0) FROM message";
    let last = look.spool.connection.query_row(last, [], |row| row.get(0));
    last.map(Some).map_err(|error| look.spool.explain(error))
}

/// Saves a state in which nothing is wrong, up to a message. What is wrong with it after all is the inner result; then
/// nothing was saved yet.
fn save_whole(
    dir: &Path,
    last: i64,
    each: &mut impl FnMut(&Saved) -> io::Result<()>,
) -> io::Result<Result<Salvage, Error>> {
    let (mut salvage, mut after) = (Salvage::default(), i64::MIN);
    loop {
        let portion = match read_portion(dir, after, last) {
            Ok(portion) => portion,
            Err(error) if salvage.messages == 0 => return Ok(Err(error)),
            Err(error) => return Err(io::Error::other(error)),
        };
        let Some(saved) = portion.last() else { return Ok(Ok(salvage)) };
        after = saved.seq;
        for saved in &portion {
            each(saved)?;
            salvage.messages += 1;
        }
    }
}

fn read_portion(dir: &Path, after: i64, last: i64) -> Result<Vec<Saved>, Error> {
    let gone = || Error::Io { doing: "look at", path: dir.join("state.db"), source: io::ErrorKind::NotFound.into() };
    let look = Look::begin(dir)?.ok_or_else(gone)?;
    look.spool.saved(after, last).map_err(|error| look.spool.explain(error))
}

impl Spool {
    /// The next messages after one, up to another.
    fn saved(&self, after: i64, last: i64) -> rusqlite::Result<Vec<Saved>> {
        let mut statement = self.connection.prepare(
            "SELECT seq, id, time, standing, raw FROM message WHERE seq > ?1 AND seq <= ?2 AND raw IS NOT NULL
             ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query([after, last, AT_ONCE])?;
        let (mut portion, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES
            && let Some(row) = rows.next()?
        {
            let (seq, raw) = (row.get(0)?, text_of(row.get_ref(4)?.as_str()?));
            bytes += raw.len();
            portion.push(Saved {
                seq,
                id: row.get(1)?,
                received: UnixMs(row.get(2)?),
                standing: row.get(3)?,
                raw: raw.to_owned(),
                intact: Some(true),
                deliveries: self.deliveries_of(seq)?,
            });
        }
        Ok(portion)
    }

    fn deliveries_of(&self, seq: i64) -> rusqlite::Result<Vec<SavedDelivery>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT s.name, d.state, d.attempts, d.first_attempt, d.due, d.settled_at, d.status, d.reason, d.answer
             FROM delivery AS d LEFT JOIN sink AS s ON s.id = d.sink WHERE d.seq = ?1 ORDER BY d.sink",
        )?;
        let rows = statement.query_map(params![seq], |row| {
            Ok(SavedDelivery {
                sink: row.get(0)?,
                state: row.get(1)?,
                attempts: row.get(2)?,
                first_attempt: row.get::<_, Option<i64>>(3)?.map(UnixMs),
                due: row.get::<_, Option<i64>>(4)?.map(UnixMs),
                settled_at: row.get::<_, Option<i64>>(5)?.map(UnixMs),
                status: row.get(6)?,
                reason: row.get(7)?,
                answer: row.get(8)?,
            })
        })?;
        rows.collect()
    }
}

/// Reads each page by itself: first what became of the messages, then they themselves.
fn carve(pages: &Pages, each: &mut impl FnMut(&Saved) -> io::Result<()>) -> io::Result<Salvage> {
    let mut salvage = Salvage::default();
    let mut sinks = HashMap::new();
    let mut deliveries: HashMap<i64, BTreeMap<i64, SavedDelivery>> = HashMap::new();
    for number in pages.numbers() {
        for row in rows_of(pages, number, &mut salvage.unreadable) {
            if let Some((sink, name)) = as_sink(&row) {
                sinks.insert(sink, name);
            } else if let Some((seq, sink, delivery)) = as_delivery(&row) {
                let known = deliveries.entry(seq).or_default().entry(sink).or_default();
                // Of several copies the one that was written last.
                if delivery.settled_at >= known.settled_at {
                    *known = delivery;
                }
            }
        }
    }
    let mut seen = HashSet::new();
    let mut altered = BTreeMap::new();
    for number in pages.numbers() {
        for row in rows_of(pages, number, &mut 0) {
            let Some(mut saved) = as_message(&row) else { continue };
            if seen.contains(&saved.seq) {
                continue;
            }
            if saved.intact == Some(false) {
                altered.insert(saved.seq, saved);
                continue;
            }
            seen.insert(saved.seq);
            saved.deliveries = named(deliveries.remove(&saved.seq), &sinks);
            salvage.messages += 1;
            each(&saved)?;
        }
    }
    for (seq, mut saved) in altered {
        if !seen.contains(&seq) {
            saved.deliveries = named(deliveries.remove(&seq), &sinks);
            salvage.messages += 1;
            salvage.altered += 1;
            each(&saved)?;
        }
    }
    Ok(salvage)
}

fn named(found: Option<BTreeMap<i64, SavedDelivery>>, sinks: &HashMap<i64, String>) -> Vec<SavedDelivery> {
    let found = found.unwrap_or_default().into_iter();
    found.map(|(sink, delivery)| SavedDelivery { sink: sinks.get(&sink).cloned(), ..delivery }).collect()
}

fn rows_of(pages: &Pages, number: u32, unreadable: &mut u64) -> Vec<SalvagedRow> {
    let Some(page) = pages.read(number) else { return Vec::new() };
    let (rows, lost) = record::rows(&page, number == 1, &mut |next| pages.read(next));
    *unreadable += lost;
    rows
}

/// Columns: seq, id, time, ingested, standing, held_by, release_no, stored_at, raw, number, sum.
fn as_message(row: &SalvagedRow) -> Option<Saved> {
    let standing = row.text(4).filter(|word| ["news", "unreadable", "below_watermark"].contains(word))?;
    let (id, time, raw) = (row.text(1)?, row.int(2)?, row.text(8)?);
    Some(Saved {
        seq: row.rowid?,
        id: id.to_owned(),
        received: UnixMs(time),
        standing: standing.to_owned(),
        raw: text_of(raw).to_owned(),
        intact: row.int(10).map(|sum| sum == Sum::of_message(id, time, raw)),
        deliveries: Vec::new(),
    })
}

/// Columns: seq, sink, class, release_no, state, attempts, first_attempt, due, settled_at, status, reason, answer.
fn as_delivery(row: &SalvagedRow) -> Option<(i64, i64, SavedDelivery)> {
    let states = ["undecided", "fresh", "retry", "delivered", "dead", "dropped"];
    let state = row.text(4).filter(|word| row.rowid.is_none() && states.contains(word))?;
    let time = |column| row.int(column).map(UnixMs);
    let delivery = SavedDelivery {
        sink: None,
        state: state.to_owned(),
        attempts: row.int(5)?,
        first_attempt: time(6),
        due: time(7),
        settled_at: time(8),
        status: row.int(9),
        reason: row.text(10).map(str::to_owned),
        answer: row.text(11).map(str::to_owned),
    };
    Some((row.int(0)?, row.int(1)?, delivery))
}

/// Columns: id, name, active, …
fn as_sink(row: &SalvagedRow) -> Option<(i64, String)> {
    let is_sink = row.int(2).is_some_and(|active| active == 0 || active == 1) && row.text(4).is_none();
    Some((row.rowid.filter(|_| is_sink)?, row.text(1)?.to_owned()))
}
