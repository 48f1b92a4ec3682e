//! Transactions that show the state to operators. They change nothing.

use tokio_postgres::Row as PgRow;

use super::release::last_release;
use super::values::state_of;
use crate::domain::{Marks, RowStanding, Seq, UnixMs, Unread, Walk, WalkId, WalkKind};
use crate::store::error::Error;
use crate::store::operator::{DeadLetterSelection, Pause};
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, count, get, instant, limit, maybe_text, params, small, text};
use crate::store::sink_id::SinkId;
use crate::store::views::{
    Arrival, DeadLetter, DeadLetterReason, ListedUpTo, SinkView, Trace, TracedDelivery, ViewTransactions,
};

/// The density of the feed (rows per time) is estimated from at most this many stored messages.
const SAMPLE: i64 = 200;

/// The part of the feed that a sweep has not read yet may hold many known messages. They are counted only up to this
/// number.
const MOST_COUNTED: i64 = 100_000;

/// Reads every sink with the counts of the deliveries that wait for it, and of its dead letters. Each state of a
/// delivery has an index of its own, so the cost does not grow with the number of finished deliveries.
const SINKS: &str = "
    SELECT id, name, active, paused, paused_at, undecided.count + fresh.count + retry.count, retry.count,
           (SELECT count(*) FROM delivery WHERE sink = id AND state = 'dead'),
           (SELECT stored_at FROM message WHERE seq = least(undecided.first, fresh.first, retry.first)), retry.due
    FROM sink,
         LATERAL (SELECT count(*), min(seq) AS first FROM delivery WHERE sink = id AND state = 'undecided') AS undecided,
         LATERAL (SELECT count(*), min(seq) AS first FROM delivery WHERE sink = id AND state = 'fresh') AS fresh,
         LATERAL (SELECT count(*), min(seq) AS first, min(due) AS due FROM delivery
                  WHERE sink = id AND state = 'retry') AS retry
    ORDER BY name";

/// Reads for each sink the ids of some waiting messages: first those that are to be tried again, then those that were
/// never tried, then the undecided ones. The deliveries of each state are read in the order of an index.
const NEXT_OF_SINKS: &str = "
    SELECT sink.id, message.id
    FROM sink,
         LATERAL ((SELECT seq, 0 AS rank, due AS place FROM delivery WHERE sink = id AND state = 'retry'
                   ORDER BY due LIMIT $1)
                  UNION ALL (SELECT seq, 1 + class, release_no FROM delivery WHERE sink = id AND state = 'fresh'
                   ORDER BY class, release_no LIMIT $1)
                  UNION ALL (SELECT seq, 3, seq FROM delivery WHERE sink = id AND state = 'undecided'
                   ORDER BY seq LIMIT $1)
                  ORDER BY rank, place LIMIT $1) AS next
         JOIN message ON message.seq = next.seq
    ORDER BY sink.id, next.rank, next.place";

impl ViewTransactions for PostgresBackend {
    fn sinks(&self) -> Result<Vec<SinkView>, Error> {
        self.read(|statements| {
            let rows = statements.rows(SINKS, Vec::new())?;
            let mut sinks: Vec<SinkView> = rows.iter().map(sink_view).collect::<Result<_, _>>()?;
            for row in statements.rows(NEXT_OF_SINKS, params![limit(SinkView::WAITING_IDS)])? {
                let (id, waiting) = (SinkId(get(&row, 0)?), text(&row, 1)?);
                sinks.iter_mut().filter(|sink| sink.id == id).for_each(|sink| sink.waiting_ids.push(waiting.clone()));
            }
            Ok(sinks)
        })
    }

