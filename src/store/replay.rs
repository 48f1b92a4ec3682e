//! Delivering again what is kept: which messages that means, and that they wait once more.
//!
//! Invariants: only released messages whose text is kept are sent again, and those that came too late to be delivered if they
//! are named; what waits already is left as it waits, so asking twice sends once. What a sink never had is decided by its filter, which the relay knows and this transaction does not:
//! such a delivery is undecided until the relay looks ([`Spool::replays`]).

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Error;
use super::operator::SEND_AGAIN;
use super::release::{last_release, put_last_release};
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::domain::{Seq, UnixMs};

/// Which deliveries are meant; all conditions must hold.
#[derive(Clone, Debug)]
pub struct Choice {
    /// To these sinks.
    pub sinks: Vec<SinkId>,
    /// Also of messages that a sink never had, if its filter wants them.
    pub new: bool,
    /// Of these messages; none: of all.
    pub ids: Vec<String>,
    /// Received then or later.
    pub since: UnixMs,
    /// Received before.
    pub until: UnixMs,
    /// Of messages that this takes; it asks for nothing but what the message says.
    pub filter: Option<Filter>,
    /// Dead letters, and those that were given up, and nothing else; of those that wait, the ones that have failed before.
    pub failed: bool,
}

/// What became of a delivery before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The sink has the message.
    Delivered,
    /// It was a dead letter.
    Dead,
    /// There was none.
    Never,
}

/// One delivery that can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayable {
    /// The message.
    pub seq: Seq,
    /// The sink.
    pub sink: SinkId,
    /// When the message was received.
    pub received: UnixMs,
    /// What became of it.
    pub before: Before,
}

/// What one look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// In the order in which messages were handed on; or in that of the ids that were asked for.
    pub found: Vec<Replayable>,
    /// Deliveries that were chosen and wait already.
    pub waiting: Vec<SinkId>,
    /// Where to go on; `None`: that was all.
    pub next: Option<i64>,
}

/// How often a command has left something for filters to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replays(i64);

/// So many messages are looked at in one go, and changed in one transaction.
const AT_ONCE: i64 = 500;

const KEPT: &str = "SELECT seq, release_no, time, CASE WHEN ?1 THEN raw END FROM message
    WHERE raw IS NOT NULL AND time >= ?2 AND time < ?3";

/// A message that is kept.
struct Kept {
    seq: Seq,
    /// `None`: it came too late to be delivered, and no sink ever had it.
    release_no: Option<i64>,
    received: UnixMs,
    raw: Option<String>,
}

impl Spool {
    /// How many messages were handed on so far: where a replay ends, so that it never meets what it has sent.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn last_released(&self) -> Result<i64, Error> {
        last_release(&self.connection).map_err(|error| self.explain(error))
    }

    /// Which deliveries a choice means, of the next messages after `after` in the order in which they were handed on, up
    /// to `last`. Begin with 0.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn replayable(&self, choice: &Choice, after: i64, last: i64) -> Result<Portion, Error> {
        replayable(&self.connection, choice, after, last).map_err(|error| self.explain(error))
    }

    /// Lets deliveries wait once more, those that are still as they were found. Returns how many there were.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error> {
        if found.is_empty() {
            return Ok(0);
        }
        self.transaction(|transaction| {
            let mut again = transaction.prepare_cached(&format!(
                "{SEND_AGAIN} AND state IN ('delivered', 'dead', 'dropped')
                 AND EXISTS (SELECT 1 FROM message WHERE message.seq = ?1 AND raw IS NOT NULL)"
            ))?;
            let mut new = transaction.prepare_cached(
                "INSERT INTO delivery (seq, sink, class, release_no, state, replays, number)
                 SELECT m.seq, s.id, 1, m.release_no, 'undecided', 1,
                        CASE WHEN s.ordered > 0 THEN -1 - coalesce(m.number, 0) END
                 FROM message AS m JOIN sink AS s
                 WHERE m.seq = ?1 AND s.id = ?2 AND m.raw IS NOT NULL AND m.release_no IS NOT NULL
                 ON CONFLICT DO NOTHING",
            )?;
            // What came too late gets its place in the order of release with its first delivery.
            let mut place = transaction.prepare_cached(
                "UPDATE message SET release_no = ?2
                 WHERE seq = ?1 AND release_no IS NULL AND standing = 'below_watermark' AND raw IS NOT NULL",
            )?;
            let (mut changed, mut left) = (0, 0);
            for Replayable { seq, sink, before, .. } in found {
                match before {
                    Before::Delivered | Before::Dead => changed += again.execute(params![seq.0, sink.0])?,
                    Before::Never => {
                        let next = last_release(transaction)? + 1;
                        if place.execute(params![seq.0, next])? > 0 {
                            put_last_release(transaction, next)?;
                        }
                        left += new.execute(params![seq.0, sink.0])?;
                    }
                }
            }
            if left > 0 {
                transaction
                    .prepare_cached(
                        "INSERT INTO counter (name, value) VALUES ('replays', 1)
                         ON CONFLICT (name) DO UPDATE SET value = value + 1",
                    )?
                    .execute([])?;
            }
            Ok(changed + left)
        })
    }

    /// Whether this differs from what it was, somebody has left something undecided: [`Spool::decide`].
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn replays(&self) -> Result<Replays, Error> {
        self.connection
            .prepare_cached("SELECT value FROM counter WHERE name = 'replays'")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map(|count| Replays(count.unwrap_or(0)))
            .map_err(|error| self.explain(error))
    }
}

