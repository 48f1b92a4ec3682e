//! Transactions that show the state to operators. They change nothing.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::release::last_release;
use super::values::{instant, limit};
use crate::domain::{Marks, RowStanding, Seq, UnixMs, Unread, Walk, WalkId, WalkKind};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::operator::{DeadLetterSelection, OperatorTransactions as _};
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;
use crate::store::sqlite::file::erasure::text_of;
use crate::store::views::{
    Arrival, DeadLetter, DeadLetterReason, ListedUpTo, SinkView, Trace, TracedDelivery, ViewTransactions,
};

/// The density of the feed (rows per time) is estimated from at most this many stored messages.
const SAMPLE: i64 = 200;

/// The part of the feed that a sweep has not read yet may hold many known messages. They are counted only up to this
/// number.
const MOST_COUNTED: i64 = 100_000;

impl ViewTransactions for SqliteBackend {
    fn sinks(&self) -> Result<Vec<SinkView>, Error> {
        let found: Vec<(SinkId, String, bool)> = self.read(|connection| {
            connection
                .prepare_cached("SELECT id, name, active FROM sink ORDER BY name")?
                .query_map([], |row| Ok((SinkId(row.get(0)?), row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let view = |(id, name, configured)| {
            let Queue { waiting, retrying, dead, oldest, next_retry } =
                self.read(|connection| queue(connection, id))?;
            Ok(SinkView {
                id,
                name,
                configured,
                pause: self.pause_of(id)?,
                waiting,
                retrying,
                dead,
                oldest,
                waiting_ids: self.read(|connection| waiting_ids(connection, id))?,
                next_retry,
            })
        };
        found.into_iter().map(view).collect()
    }

    fn unread(&self, walk: &Walk, marks: &Marks, total: Option<u64>) -> Result<Unread, Error> {
        // A gap reads new rows down to its floor. Then it may go on as a sweep, down to `sweep_floor`. Only the sweep
        // meets rows that are known already.
        let top = if matches!(walk.kind, WalkKind::Gap { .. }) { walk.floor } else { walk.lowest };
        self.read(|connection| {
            let (sample_rows, sample_ms) = connection
                .prepare_cached(
                    "SELECT count(*), coalesce(max(time) - min(time), 0)
                     FROM (SELECT time FROM message WHERE time >= ?1 ORDER BY time LIMIT ?2)",
                )?
                .query_row([walk.lowest.0, SAMPLE], |row| {
                    Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
                })?;
            let known = connection
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM message WHERE time >= ?1 AND time < ?2 LIMIT ?3)")?
                .query_row([walk.deepest_floor().0, top.0, MOST_COUNTED], |row| row.get::<_, i64>(0))?;
            let stored = marks.next_seq.0.unsigned_abs().saturating_sub(1);
            Ok(Unread { sample_rows, sample_ms, known: known.unsigned_abs(), stored, total })
        })
    }

    fn dead_letters(
        &self,
        selection: &DeadLetterSelection,
        after: Option<&ListedUpTo>,
        at_most: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let letter = |row: &SqlRow<'_>| {
            Ok(DeadLetter {
                seq: Seq(row.get(0)?),
                sink: row.get(1)?,
                id: row.get(2)?,
                received: UnixMs(row.get(3)?),
                attempts: row.get(4)?,
                first_attempt: instant(row.get(5)?),
                died: instant(row.get(6)?),
                status: row.get(7)?,
                reason: row.get(8)?,
                answer: row.get(9)?,
                replays: row.get::<_, i64>(10)?.unsigned_abs(),
            })
        };
        let (sink, seq) = after.map_or(("", Seq(i64::MIN)), |place| (place.sink.as_str(), place.seq));
        let range = params![selection.sink, selection.id, sink, seq.0, i64::MIN, limit(at_most)];
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT d.seq, s.name, m.id, m.time, d.attempts, d.first_attempt, d.settled_at, d.status,
                            coalesce(d.reason, ''), coalesce(d.answer, ''), d.replays
                     FROM sink AS s CROSS JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
                          JOIN message AS m ON m.seq = d.seq
                     WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR d.seq = (SELECT seq FROM message WHERE id = ?2))
                       AND s.name >= ?3 AND d.seq > CASE WHEN s.name = ?3 THEN ?4 ELSE ?5 END
                     ORDER BY s.name, d.seq LIMIT ?6",
                )?
                .query_map(range, letter)?
                .collect()
        })
    }

    fn dead_letter_reasons(&self) -> Result<Vec<DeadLetterReason>, Error> {
        let counted = |row: &SqlRow<'_>| {
            let count = row.get::<_, i64>(2)?.unsigned_abs();
            Ok(DeadLetterReason { sink: row.get(0)?, reason: row.get(1)?, count })
        };
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT s.name, coalesce(d.reason, ''), count(*)
                     FROM sink AS s CROSS JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
                     GROUP BY s.name, d.reason ORDER BY s.name, d.reason",
                )?
                .query_map([], counted)?
                .collect()
        })
    }

    fn raw(&self, seq: Seq) -> Result<Option<String>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT raw FROM message WHERE seq = ?1")?
                .query_row([seq.0], |row| Ok(row.get_ref(0)?.as_str_or_null()?.map(|raw| text_of(raw).to_owned())))
        })
    }

    fn arrivals(&self, after: i64, at_most: usize) -> Result<Vec<Arrival>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT release_no, seq, id, time, raw FROM message
                     WHERE release_no > ?1 AND standing = 'news' AND event IS NULL ORDER BY release_no LIMIT ?2",
                )?
                .query_map(params![after, limit(at_most)], arrival)?
                .collect()
        })
    }

    fn arrivals_before(&self, before: i64, at_most: usize) -> Result<Vec<Arrival>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT release_no, seq, id, time, raw FROM message
                     WHERE release_no < ?1 AND standing = 'news' AND event IS NULL ORDER BY release_no DESC LIMIT ?2",
                )?
                .query_map(params![before, limit(at_most)], arrival)?
                .collect()
        })
    }

    fn place_before(&self, since: UnixMs) -> Result<i64, Error> {
        self.read(|connection| {
            let first = connection
                .prepare_cached("SELECT min(release_no) FROM message WHERE time >= ?1")?
                .query_row([since.0], |row| row.get::<_, Option<i64>>(0))?;
            first.map_or_else(|| last_release(connection), |first| Ok(first - 1))
        })
    }

    fn ids_since(&self, since: UnixMs) -> Result<Vec<String>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id FROM message WHERE time >= ?1")?
                .query_map([since.0], |row| row.get(0))?
                .collect()
        })
    }

    fn trace(&self, id: &str) -> Result<Option<Trace>, Error> {
        self.read(|connection| trace(connection, id))
    }
}

