//! Transactions of delivery: claim, settle.
//!
//! A claim lives in the memory of the only relay: nothing is written when an attempt begins, so after a crash each
//! delivery is where its last settled attempt left it.

use std::time::Duration;

use rusqlite::{Row as SqlRow, Transaction, params};

use super::checksum::{self, Sum};
use super::erasure::text_of;
use super::error::Error;
use super::release::class_number;
use super::retention::let_go;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{Class, Outcome, Seq, UnixMs};

/// One message that waits for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The message's number in the store.
    pub seq: Seq,
    /// Its place in the order of release: smaller numbers were handed on first.
    pub release_no: i64,
    /// Its queue.
    pub class: Class,
    /// The API's id.
    pub id: String,
    /// The JSON text of the message, byte for byte.
    pub raw: Box<str>,
    /// How many attempts were made before.
    pub attempts: u32,
    /// When the first of them was made.
    pub first_attempt: Option<UnixMs>,
    /// How long the sink was paused since then.
    pub paused: Duration,
    /// When the message was received, by the API's clock.
    pub received: UnixMs,
    /// How often somebody asked for it again.
    pub replays: u32,
    /// The queue of its number, where the sink keeps the order of each; see `numbers`.
    pub number: Option<i64>,
    /// The store's key of its receiving number; `None` if the message names none.
    pub number_key: Option<i64>,
    /// What the API says of its number, as JSON, where that was asked for and is known.
    pub details: Option<Box<str>>,
}

/// How one claimed delivery went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The sink.
    pub sink: SinkId,
    /// The message.
    pub seq: Seq,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// When the first of them was made; what the store knows of that already stays.
    pub first_attempt: UnixMs,
    /// How the last one ended.
    pub outcome: Outcome,
    /// The health of the sink since then, if it has changed.
    pub health: Option<HealthRecord>,
}

/// How a sink stands with its receiver, for the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthRecord {
    /// The receiver wants silence until then.
    pub busy_until: Option<UnixMs>,
    /// Attempts that failed since the last that did not.
    pub failures: u32,
}

/// What waits for one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Not attempted yet.
    pub fresh: u64,
    /// Failed, to be tried again.
    pub retry: u64,
    /// Dead letters.
    pub dead: u64,
}

/// How many claims, how many bytes of them, and how much of each is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// At most this many.
    pub rows: usize,
    /// No further one once their bodies have this many bytes together.
    pub bytes: usize,
    /// With what is known of their numbers.
    pub details: bool,
}

/// How claims are read, with details of numbers or without, but for which; see [`claim`].
pub(super) fn claims(details: bool) -> String {
    let (details, number) = match details {
        true => ("n.details", " LEFT JOIN number AS n ON n.key = m.number"),
        false => ("NULL", ""),
    };
    format!(
        "SELECT d.seq, d.release_no, d.class, m.id, m.raw, d.attempts, d.first_attempt, d.paused_ms,
            m.time, m.sum, d.replays, d.number, {details}, m.number
        FROM delivery AS d JOIN message AS m ON m.seq = d.seq{number}"
    )
}

// These run all the time. Without the `+`, SQLite plans them anew whenever another value is bound: it compares parameters
// with the `WHERE` of partial indices, and so takes the plan to depend on them.
const FRESH: &str = "WHERE d.sink = +?1 AND d.class = +?2 AND d.state = 'fresh' ORDER BY d.release_no";
const RETRIES: &str = "WHERE d.sink = +?1 AND d.state = 'retry' AND d.due <= +?2 ORDER BY d.due, d.release_no";
const NEXT_DUE: &str = "SELECT min(due) FROM delivery WHERE sink = +?1 AND state = 'retry' AND due > +?2";

