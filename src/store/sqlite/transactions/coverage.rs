//! Transactions of ingest: reading coverage, looking up ids, and storing the rows of one page.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, Transaction, params};

use super::release::{ReleasePlaces, Releaser};
use super::values::{from_json, instant, to_json};
use crate::domain::{
    Coverage, Cursor, DeliveryClass, Insert, Lags, Marks, PollChange, RowStanding, Seq, UnixMs, Walk, WalkId, WalkKind,
    WalkProgress,
};
use crate::store::coverage::CoverageTransactions;
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;
use crate::store::sqlite::file::checksum::{self, Checksum};
use crate::store::sqlite::file::erasure;

impl CoverageTransactions for SqliteBackend {
    fn load_coverage(&self) -> Result<Option<Coverage>, Error> {
        self.read(load_coverage)
    }

    fn known(&self, ids: &[&str]) -> Result<Vec<Option<Seq>>, Error> {
        self.read(|connection| {
            // All queries run in one transaction. Without it, each query would lock and unlock the file.
            let transaction = connection.unchecked_transaction()?;
            let mut statement = transaction.prepare_cached("SELECT seq FROM message WHERE id = ?1")?;
            ids.iter().map(|id| statement.query_row([id], |row| row.get(0).map(Seq)).optional()).collect()
        })
    }

    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let (recipients, erase_unwanted) = (Arc::clone(&self.recipients), self.erases_at_once());
        let on_own_pages = self.erase_on_delivery;
        self.transaction(|transaction| {
            let releasing = Releaser { transaction, recipients: &recipients, erase_unwanted, on_own_pages };
            let places = releasing.places(changes)?;
            changes.iter().try_for_each(|change| apply(releasing, &places, change, now))
        })?;
        // When a gap releases its messages, the texts that no sink wants are removed. These texts are on disk already,
        // so their traces have to be overwritten.
        self.may_hold_traces |=
            erase_unwanted && changes.iter().any(|change| matches!(change, PollChange::ReleaseHeld { .. }));
        Ok(())
    }

    fn release_orphaned_rows(&mut self) -> Result<usize, Error> {
        let (recipients, erase_unwanted) = (Arc::clone(&self.recipients), self.erases_at_once());
        let on_own_pages = self.erase_on_delivery;
        self.transaction(|transaction| {
            let mut stray = transaction.prepare_cached(
                "SELECT seq FROM message WHERE held_by IS NOT NULL
                 AND held_by NOT IN (SELECT id FROM walk WHERE kind = 'gap' AND streaming = 0)",
            )?;
            let rows: Vec<Seq> = stray.query_map([], |row| row.get(0).map(Seq))?.collect::<rusqlite::Result<_>>()?;
            if !rows.is_empty() {
                let releasing = Releaser { transaction, recipients: &recipients, erase_unwanted, on_own_pages };
                releasing.rows(&rows, &ReleasePlaces::default(), DeliveryClass::Backfill)?;
            }
            Ok(rows.len())
        })
    }

    fn count_held(&self, walk: WalkId) -> Result<u64, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT count(*) FROM message WHERE held_by = ?1")?
                .query_row([walk.0], |row| row.get::<_, i64>(0))
                .map(i64::unsigned_abs)
        })
    }
}

fn load_coverage(connection: &Connection) -> rusqlite::Result<Option<Coverage>> {
    let marks = connection
        .prepare_cached(
            "SELECT frontier, watermark, anchor, start_instant, next_seq, next_walk, sum FROM coverage WHERE one = 1",
        )?
        .query_row([], |row| {
            let marks = Marks {
                frontier: UnixMs(row.get(0)?),
                watermark: UnixMs(row.get(1)?),
                anchor: UnixMs(row.get(2)?),
                start_instant: UnixMs(row.get(3)?),
                next_seq: Seq(row.get(4)?),
                next_walk: WalkId(row.get(5)?),
            };
            checksum::verify(row.get(6)?, Checksum::of_marks(&marks), || "coverage".to_owned())?;
            Ok(marks)
        })
        .optional()?;
    let Some(marks) = marks else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT * FROM walk ORDER BY id")?;
    let walks = statement.query_map([], walk)?.collect::<rusqlite::Result<_>>()?;
    let lags = connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'lags'")?
        .query_row([], |row| from_json(row.get_ref(0)?.as_str()?))
        .optional()?;
    Ok(Some(Coverage { marks, walks, lags: lags.map(read_lags).unwrap_or_default() }))
}