fn arrival(row: &SqlRow<'_>) -> rusqlite::Result<Arrival> {
    Ok(Arrival {
        place: row.get(0)?,
        seq: Seq(row.get(1)?),
        id: row.get(2)?,
        received: UnixMs(row.get(3)?),
        raw: row.get_ref(4)?.as_str_or_null()?.map(|raw| text_of(raw).to_owned()),
    })
}

/// Counts and times of the deliveries that wait for a sink, and the number of its dead letters.
struct Queue {
    waiting: u64,
    retrying: u64,
    dead: u64,
    oldest: Option<UnixMs>,
    next_retry: Option<UnixMs>,
}

/// Counts the deliveries that wait for a sink, and its dead letters. Each state that is counted here has an index of
/// its own, so the cost does not grow with the number of finished deliveries.
fn queue(connection: &Connection, sink: SinkId) -> rusqlite::Result<Queue> {
    let count = |state: DeliveryState| {
        connection
            .prepare_cached(&format!("SELECT count(*), min(seq) FROM delivery WHERE sink = ?1 AND state = '{state}'"))?
            .query_row([sink.0], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Option<i64>>(1)?)))
    };
    let (undecided, first) = count(DeliveryState::Undecided)?;
    let (fresh, second) = count(DeliveryState::Fresh)?;
    let (retrying, third) = count(DeliveryState::Retry)?;
    let (dead, _) = count(DeliveryState::Dead)?;
    let oldest = match [first, second, third].into_iter().flatten().min() {
        None => None,
        // If a relay runs, it may have delivered and removed the message after the message was counted.
        Some(seq) => connection
            .prepare_cached("SELECT stored_at FROM message WHERE seq = ?1")?
            .query_row([seq], |row| row.get(0).map(UnixMs))
            .optional()?,
    };
    let next_retry = connection
        .prepare_cached(&format!(
            "SELECT min(due) FROM delivery WHERE sink = ?1 AND state = '{}'",
            DeliveryState::Retry
        ))?
        .query_row([sink.0], |row| Ok(instant(row.get(0)?)))?;
    Ok(Queue { waiting: undecided + fresh + retrying, retrying, dead, oldest, next_retry })
}