    fn unread(&self, walk: &Walk, marks: &Marks, total: Option<u64>) -> Result<Unread, Error> {
        // A gap reads new rows down to its floor. Then it may go on as a sweep, down to `sweep_floor`. Only the sweep
        // meets rows that are known already.
        let top = if matches!(walk.kind, WalkKind::Gap { .. }) { walk.floor } else { walk.lowest };
        self.read(|statements| {
            let row = statements.row(
                "SELECT sample.count, sample.span, known.count
                 FROM (SELECT count(*) AS count, coalesce(max(time) - min(time), 0) AS span
                       FROM (SELECT time FROM message WHERE time >= $1 ORDER BY time LIMIT $2) AS newest) AS sample,
                      (SELECT count(*) AS count
                       FROM (SELECT 1 FROM message WHERE time >= $3 AND time < $4 LIMIT $5) AS met) AS known",
                params![walk.lowest.0, SAMPLE, walk.deepest_floor().0, top.0, MOST_COUNTED],
            )?;
            let row = row.ok_or_else(|| Failure::unreadable("a count"))?;
            let stored = marks.next_seq.0.unsigned_abs().saturating_sub(1);
            let (sample_rows, sample_ms, known) = (count(&row, 0)?, count(&row, 1)?, count(&row, 2)?);
            Ok(Unread { sample_rows, sample_ms, known, stored, total })
        })
    }

    fn dead_letters(
        &self,
        selection: &DeadLetterSelection,
        after: Option<&ListedUpTo>,
        at_most: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let (sink, seq) = after.map_or(("", Seq(i64::MIN)), |place| (place.sink.as_str(), place.seq));
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT d.seq, s.name, m.id, m.time, d.attempts, d.first_attempt, d.settled_at, d.status,
                        coalesce(d.reason, ''), coalesce(d.answer, ''), d.replays
                 FROM sink AS s JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
                      JOIN message AS m ON m.seq = d.seq
                 WHERE ($1::text IS NULL OR s.name = $1)
                   AND ($2::bytea IS NULL OR d.seq = (SELECT seq FROM message WHERE id = $2))
                   AND (s.name > $3 OR s.name = $3 AND d.seq > $4)
                 ORDER BY s.name, d.seq LIMIT $5",
                vec![
                    Param::from(selection.sink.as_deref()),
                    Param::Bytes(selection.id.as_ref().map(|id| id.as_bytes().to_vec())),
                    Param::from(sink),
                    Param::from(seq.0),
                    Param::from(limit(at_most)),
                ],
            )?;
            rows.iter().map(dead_letter).collect()
        })
    }

    fn dead_letter_reasons(&self) -> Result<Vec<DeadLetterReason>, Error> {
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT s.name, coalesce(d.reason, ''), count(*)
                 FROM sink AS s JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
                 GROUP BY s.name, d.reason ORDER BY s.name, d.reason NULLS FIRST",
                Vec::new(),
            )?;
            let reason = |row| Ok(DeadLetterReason { sink: get(row, 0)?, reason: get(row, 1)?, count: count(row, 2)? });
            rows.iter().map(reason).collect()
        })
    }

    fn raw(&self, seq: Seq) -> Result<Option<String>, Error> {
        self.read(|statements| {
            let row = statements.row("SELECT raw FROM message WHERE seq = $1", params![seq.0])?;
            row.map_or(Ok(None), |row| maybe_text(&row, 0))
        })
    }

    fn arrivals(&self, after: i64, at_most: usize) -> Result<Vec<Arrival>, Error> {
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT release_no, seq, id, time, raw FROM message
                 WHERE release_no > $1 AND standing = 'news' ORDER BY release_no LIMIT $2",
                params![after, limit(at_most)],
            )?;
            rows.iter().map(arrival).collect()
        })
    }

    fn arrivals_before(&self, before: i64, at_most: usize) -> Result<Vec<Arrival>, Error> {
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT release_no, seq, id, time, raw FROM message
                 WHERE release_no < $1 AND standing = 'news' ORDER BY release_no DESC LIMIT $2",
                params![before, limit(at_most)],
            )?;
            rows.iter().map(arrival).collect()
        })
    }

    fn place_before(&self, since: UnixMs) -> Result<i64, Error> {
        self.read(|statements| {
            let first = "SELECT min(release_no) FROM message WHERE time >= $1";
            let first = statements.value::<Option<i64>>(first, params![since.0])?.flatten();
            first.map_or_else(|| last_release(statements), |first| Ok(first - 1))
        })
    }

    fn ids_since(&self, since: UnixMs) -> Result<Vec<String>, Error> {
        self.read(|statements| {
            let rows = statements.rows("SELECT id FROM message WHERE time >= $1", params![since.0])?;
            rows.iter().map(|row| text(row, 0)).collect()
        })
    }

    fn trace(&self, id: &str) -> Result<Option<Trace>, Error> {
        self.read(|statements| trace(statements, id))
    }
}