impl Spool {
    /// Deliveries of one queue that were never attempted, in the order of release; `skip` tells which are under way
    /// already. It always looks from the start, so that a row can never be passed over; what is skipped are the few that
    /// are in flight.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn claim_fresh(
        &self,
        sink: SinkId,
        class: Class,
        chunk: Chunk,
        skip: impl Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached(&format!("{} {FRESH}", claims(chunk.details)))?;
            take(statement.query(params![sink.0, class_number(class)])?, chunk, |seq| !skip(seq))
        };
        read().map_err(|error| self.explain(error))
    }

    /// Failed deliveries that are due, longest overdue first; `skip` tells which are under way already.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn claim_retries(
        &self,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        skip: impl Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        let read = || {
            let claims = claims(chunk.details);
            let mut statement = self.connection.prepare_cached(&format!("{claims} {RETRIES}"))?;
            take(statement.query(params![sink.0, now.0])?, chunk, |seq| !skip(seq))
        };
        read().map_err(|error| self.explain(error))
    }

    /// When the next failed delivery falls due that is not due at `now`.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error> {
        let read =
            || self.connection.prepare_cached(NEXT_DUE)?.query_row([sink.0, now.0], |row| row.get::<_, Option<i64>>(0));
        read().map(|due| due.map(UnixMs)).map_err(|error| self.explain(error))
    }

    /// Makes failed deliveries of a sink due at `now`, the next ones first, if they were first attempted at `since` or
    /// later: what failed because of an outage that is over. At most `at_most` of them, so that nobody waits long for the
    /// writer. Returns how many there were; fewer than `at_most` = all are due.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn bring_forward(&mut self, sink: SinkId, since: UnixMs, now: UnixMs, at_most: usize) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE delivery SET due = ?3 WHERE sink = ?1 AND seq IN (
                         SELECT seq FROM delivery
                         WHERE sink = ?1 AND state = 'retry' AND first_attempt >= ?2 AND due > ?3
                         ORDER BY due LIMIT ?4)",
                )?
                .execute(params![sink.0, since.0, now.0, i64::try_from(at_most).unwrap_or(i64::MAX)])
        })
    }

    /// Writes down how attempts went, and how their sinks stand since, all in one transaction. Where texts go at once they go
    /// in it with the last sink.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error> {
        if settlements.is_empty() {
            return Ok(());
        }
        let at_once = self.at_once;
        let went = self.transaction(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE delivery SET state = ?3, attempts = ?4, first_attempt = coalesce(first_attempt, ?5), due = ?6, status = ?7, reason = ?8,
                                     answer = ?9, settled_at = ?10
                 WHERE seq = ?1 AND sink = ?2",
            )?;
            let mut stand =
                transaction.prepare_cached("UPDATE sink SET busy_until = ?2, failures = ?3 WHERE id = ?1")?;
            for Settlement { sink, seq, attempts, first_attempt, outcome, health } in settlements {
                if let Some(HealthRecord { busy_until, failures }) = health {
                    stand.execute(params![sink.0, busy_until.map(|until| until.0), failures])?;
                }
                let (state, due, status, reason, answer) = match outcome {
                    Outcome::Delivered { status } => ("delivered", None, status, None, None),
                    Outcome::Retry { due, status, answer } => ("retry", Some(due.0), status, None, Some(answer)),
                    Outcome::Dead { reason, status, answer } => {
                        ("dead", None, status, Some(reason.as_str()), Some(answer))
                    }
                };
                update.execute(params![
                    seq.0,
                    sink.0,
                    state,
                    attempts,
                    first_attempt.0,
                    due,
                    status,
                    reason,
                    answer,
                    now.0
                ])?;
            }
            let mut delivered = settlements.iter().filter(|one| matches!(one.outcome, Outcome::Delivered { .. }));
            match at_once {
                true => delivered.try_fold(false, |went, one| Ok(let_go(transaction, one.seq)? || went)),
                false => Ok(false),
            }
        })?;
        self.has_traces |= went;
        Ok(())
    }

    /// Sinks that the configuration does not have any more, and how many messages wait for each.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn stranded(&self) -> Result<Vec<(String, u64)>, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT name, (SELECT count(*) FROM delivery WHERE sink = id AND state = 'undecided')
                            + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'fresh')
                            + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'retry') AS waiting
                 FROM sink WHERE active = 0 AND waiting > 0 ORDER BY name",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.explain(error))
    }

    /// Counts what waits for a sink, and its dead letters.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn waiting(&self, sink: SinkId) -> Result<Waiting, Error> {
        let count = |state: &str| {
            self.connection
                .prepare_cached(&format!("SELECT count(*) FROM delivery WHERE sink = +?1 AND state = '{state}'"))?
                .query_row([sink.0], |row| row.get::<_, i64>(0))
                .map(i64::unsigned_abs)
        };
        let read = || Ok(Waiting { fresh: count("fresh")?, retry: count("retry")?, dead: count("dead")? });
        read().map_err(|error| self.explain(error))
    }
}

