//! Transactions of ingest: reading coverage, looking up ids, and storing the rows of one page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row as PgRow;

use super::account::{PUT, read_meta};
use super::release::{Releasing, release_rows};
use super::values::{from_json, to_json};
use crate::domain::{
    Coverage, Cursor, DeliveryClass, Insert, Lags, Marks, PollChange, RowStanding, Seq, UnixMs, Walk, WalkId, WalkKind,
    WalkProgress,
};
use crate::store::coverage::CoverageTransactions;
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, count, get, instant, maybe_text, params, small};
use crate::store::release_order::places_of_first_release;

impl CoverageTransactions for PostgresBackend {
    fn load_coverage(&self) -> Result<Option<Coverage>, Error> {
        self.read(load_coverage)
    }

    fn known(&self, ids: &[&str]) -> Result<Vec<Option<Seq>>, Error> {
        let known: HashMap<Vec<u8>, i64> = self.read(|statements| {
            let wanted = vec![Param::byte_texts(ids.iter().copied())];
            let rows = statements.rows("SELECT id, seq FROM message WHERE id = ANY ($1)", wanted)?;
            rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
        })?;
        Ok(ids.iter().map(|id| known.get(id.as_bytes()).copied().map(Seq)).collect())
    }

    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let (recipients, erase) = (Arc::clone(&self.recipients), self.erases_at_once());
        let keep_late = !self.erase_on_delivery;
        self.transaction(|statements| {
            let releasing = Releasing { statements, recipients: &recipients, erase_unwanted: erase };
            let places = places_of_first_release(changes);
            let mut rest = changes;
            while let Some(change) = rest.first() {
                let inserts: Vec<&Insert> = rest.iter().map_while(insert_of).collect();
                if inserts.is_empty() {
                    apply(releasing, &places, change)?;
                }
                rest = rest.get(inserts.len().max(1)..).unwrap_or_default();
                store_rows(statements, &inserts, &places, keep_late, now);
            }
            Ok(())
        })
    }

    fn release_orphaned_rows(&mut self) -> Result<usize, Error> {
        let (recipients, erase) = (Arc::clone(&self.recipients), self.erases_at_once());
        self.transaction(|statements| {
            let stray = "SELECT seq FROM message WHERE held_by IS NOT NULL
                         AND held_by NOT IN (SELECT id FROM walk WHERE kind = 'gap' AND NOT streaming)";
            let rows = statements.rows(stray, Vec::new())?;
            let rows: Vec<Seq> = rows.iter().map(|row| get(row, 0).map(Seq)).collect::<Result<_, _>>()?;
            if !rows.is_empty() {
                let releasing = Releasing { statements, recipients: &recipients, erase_unwanted: erase };
                release_rows(releasing, &rows, &HashMap::new(), DeliveryClass::Backfill)?;
            }
            Ok(rows.len())
        })
    }

    fn count_held(&self, walk: WalkId) -> Result<u64, Error> {
        self.read(|statements| {
            let row = statements.row("SELECT count(*) FROM message WHERE held_by = $1", params![walk.0])?;
            row.map_or(Ok(0), |row| count(&row, 0))
        })
    }
}

fn insert_of(change: &PollChange) -> Option<&Insert> {
    match change {
        PollChange::Insert(insert) => Some(insert),
        _ => None,
    }
}

fn load_coverage(statements: &Statements<'_>) -> Result<Option<Coverage>, Failure> {
    let marks = "SELECT frontier, watermark, anchor, start_instant, next_seq, next_walk FROM coverage WHERE one = 1";
    let Some(row) = statements.row(marks, Vec::new())? else { return Ok(None) };
    let marks = Marks {
        frontier: UnixMs(get(&row, 0)?),
        watermark: UnixMs(get(&row, 1)?),
        anchor: UnixMs(get(&row, 2)?),
        start_instant: UnixMs(get(&row, 3)?),
        next_seq: Seq(get(&row, 4)?),
        next_walk: WalkId(get(&row, 5)?),
    };
    let walks = statements.rows(
        "SELECT id, kind, sweep_floor, streaming, cursor, trail, floor, opened_seq, opened_at, lowest, failures,
                empty_answers, restarts, since
         FROM walk ORDER BY id",
        Vec::new(),
    )?;
    let walks = walks.iter().map(walk).collect::<Result<_, _>>()?;
    let lags: Option<Vec<i64>> = read_meta(statements, "lags")?.map(|lags| from_json(&lags)).transpose()?;
    Ok(Some(Coverage { marks, walks, lags: lags.map(read_lags).unwrap_or_default() }))
}