/// Reads the ids of some waiting messages: first those that are to be tried again, then those that were never tried,
/// then the undecided ones. Each of these three states has an index with the order in which its deliveries are read
/// here, so nothing is sorted.
fn waiting_ids(connection: &Connection, sink: SinkId) -> rusqlite::Result<Vec<String>> {
    let next = [
        (DeliveryState::Retry, "d.due"),
        (DeliveryState::Fresh, "d.class, d.release_no"),
        (DeliveryState::Undecided, "d.seq"),
    ];
    let mut ids = Vec::new();
    for (state, order) in next {
        let room = SinkView::WAITING_IDS - ids.len();
        let mut found = connection.prepare_cached(&format!(
            "SELECT m.id FROM delivery AS d CROSS JOIN message AS m ON m.seq = d.seq
             WHERE d.sink = ?1 AND d.state = '{state}' ORDER BY {order} LIMIT ?2"
        ))?;
        for id in found.query_map(params![sink.0, limit(room)], |row| row.get(0))? {
            ids.push(id?);
        }
    }
    Ok(ids)
}

fn trace(connection: &Connection, id: &str) -> rusqlite::Result<Option<Trace>> {
    let found = connection
        .prepare_cached(
            "SELECT m.id, time, ingested, stored_at, CASE WHEN event IS NULL THEN standing ELSE 'event' END, held_by,
                    release_no, octet_length(ltrim(raw, ' ')), n.id, seq
             FROM message AS m LEFT JOIN number AS n ON n.key = m.number WHERE m.id = ?1",
        )?
        .query_row([id], |row| {
            let trace = Trace {
                id: row.get(0)?,
                received: UnixMs(row.get(1)?),
                ingested: instant(row.get(2)?),
                first_read: UnixMs(row.get(3)?),
                standing: RowStanding::from_word(row.get_ref(4)?.as_str()?),
                held_by: row.get::<_, Option<i64>>(5)?.map(WalkId),
                release_no: row.get(6)?,
                bytes: row.get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
                number: row.get(8)?,
                deliveries: Vec::new(),
                sinks_without_delivery: Vec::new(),
            };
            Ok((trace, row.get::<_, i64>(9)?))
        })
        .optional()?;
    let Some((mut trace, seq)) = found else { return Ok(None) };
    trace.deliveries = connection
        .prepare_cached(
            "SELECT s.name, s.active, s.paused IS NOT NULL, state, attempts, first_attempt, settled_at, due, status, reason,
                    answer, replays, h.name
             FROM delivery AS d JOIN sink AS s ON s.id = d.sink LEFT JOIN sink AS h ON h.id = d.handed_by
             WHERE d.seq = ?1 ORDER BY s.name",
        )?
        .query_map([seq], fate)?
        .collect::<rusqlite::Result<_>>()?;
    trace.sinks_without_delivery = connection
        .prepare_cached(
            "SELECT name FROM sink WHERE active = 1
             AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = ?1 AND sink = sink.id) ORDER BY name",
        )?
        .query_map([seq], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(trace))
}

fn fate(row: &SqlRow<'_>) -> rusqlite::Result<TracedDelivery> {
    Ok(TracedDelivery {
        sink: row.get(0)?,
        configured: row.get(1)?,
        paused: row.get(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        first_attempt: instant(row.get(5)?),
        settled: instant(row.get(6)?),
        due: instant(row.get(7)?),
        status: row.get(8)?,
        reason: row.get(9)?,
        answer: row.get(10)?,
        replays: row.get(11)?,
        handed_over_by: row.get(12)?,
    })
}