/// The last of the next `at_most` messages after `after` that a sink has a row for; `None`: there are no more.
pub(super) fn last_of_next(
    transaction: &Transaction<'_>,
    sink: SinkId,
    after: Seq,
    at_most: usize,
) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached(
            "SELECT max(seq) FROM (SELECT seq FROM delivery WHERE seq > ?2 AND sink = ?1 ORDER BY seq LIMIT ?3)",
        )?
        .query_row(params![sink.0, after.0, i64::try_from(at_most).unwrap_or(i64::MAX)], |row| row.get(0))
}

fn take(mut rows: rusqlite::Rows<'_>, chunk: Chunk, wanted: impl Fn(Seq) -> bool) -> rusqlite::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let mut bytes = 0;
    while claims.len() < chunk.rows && bytes < chunk.bytes {
        let Some(row) = rows.next()? else { break };
        if wanted(Seq(row.get(0)?)) {
            let claim = claim(row)?;
            bytes += claim.size();
            claims.push(claim);
        }
    }
    Ok(claims)
}

impl Claim {
    /// How many bytes of text it is.
    pub(super) fn size(&self) -> usize {
        self.raw.len() + self.details.as_ref().map_or(0, |details| details.len())
    }
}

pub(super) fn claim(row: &SqlRow<'_>) -> rusqlite::Result<Claim> {
    let (id, raw) = (row.get::<_, String>(3)?, row.get_ref(4)?.as_str()?);
    checksum::verify(row.get(9)?, Sum::of_message(&id, row.get(8)?, raw), || format!("message {id:?}"))?;
    Ok(Claim {
        seq: Seq(row.get(0)?),
        release_no: row.get(1)?,
        class: if row.get::<_, i64>(2)? == 0 { Class::Live } else { Class::Backfill },
        id,
        raw: text_of(raw).into(),
        attempts: row.get(5)?,
        first_attempt: row.get::<_, Option<i64>>(6)?.map(UnixMs),
        paused: Duration::from_millis(row.get::<_, i64>(7)?.unsigned_abs()),
        received: UnixMs(row.get(8)?),
        replays: row.get(10)?,
        number: row.get(11)?,
        number_key: row.get(13)?,
        details: row.get::<_, Option<String>>(12)?.map(String::into_boxed_str),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn what_runs_all_the_time_is_planned_once_and_answered_from_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let (fresh, retries) =
            ("USING INDEX delivery_fresh (sink=? AND class=?)", "USING INDEX delivery_retry (sink=? AND due<?)");
        let (message, number) =
            ("SEARCH m USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH n USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN");
        let due = "USING COVERING INDEX delivery_retry (sink=? AND due>?)";
        let queries: [(String, &[&str]); 5] = [
            (format!("{} {FRESH}", claims(false)), &[fresh, message]),
            (format!("{} {FRESH}", claims(true)), &[fresh, message, number]),
            (format!("{} {RETRIES}", claims(false)), &[retries, message]),
            (format!("{} {RETRIES}", claims(true)), &[retries, message, number]),
            (NEXT_DUE.to_owned(), &[due]),
        ];
        for (query, steps) in queries {
            let mut statement = spool.connection.prepare(&query).unwrap();
            for parameter in 1..4 {
                statement.exists(params![parameter, parameter]).unwrap();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{query}");
            let plan = format!("EXPLAIN QUERY PLAN {query}");
            let mut plan = spool.connection.prepare(&plan).unwrap();
            let plan = plan.query_map(params![1, 1], |row| row.get(3)).unwrap();
            let plan: Vec<String> = plan.collect::<rusqlite::Result<_>>().unwrap();
            let searched: Vec<&String> = plan.iter().filter(|step| step.starts_with("SEARCH")).collect();
            assert_eq!(searched.len(), steps.len(), "{plan:?}");
            for (step, expected) in searched.into_iter().zip(steps) {
                assert!(step.contains(expected), "{plan:?}");
            }
        }
    }
}