fn apply(releasing: Releasing<'_>, places: &HashMap<Seq, i64>, change: &PollChange) -> Result<(), Failure> {
    let statements = releasing.statements;
    match change {
        PollChange::Begin { start } => statements.later(PUT, params!["start", start]),
        // `store_rows` stores all rows together.
        PollChange::Insert(_) => {}
        PollChange::Release { rows, class } => release_rows(releasing, rows, places, *class)?,
        PollChange::ReleaseHeld { walk, class } => releasing.held_by(*walk, *class)?,
        PollChange::PutWalk(walk) => put_walk(statements, walk)?,
        PollChange::RemoveWalk(walk) => statements.later("DELETE FROM walk WHERE id = $1", params![walk.0]),
        PollChange::Advance(marks) => statements.later(
            "INSERT INTO coverage (one, frontier, watermark, anchor, start_instant, next_seq, next_walk)
             VALUES (1, $1, $2, $3, $4, $5, $6)
             ON CONFLICT (one) DO UPDATE SET frontier = excluded.frontier, watermark = excluded.watermark,
                 anchor = excluded.anchor, start_instant = excluded.start_instant, next_seq = excluded.next_seq,
                 next_walk = excluded.next_walk",
            params![
                marks.frontier.0,
                marks.watermark.0,
                marks.anchor.0,
                marks.start_instant.0,
                marks.next_seq.0,
                marks.next_walk.0
            ],
        ),
        PollChange::PutLags(lags) => {
            statements.later(PUT, params!["lags", &to_json(&[&[lags.anchor()], lags.seen()].concat())?]);
        }
        PollChange::Count(anomaly) => statements.later(
            "INSERT INTO counter (name, value) VALUES ('anomaly.' || $1, 1)
             ON CONFLICT (name) DO UPDATE SET value = counter.value + 1",
            params![anomaly.as_str()],
        ),
    }
    Ok(())
}

/// Stores rows of a page. If `places` has the place of a row in the order of release, the place is stored with the row.
/// A phone number that the state does not know yet gets the next key.
fn store_rows(
    statements: &Statements<'_>,
    inserts: &[&Insert],
    places: &HashMap<Seq, i64>,
    keep_late: bool,
    now: UnixMs,
) {
    if inserts.is_empty() {
        return;
    }
    let mut met = HashSet::new();
    let numbers: Vec<&str> =
        inserts.iter().filter_map(|insert| insert.row.number.as_deref()).filter(|id| met.insert(*id)).collect();
    if !numbers.is_empty() {
        statements.later(
            "INSERT INTO number (key, id)
             SELECT (SELECT coalesce(max(key), 0) FROM number) + row_number() OVER (ORDER BY place), id
             FROM unnest($1::bytea[]) WITH ORDINALITY AS met (id, place)
             WHERE NOT EXISTS (SELECT 1 FROM number AS known WHERE known.id = met.id)",
            vec![Param::byte_texts(numbers)],
        );
    }
    // The text of a message that was in the feed before the first run is not stored. The text of a message that came so
    // late that it lies below the watermark is kept for a replay, unless texts are erased on delivery.
    let raw = |insert: &&Insert| match insert.standing {
        RowStanding::News | RowStanding::Unreadable | RowStanding::Event => Some(insert.row.raw.as_bytes().to_vec()),
        RowStanding::BelowWatermark if keep_late => Some(insert.row.raw.as_bytes().to_vec()),
        RowStanding::Seed | RowStanding::BelowWatermark => None,
    };
    let each = |value: fn(&Insert) -> Option<i64>| Param::Numbers(inserts.iter().map(|one| value(one)).collect());
    statements.later(
        "INSERT INTO message (seq, id, time, ingested, standing, held_by, release_no, stored_at, raw, number)
         SELECT i.seq, i.id, i.time, i.ingested, i.standing, CASE WHEN i.place IS NULL THEN i.held_by END,
                (SELECT value FROM counter WHERE name = 'released') + i.place, $10, i.raw, n.key
         FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::bytea[], $9::bytea[])
              AS i (seq, id, time, ingested, standing, held_by, place, raw, number)
              LEFT JOIN number AS n ON n.id = i.number",
        vec![
            each(|insert| Some(insert.seq.0)),
            Param::byte_texts(inserts.iter().map(|insert| insert.row.id.as_str())),
            each(|insert| Some(insert.row.time.0)),
            each(|insert| insert.row.ingested.map(|at| at.0)),
            Param::Words(inserts.iter().map(|insert| Some(insert.standing.as_str().to_owned())).collect()),
            each(|insert| insert.held_by.map(|walk| walk.0)),
            Param::Numbers(inserts.iter().map(|insert| places.get(&insert.seq).copied()).collect()),
            Param::ByteTexts(inserts.iter().map(raw).collect()),
            Param::ByteTexts(
                inserts.iter().map(|insert| insert.row.number.as_ref().map(|id| id.as_bytes().to_vec())).collect(),
            ),
            Param::from(now.0),
        ],
    );
}