fn replayable(connection: &Connection, choice: &Choice, after: i64, last: i64) -> rusqlite::Result<Portion> {
    let kept = match choice.ids.as_slice() {
        [] => kept_between(connection, choice, after, last)?,
        ids => kept_of(connection, choice, ids)?,
    };
    let is_full = choice.ids.is_empty() && i64::try_from(kept.len()).unwrap_or(0) == AT_ONCE;
    let next = kept.last().filter(|_| is_full).and_then(|kept| kept.release_no);
    let mut portion = Portion { next, ..Portion::default() };
    let mut states = connection.prepare_cached("SELECT sink, state FROM delivery WHERE seq = ?1")?;
    for Kept { seq, release_no, received, raw } in kept {
        if let Some(filter) = &choice.filter
            && filter.decide(&Facts::read(raw.as_deref().unwrap_or_default(), Details::Absent)) != FilterVerdict::Wanted
        {
            continue;
        }
        let states: Vec<(i64, String)> =
            states.query_map([seq.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for &sink in &choice.sinks {
            let state = states.iter().find(|(of, _)| *of == sink.0).map(|(_, state)| state.as_str());
            let before = match state {
                // What the sink has, and what waits for its first attempt, has not failed.
                Some("delivered" | "fresh" | "undecided") if choice.failed => continue,
                Some("delivered") => Before::Delivered,
                Some("dead" | "dropped") => Before::Dead,
                Some(_) => {
                    portion.waiting.push(sink);
                    continue;
                }
                None if (choice.new || release_no.is_none()) && !choice.failed => Before::Never,
                None => continue,
            };
            portion.found.push(Replayable { seq, sink, received, before });
        }
    }
    Ok(portion)
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept { seq: Seq(row.get(0)?), release_no: row.get(1)?, received: UnixMs(row.get(2)?), raw: row.get(3)? })
}

fn kept_between(connection: &Connection, choice: &Choice, after: i64, last: i64) -> rusqlite::Result<Vec<Kept>> {
    connection
        .prepare_cached(&format!("{KEPT} AND release_no > ?4 AND release_no <= ?5 ORDER BY release_no LIMIT ?6"))?
        .query_map(params![choice.filter.is_some(), choice.since.0, choice.until.0, after, last, AT_ONCE], kept)?
        .collect()
}

fn kept_of(connection: &Connection, choice: &Choice, ids: &[String]) -> rusqlite::Result<Vec<Kept>> {
    let mut named = connection
        .prepare_cached(&format!("{KEPT} AND id = ?4 AND (release_no IS NOT NULL OR standing = 'below_watermark')"))?;
    let mut of = |id: &String| {
        named.query_row(params![choice.filter.is_some(), choice.since.0, choice.until.0, id], kept).optional()
    };
    ids.iter().filter_map(|id| of(id).transpose()).collect()
}