fn apply(releasing: Releaser<'_>, places: &ReleasePlaces, change: &PollChange, now: UnixMs) -> rusqlite::Result<()> {
    let transaction = releasing.transaction;
    match change {
        PollChange::Begin { start } => transaction
            .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('start', ?1)")?
            .execute([start])
            .map(drop),
        PollChange::Insert(insert) => store_row(releasing, insert, places.of(insert.seq), now),
        PollChange::Release { rows, class } => releasing.rows(rows, places, *class),
        PollChange::ReleaseHeld { walk, class } => releasing.held_by(*walk, *class),
        PollChange::PutWalk(walk) => put_walk(transaction, walk),
        PollChange::RemoveWalk(walk) => {
            transaction.prepare_cached("DELETE FROM walk WHERE id = ?1")?.execute([walk.0]).map(drop)
        }
        PollChange::Advance(marks) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO coverage (one, frontier, watermark, anchor, start_instant, next_seq, next_walk,
                                                  sum)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                marks.frontier.0,
                marks.watermark.0,
                marks.anchor.0,
                marks.start_instant.0,
                marks.next_seq.0,
                marks.next_walk.0,
                Checksum::of_marks(marks)
            ])
            .map(drop),
        PollChange::PutLags(lags) => transaction
            .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('lags', ?1)")?
            .execute([to_json(&[&[lags.anchor()], lags.seen()].concat())?])
            .map(drop),
        PollChange::Count(anomaly) => transaction
            .prepare_cached(
                "INSERT INTO counter (name, value) VALUES ('anomaly.' || ?1, 1)
                 ON CONFLICT (name) DO UPDATE SET value = value + 1",
            )?
            .execute([anomaly.as_str()])
            .map(drop),
    }
}

/// Stores one row of a page, or an event. `release_no` is its place in the order of release, if that is known already.
/// If texts are erased on delivery, the text is stored on database pages of its own (see `erasure`).
fn store_row(releasing: Releaser<'_>, insert: &Insert, release_no: Option<i64>, now: UnixMs) -> rusqlite::Result<()> {
    let Releaser { transaction, on_own_pages, .. } = releasing;
    let Insert { seq, row, standing, held_by } = insert;
    // The text of a message that was in the feed before the first run is not stored. The text of a message that came
    // too late, and is dated before the watermark, is kept for a replay, unless texts are erased on delivery.
    let raw = match standing {
        RowStanding::News | RowStanding::Unreadable | RowStanding::Event if on_own_pages => {
            Some(Cow::Owned(erasure::pad(&row.id, &row.raw)))
        }
        RowStanding::News | RowStanding::Unreadable | RowStanding::Event => Some(Cow::Borrowed(&*row.raw)),
        RowStanding::BelowWatermark if !on_own_pages => Some(Cow::Borrowed(&*row.raw)),
        RowStanding::Seed | RowStanding::BelowWatermark => None,
    };
    let number = row.number.as_deref().map(|id| number_key(transaction, id)).transpose()?;
    // A state file that was made by an earlier version does not allow the word "event" in the column `standing`. So an
    // event is stored as news, with a mark in the column `event`.
    let (standing, event) = match standing {
        RowStanding::Event => (RowStanding::News, Some(1)),
        standing => (*standing, None),
    };
    transaction
        .prepare_cached(
            "INSERT INTO message (seq, id, time, ingested, standing, held_by, release_no, stored_at, raw, number, sum,
                                  event)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            seq.0,
            row.id,
            row.time.0,
            row.ingested.map(|at| at.0),
            standing.as_str(),
            held_by.filter(|_| release_no.is_none()).map(|walk| walk.0),
            release_no,
            now.0,
            raw,
            number,
            raw.as_deref().map(|raw| Checksum::of_message(&row.id, row.time.0, raw)),
            event
        ])
        .map(drop)
}