fn put_walk(statements: &Statements<'_>, walk: &Walk) -> Result<(), Failure> {
    let (kind, sweep_floor, streaming) = match walk.kind {
        WalkKind::Gap { sweep_floor, streaming } => ("gap", sweep_floor, streaming),
        WalkKind::Sweep => ("sweep", None, false),
        WalkKind::Seed => ("seed", None, false),
    };
    let trail: Vec<&str> = walk.trail.iter().map(|cursor| cursor.0.as_str()).collect();
    statements.later(
        "INSERT INTO walk (id, kind, sweep_floor, streaming, cursor, trail, floor, opened_seq, opened_at, lowest,
                           failures, empty_answers, restarts, since)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, sweep_floor = excluded.sweep_floor,
             streaming = excluded.streaming, cursor = excluded.cursor, trail = excluded.trail, floor = excluded.floor,
             opened_seq = excluded.opened_seq, opened_at = excluded.opened_at, lowest = excluded.lowest,
             failures = excluded.failures, empty_answers = excluded.empty_answers, restarts = excluded.restarts,
             since = excluded.since",
        vec![
            Param::from(walk.id.0),
            Param::from(kind),
            Param::from(sweep_floor.map(|at| at.0)),
            Param::from(streaming),
            Param::Bytes(walk.cursor.as_ref().map(|cursor| cursor.0.as_bytes().to_vec())),
            Param::from(&to_json(&trail)?),
            Param::from(walk.floor.0),
            Param::from(walk.opened_seq.0),
            Param::from(walk.opened_at.0),
            Param::from(walk.lowest.0),
            Param::from(walk.progress.failures),
            Param::from(walk.progress.empty_answers),
            Param::from(walk.progress.restarts),
            Param::from(walk.progress.since.map(|at| at.0)),
        ],
    );
    Ok(())
}

fn walk(row: &PgRow) -> Result<Walk, Failure> {
    let kind = match get(row, 1)? {
        "gap" => WalkKind::Gap { sweep_floor: instant(row, 2)?, streaming: get(row, 3)? },
        "sweep" => WalkKind::Sweep,
        // The table's CHECK allows only one other word: "seed".
        _ => WalkKind::Seed,
    };
    let trail: Vec<String> = from_json(get(row, 5)?)?;
    Ok(Walk {
        id: WalkId(get(row, 0)?),
        kind,
        cursor: maybe_text(row, 4)?.map(Cursor),
        trail: trail.into_iter().map(Cursor).collect(),
        floor: UnixMs(get(row, 6)?),
        opened_seq: Seq(get(row, 7)?),
        opened_at: UnixMs(get(row, 8)?),
        lowest: UnixMs(get(row, 9)?),
        progress: WalkProgress {
            failures: small(row, 10)?,
            empty_answers: small(row, 11)?,
            restarts: small(row, 12)?,
            since: instant(row, 13)?,
        },
    })
}

/// Makes the lags of coverage from the stored list. The list begins with the lag at the time when the anchor was set;
/// after it comes the lag of each of the newest rows.
fn read_lags(mut lags: Vec<i64>) -> Lags {
    let seen = lags.split_off(1.min(lags.len()));
    Lags::new(seen, lags.first().copied().unwrap_or(0))
}
