//! Saving the messages of a state file, even if the file is damaged or of another version.
//!
//! In this folder *page* and *row* are SQLite's words: a page of the database file, and an entry of a table or of an
//! index.
//!
//! SQLite reads a state that is whole and has the present format. From any other state each page is read by itself,
//! without SQLite. So every message that is not damaged itself is found, even if the beginning of the file is gone.
//! Messages that were removed recently may be found again.
//!
//! Invariant: nothing is written, not even into the journal.

mod pages;
mod record;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use rusqlite::{Connection, params};

use self::pages::Pages;
use self::record::SalvagedRow;
use super::file::checksum::Checksum;
use super::file::erasure::text_of;
use super::file::{begin_snapshot, state_files};
use crate::domain::{RowStanding, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::salvage::{SalvageReport, SalvagedDelivery, SalvagedMessage};

/// Calls `each` with every message that can be read from the state in `dir`. Returns `None` if there is no state.
/// Messages whose text is not kept are left out.
///
/// A state that is whole is read in portions, in the order in which messages were stored. The state is closed while
/// `each` works: `each` may take long, and an open state would keep SQLite's journal from being emptied. So each
/// message is saved as it was when its portion was read. A message is left out if it is stored after `save` has begun,
/// or if its text is removed before its portion is read.
///
/// Returns the errors of `each`. Also returns an error if the files cannot be opened, or if SQLite fails after it has
/// read the first portion.
pub fn save(dir: &Path, mut each: impl FnMut(&SalvagedMessage) -> io::Result<()>) -> io::Result<Option<SalvageReport>> {
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

/// A portion has at most this many messages.
const SAVED_AT_ONCE: i64 = 100;

/// A portion ends when the texts in it have reached this size, in bytes.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Checks the whole state and returns the sequence number of its last message; `None` if there is no state.
fn whole(dir: &Path) -> Result<Option<i64>, Error> {
    let counted = state_files::counted(dir)?;
    let Some(snapshot) = begin_snapshot(dir)? else { return Ok(None) };
    snapshot.spool.untouched(|spool| spool.check_whole(counted))?;
    let last = "SELECT coalesce(max(seq), 0) FROM message";
    snapshot.spool.read(|connection| connection.query_row(last, [], |row| row.get(0))).map(Some)
}

/// Saves a state that is whole, up to the message `last`. The inner result is an error if SQLite cannot read the first
/// portion. No message was saved then, so the caller can still read the state page by page.
fn save_whole(
    dir: &Path,
    last: i64,
    each: &mut impl FnMut(&SalvagedMessage) -> io::Result<()>,
) -> io::Result<Result<SalvageReport, Error>> {
    let (mut salvage, mut after) = (SalvageReport::default(), i64::MIN);
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

fn read_portion(dir: &Path, after: i64, last: i64) -> Result<Vec<SalvagedMessage>, Error> {
    let gone = || Error::Io { doing: "look at", path: dir.join("state.db"), source: io::ErrorKind::NotFound.into() };
    let snapshot = begin_snapshot(dir)?.ok_or_else(gone)?;
    snapshot.spool.read(|connection| saved(connection, after, last))
}

/// Reads the next portion of messages: those with the lowest sequence numbers above `after`, up to `last`.
fn saved(connection: &Connection, after: i64, last: i64) -> rusqlite::Result<Vec<SalvagedMessage>> {
    let mut statement = connection.prepare(
        "SELECT seq, id, time, CASE WHEN event IS NULL THEN standing ELSE 'event' END, raw FROM message WHERE seq > ?1 AND seq <= ?2 AND raw IS NOT NULL
         ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query([after, last, SAVED_AT_ONCE])?;
    let (mut portion, mut bytes) = (Vec::new(), 0);
    while bytes < BYTES_AT_ONCE
        && let Some(row) = rows.next()?
    {
        let (seq, raw) = (row.get(0)?, text_of(row.get_ref(4)?.as_str()?));
        bytes += raw.len();
        portion.push(SalvagedMessage {
            seq,
            id: row.get(1)?,
            received: UnixMs(row.get(2)?),
            standing: RowStanding::from_word(row.get_ref(3)?.as_str()?),
            raw: raw.to_owned(),
            intact: Some(true),
            deliveries: deliveries_of(connection, seq)?,
        });
    }
    Ok(portion)
}

fn deliveries_of(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<SalvagedDelivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.name, d.state, d.attempts, d.first_attempt, d.due, d.settled_at, d.status, d.reason, d.answer
         FROM delivery AS d LEFT JOIN sink AS s ON s.id = d.sink WHERE d.seq = ?1 ORDER BY d.sink",
    )?;
    let rows = statement.query_map(params![seq], |row| {
        Ok(SalvagedDelivery {
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

/// Saves a state page by page without SQLite: first reads all deliveries, then calls `each` with the messages.
fn carve(pages: &Pages, each: &mut impl FnMut(&SalvagedMessage) -> io::Result<()>) -> io::Result<SalvageReport> {
    let mut salvage = SalvageReport::default();
    let mut sinks = HashMap::new();
    let mut deliveries: HashMap<i64, BTreeMap<i64, SalvagedDelivery>> = HashMap::new();
    for number in pages.numbers() {
        for row in rows_of(pages, number, &mut salvage.unreadable) {
            if let Some((sink, name)) = as_sink(&row) {
                sinks.insert(sink, name);
            } else if let Some((seq, sink, delivery)) = as_delivery(&row) {
                // Of several copies of a delivery, the newest is kept: the one that was settled last.
                match deliveries.entry(seq).or_default().entry(sink) {
                    Entry::Vacant(place) => drop(place.insert(delivery)),
                    Entry::Occupied(mut known) if delivery.settled_at >= known.get().settled_at => {
                        known.insert(delivery);
                    }
                    Entry::Occupied(_) => {}
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
            // A later page may have an intact copy. If none has, the altered message is saved at the end.
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

fn named(found: Option<BTreeMap<i64, SalvagedDelivery>>, sinks: &HashMap<i64, String>) -> Vec<SalvagedDelivery> {
    let found = found.unwrap_or_default().into_iter();
    found.map(|(sink, delivery)| SalvagedDelivery { sink: sinks.get(&sink).cloned(), ..delivery }).collect()
}

fn rows_of(pages: &Pages, number: u32, unreadable: &mut u64) -> Vec<SalvagedRow> {
    let Some(page) = pages.read(number) else { return Vec::new() };
    let (rows, lost) = record::rows(&page, number == 1, &mut |next| pages.read(next));
    *unreadable += lost;
    rows
}

/// Returns the message, if the row has the columns of a message: seq, id, time, ingested, standing, held_by,
/// release_no, stored_at, raw, number, sum, event. Rows of earlier formats lack the last columns.
fn as_message(row: &SalvagedRow) -> Option<SalvagedMessage> {
    use RowStanding::{BelowWatermark, Event, News, Unreadable};
    let standings = [News, Unreadable, BelowWatermark];
    let standing = standings.into_iter().find(|standing| row.text(4) == Some(standing.as_str()))?;
    let standing = if row.int(11).is_some() { Event } else { standing };
    let (id, time, raw) = (row.text(1)?, row.int(2)?, row.text(8)?);
    Some(SalvagedMessage {
        seq: row.rowid?,
        id: id.to_owned(),
        received: UnixMs(time),
        standing,
        raw: text_of(raw).to_owned(),
        intact: row.int(10).map(|sum| sum == Checksum::of_message(id, time, raw)),
        deliveries: Vec::new(),
    })
}

/// Returns the sequence number of the message, the id of the sink and the delivery, if the row has the columns of a
/// delivery: seq, sink, class, release_no, state, attempts, first_attempt, due, settled_at, status, reason, answer, …
fn as_delivery(row: &SalvagedRow) -> Option<(i64, i64, SalvagedDelivery)> {
    let state = row.text(4).filter(|_| row.rowid.is_none()).and_then(DeliveryState::from_word)?;
    let time = |column| row.int(column).map(UnixMs);
    let delivery = SalvagedDelivery {
        sink: None,
        state,
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

/// Returns the id and the name of a sink, if the row has the columns of a sink: id, name, active, …
fn as_sink(row: &SalvagedRow) -> Option<(i64, String)> {
    let is_sink = row.int(2).is_some_and(|active| active == 0 || active == 1) && row.text(4).is_none();
    Some((row.rowid.filter(|_| is_sink)?, row.text(1)?.to_owned()))
}
