//! Transactions of delivery: name the sinks, claim, settle.
//!
//! A claim lives in the memory of the only relay: nothing is written when an attempt begins, so after a crash each
//! delivery is where its last settled attempt left it.

use std::time::Duration;

use rusqlite::{Row as SqlRow, params};

use super::error::Error;
use super::release::{Recipient, Wants, class_number};
use super::spool::Spool;
use super::sum::{self, Sum};
use crate::domain::{Class, Outcome, Seq, UnixMs};

/// Names a sink in the store; a sink keeps it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

/// A sink as the store has to know it.
#[derive(Clone, Debug)]
pub struct SinkSetup {
    /// Its name in the configuration.
    pub name: String,
    /// Which messages it wants.
    pub wants: Wants,
}

impl SinkSetup {
    /// A sink that wants everything.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), wants: Wants::default() }
    }
}

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
    /// When the first of them was made.
    pub first_attempt: UnixMs,
    /// How the last one ended.
    pub outcome: Outcome,
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

/// How many claims, and how many bytes of them, are read at once.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// At most this many.
    pub rows: usize,
    /// No further one once their bodies have this many bytes together.
    pub bytes: usize,
}

/// What a claim is made of; see [`claim`].
const CLAIM: &str = "SELECT d.seq, d.release_no, d.class, m.id, m.raw, d.attempts, d.first_attempt, d.paused_ms,
           m.time, m.sum
    FROM delivery AS d JOIN message AS m ON m.seq = d.seq";

impl Spool {
    /// Names the sinks that the configuration has now. Messages released from now on go to those that want them; the rows
    /// of others stay as they are. Due times after `latest_due` (the clock was set back since) are brought forward to it.
    ///
    /// Returns the ids in the order of `setups`.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn register_sinks(&mut self, setups: &[SinkSetup], latest_due: UnixMs) -> Result<Vec<SinkId>, Error> {
        let ids: Vec<SinkId> = self.transaction(|transaction| {
            transaction.execute("UPDATE sink SET active = 0", [])?;
            let mut put = transaction.prepare_cached(
                "INSERT INTO sink (name, active) VALUES (?1, 1)
                 ON CONFLICT (name) DO UPDATE SET active = 1 RETURNING id",
            )?;
            let ids = setups.iter().map(|setup| put.query_row([&setup.name], |row| row.get(0).map(SinkId))).collect();
            transaction.execute("UPDATE delivery SET due = ?1 WHERE state = 'retry' AND due > ?1", [latest_due.0])?;
            ids
        })?;
        let recipient = |(id, setup): (&SinkId, &SinkSetup)| Recipient { id: *id, wants: setup.wants.clone() };
        self.recipients = ids.iter().zip(setups).map(recipient).collect();
        Ok(ids)
    }

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
            let mut statement = self.connection.prepare_cached(&format!(
                "{CLAIM} WHERE d.sink = ?1 AND d.class = ?2 AND d.state = 'fresh' ORDER BY d.release_no"
            ))?;
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
            let mut statement = self.connection.prepare_cached(&format!(
                "{CLAIM} WHERE d.sink = ?1 AND d.state = 'retry' AND d.due <= ?2 ORDER BY d.due, d.release_no"
            ))?;
            take(statement.query(params![sink.0, now.0])?, chunk, |seq| !skip(seq))
        };
        read().map_err(|error| self.explain(error))
    }

    /// When the next failed delivery falls due that is not due at `now`.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error> {
        let read = || {
            self.connection
                .prepare_cached("SELECT min(due) FROM delivery WHERE sink = ?1 AND state = 'retry' AND due > ?2")?
                .query_row([sink.0, now.0], |row| row.get::<_, Option<i64>>(0))
        };
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

    /// Writes down how attempts went, all in one transaction.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error> {
        if settlements.is_empty() {
            return Ok(());
        }
        self.transaction(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE delivery SET state = ?3, attempts = ?4, first_attempt = ?5, due = ?6, status = ?7, reason = ?8,
                                     answer = ?9, settled_at = ?10
                 WHERE seq = ?1 AND sink = ?2",
            )?;
            for Settlement { sink, seq, attempts, first_attempt, outcome } in settlements {
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
            Ok(())
        })
    }

    /// Sinks that the configuration does not have any more, and how many messages wait for each.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn stranded(&self) -> Result<Vec<(String, u64)>, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT name, (SELECT count(*) FROM delivery WHERE sink = id AND state = 'fresh')
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
                .prepare_cached(&format!("SELECT count(*) FROM delivery WHERE sink = ?1 AND state = '{state}'"))?
                .query_row([sink.0], |row| row.get::<_, i64>(0))
                .map(i64::unsigned_abs)
        };
        let read = || Ok(Waiting { fresh: count("fresh")?, retry: count("retry")?, dead: count("dead")? });
        read().map_err(|error| self.explain(error))
    }
}

fn take(mut rows: rusqlite::Rows<'_>, chunk: Chunk, wanted: impl Fn(Seq) -> bool) -> rusqlite::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let mut bytes = 0;
    while claims.len() < chunk.rows && bytes < chunk.bytes {
        let Some(row) = rows.next()? else { break };
        if wanted(Seq(row.get(0)?)) {
            let claim = claim(row)?;
            bytes += claim.raw.len();
            claims.push(claim);
        }
    }
    Ok(claims)
}

fn claim(row: &SqlRow<'_>) -> rusqlite::Result<Claim> {
    let (id, raw) = (row.get::<_, String>(3)?, row.get::<_, String>(4)?);
    sum::verify(row.get(9)?, Sum::of_message(&id, row.get(8)?, &raw), || format!("message {id:?}"))?;
    Ok(Claim {
        seq: Seq(row.get(0)?),
        release_no: row.get(1)?,
        class: if row.get::<_, i64>(2)? == 0 { Class::Live } else { Class::Backfill },
        id,
        raw: raw.into_boxed_str(),
        attempts: row.get(5)?,
        first_attempt: row.get::<_, Option<i64>>(6)?.map(UnixMs),
        paused: Duration::from_millis(row.get::<_, i64>(7)?.unsigned_abs()),
    })
}