/// Returns the key of a number. A number that the state does not know yet gets a new key.
fn number_key(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<i64> {
    let known = transaction
        .prepare_cached("SELECT key FROM number WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if let Some(key) = known {
        return Ok(key);
    }
    transaction.prepare_cached("INSERT INTO number (id) VALUES (?1)")?.insert([id])
}

fn put_walk(transaction: &Transaction<'_>, walk: &Walk) -> rusqlite::Result<()> {
    let (kind, sweep_floor, streaming) = match walk.kind {
        WalkKind::Gap { sweep_floor, streaming } => ("gap", sweep_floor, streaming),
        WalkKind::Sweep => ("sweep", None, false),
        WalkKind::Seed => ("seed", None, false),
    };
    let trail: Vec<&str> = walk.trail.iter().map(|cursor| cursor.0.as_str()).collect();
    let trail = to_json(&trail)?;
    let values: [&dyn ToSql; 15] = [
        &walk.id.0,
        &kind,
        &sweep_floor.map(|at| at.0),
        &streaming,
        &walk.cursor.as_ref().map(|cursor| cursor.0.as_str()),
        &trail,
        &walk.floor.0,
        &walk.opened_seq.0,
        &walk.opened_at.0,
        &walk.lowest.0,
        &walk.progress.failures,
        &walk.progress.empty_answers,
        &walk.progress.restarts,
        &walk.progress.since.map(|at| at.0),
        &Checksum::of_walk(walk),
    ];
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO walk (id, kind, sweep_floor, streaming, cursor, trail, floor, opened_seq, opened_at,
                                          lowest, failures, empty_answers, restarts, since, sum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(values)
        .map(drop)
}

fn walk(row: &SqlRow<'_>) -> rusqlite::Result<Walk> {
    let kind = match row.get_ref("kind")?.as_str()? {
        "gap" => WalkKind::Gap { sweep_floor: instant(row.get("sweep_floor")?), streaming: row.get("streaming")? },
        "sweep" => WalkKind::Sweep,
        // The table's CHECK allows only one other word: "seed".
        _ => WalkKind::Seed,
    };
    let trail: Vec<String> = from_json(row.get_ref("trail")?.as_str()?)?;
    let walk = Walk {
        id: WalkId(row.get("id")?),
        kind,
        cursor: row.get::<_, Option<String>>("cursor")?.map(Cursor),
        trail: trail.into_iter().map(Cursor).collect(),
        floor: UnixMs(row.get("floor")?),
        opened_seq: Seq(row.get("opened_seq")?),
        opened_at: UnixMs(row.get("opened_at")?),
        lowest: UnixMs(row.get("lowest")?),
        progress: WalkProgress {
            failures: row.get("failures")?,
            empty_answers: row.get("empty_answers")?,
            restarts: row.get("restarts")?,
            since: instant(row.get("since")?),
        },
    };
    checksum::verify(row.get("sum")?, Checksum::of_walk(&walk), || format!("walk {}", walk.id.0))?;
    Ok(walk)
}

/// Makes the lags of coverage from the stored list. The first value is the lag at the moment when the anchor was set.
/// The others are the lags of the newest rows.
fn read_lags(mut lags: Vec<i64>) -> Lags {
    let seen = lags.split_off(1.min(lags.len()));
    Lags::new(seen, lags.first().copied().unwrap_or(0))
}