fn sink_view(row: &PgRow) -> Result<SinkView, Failure> {
    let reason: Option<&str> = get(row, 3)?;
    let since = instant(row, 4)?.unwrap_or_default();
    Ok(SinkView {
        id: SinkId(get(row, 0)?),
        name: get(row, 1)?,
        configured: get(row, 2)?,
        pause: reason.map(|reason| Pause { reason: crate::domain::PauseReason::from_word(reason), since }),
        waiting: count(row, 5)?,
        retrying: count(row, 6)?,
        dead: count(row, 7)?,
        oldest: instant(row, 8)?,
        waiting_ids: Vec::new(),
        next_retry: instant(row, 9)?,
    })
}

fn dead_letter(row: &PgRow) -> Result<DeadLetter, Failure> {
    Ok(DeadLetter {
        seq: Seq(get(row, 0)?),
        sink: get(row, 1)?,
        id: text(row, 2)?,
        received: UnixMs(get(row, 3)?),
        attempts: small(row, 4)?,
        first_attempt: instant(row, 5)?,
        died: instant(row, 6)?,
        status: status(row, 7)?,
        reason: get(row, 8)?,
        answer: get(row, 9)?,
        replays: count(row, 10)?,
    })
}

fn arrival(row: &PgRow) -> Result<Arrival, Failure> {
    Ok(Arrival {
        place: get(row, 0)?,
        seq: Seq(get(row, 1)?),
        id: text(row, 2)?,
        received: UnixMs(get(row, 3)?),
        raw: maybe_text(row, 4)?,
    })
}

/// Reads a column with an HTTP status.
fn status(row: &PgRow, column: usize) -> Result<Option<u16>, Failure> {
    let status: Option<i64> = get(row, column)?;
    let status = status.map(u16::try_from).transpose();
    status.map_err(|_| Failure::unreadable("an HTTP status"))
}

fn trace(statements: &Statements<'_>, id: &str) -> Result<Option<Trace>, Failure> {
    let found = statements.row(
        "SELECT m.id, time, ingested, stored_at, standing, held_by, release_no, octet_length(raw)::bigint, n.id, seq
         FROM message AS m LEFT JOIN number AS n ON n.key = m.number WHERE m.id = $1",
        vec![Param::bytes(id)],
    )?;
    let Some(row) = found else { return Ok(None) };
    let seq: i64 = get(&row, 9)?;
    let deliveries = statements.rows(
        "SELECT s.name, s.active, s.paused IS NOT NULL, state, attempts, first_attempt, settled_at, due, status, reason,
                answer, replays, h.name
         FROM delivery AS d JOIN sink AS s ON s.id = d.sink LEFT JOIN sink AS h ON h.id = d.handed_by
         WHERE d.seq = $1 ORDER BY s.name",
        params![seq],
    )?;
    let without = statements.rows(
        "SELECT name FROM sink WHERE active
         AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = $1 AND sink = sink.id) ORDER BY name",
        params![seq],
    )?;
    Ok(Some(Trace {
        id: text(&row, 0)?,
        received: UnixMs(get(&row, 1)?),
        ingested: instant(&row, 2)?,
        first_read: UnixMs(get(&row, 3)?),
        standing: RowStanding::from_word(get(&row, 4)?),
        held_by: get::<Option<i64>>(&row, 5)?.map(WalkId),
        release_no: get(&row, 6)?,
        bytes: get::<Option<i64>>(&row, 7)?.map(i64::unsigned_abs),
        number: maybe_text(&row, 8)?,
        deliveries: deliveries.iter().map(traced_delivery).collect::<Result<_, _>>()?,
        sinks_without_delivery: without.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?,
    }))
}

fn traced_delivery(row: &PgRow) -> Result<TracedDelivery, Failure> {
    Ok(TracedDelivery {
        sink: get(row, 0)?,
        configured: get(row, 1)?,
        paused: get(row, 2)?,
        state: state_of(row, 3)?,
        attempts: small(row, 4)?,
        first_attempt: instant(row, 5)?,
        settled: instant(row, 6)?,
        due: instant(row, 7)?,
        status: status(row, 8)?,
        reason: get(row, 9)?,
        answer: get(row, 10)?,
        replays: small(row, 11)?,
        handed_over_by: get(row, 12)?,
    })
}
