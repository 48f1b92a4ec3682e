//! Transactions of people: pause and resume a sink, send dead letters again or give them up.
//!
//! They are small, and made by commands beside a relay that may be running; it sees them when it next looks (within
//! seconds). Invariants: a paused sink loses nothing, and its messages grow no older by `retry.give_up_after` meanwhile;
//! a dead letter that was given up leaves its row behind.

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Serialize, Serializer};

use super::error::Error;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{PauseReason, UnixMs};

/// A sink that is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub reason: PauseReason,
    /// Since when.
    pub since: UnixMs,
}

impl Pause {
    /// Serializes the fields `paused` and `paused_at`; both are null without a pause.
    pub(super) fn serialize_if_any<S: Serializer>(pause: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        let (paused, paused_at) = pause.map(|pause| (pause.reason, pause.since)).unzip();
        PauseFields { paused, paused_at }.serialize(serializer)
    }
}

/// [`Pause`] as `sinks list --json` shows it.
#[derive(Serialize)]
struct PauseFields {
    paused: Option<PauseReason>,
    paused_at: Option<UnixMs>,
}

/// What a person ended who resumed a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// This pause.
    Pause(Pause),
    /// The silence until then that its receiver had asked for.
    Silence(UnixMs),
}

/// How often somebody has resumed a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumes(i64);

/// Which dead letters are meant; both conditions must hold. None: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this sink.
    pub sink: Option<String>,
    /// Of this message.
    pub id: Option<String>,
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterVerdict {
    /// They are sent again, as if for the first time.
    Retry,
    /// They are given up; a trace stays.
    Drop,
}

/// A place in the order of dead letters; the default is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadPlace {
    sink: i64,
    seq: i64,
}

/// So many dead letters are changed in one transaction, so that the relay does not wait long for the writer.
const AT_ONCE: i64 = 1000;

impl Spool {
    /// The id of the sink of this name.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn sink_named(&self, name: &str) -> Result<Option<SinkId>, Error> {
        self.connection
            .prepare_cached("SELECT id FROM sink WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0).map(SinkId)).optional())
            .map_err(|error| self.explain(error))
    }

    /// The names of all sinks that there ever were.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn sink_names(&self) -> Result<Vec<String>, Error> {
        self.connection
            .prepare_cached("SELECT name FROM sink ORDER BY name")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(|error| self.explain(error))
    }

    /// Whether a sink is paused.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn pause_of(&self, sink: SinkId) -> Result<Option<Pause>, Error> {
        pause_of(&self.connection, sink).map_err(|error| self.explain(error))
    }

    /// Pauses a sink; its messages are kept. One that is paused already stays so since then; only the operator's word
    /// replaces another reason, so that a restart does not lift it. Returns how it was paused before.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn pause(&mut self, sink: SinkId, reason: PauseReason, now: UnixMs) -> Result<Option<Pause>, Error> {
        self.transaction(|transaction| pause(transaction, sink, reason, now))
    }

    /// Ends pauses that a new start ends: an output that nobody read is another one now. Returns how each of `sinks` is
    /// paused now.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn lift_closed(&mut self, sinks: &[SinkId], now: UnixMs) -> Result<Vec<Option<Pause>>, Error> {
        self.transaction(|transaction| {
            let lifted = |sink: &SinkId| match pause_of(transaction, *sink)? {
                Some(Pause { reason: PauseReason::Closed, .. }) => resume(transaction, *sink, now).map(|_| None),
                pause => Ok(pause),
            };
            sinks.iter().map(lifted).collect()
        })
    }

    /// Ends the pause of a sink, and the silence that its receiver has asked for. A pause does not count for what has failed
    /// before. All that has failed is due now, also for a relay that is started later. Returns what it ended; `None`: there
    /// was neither, and nothing was changed but the count that tells a running relay to forget what it has learned.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn resume(&mut self, sink: SinkId, now: UnixMs) -> Result<Option<Resumed>, Error> {
        self.transaction(|transaction| {
            let resumed = match resume(transaction, sink, now)? {
                Some(pause) => Some(Resumed::Pause(pause)),
                None => end_silence(transaction, sink, now)?.map(Resumed::Silence),
            };
            if resumed.is_some() {
                transaction
                    .prepare_cached("UPDATE delivery SET due = ?2 WHERE sink = ?1 AND state = 'retry' AND due > ?2")?
                    .execute(params![sink.0, now.0])?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO counter (name, value) VALUES ('resumes.' || ?1, 1)
                     ON CONFLICT (name) DO UPDATE SET value = value + 1",
                )?
                .execute([sink.0])?;
            Ok(resumed)
        })
    }

    /// Whether this differs from what it was, somebody has resumed the sink meanwhile.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn resumes(&self, sink: SinkId) -> Result<Resumes, Error> {
        resumes(&self.connection, sink).map_err(|error| self.explain(error))
    }

    /// Sends dead letters again or gives them up, at most 1000 of those behind `after`; begin with the default. Each is met
    /// once, also if it dies again meanwhile. Returns how many there were, and where to go on; `None`: that was all.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn settle_dead(
        &mut self,
        selection: &Selection,
        verdict: DeadLetterVerdict,
        after: DeadPlace,
        now: UnixMs,
    ) -> Result<(usize, Option<DeadPlace>), Error> {
        self.transaction(|transaction| {
            let found: Vec<(i64, i64)> = transaction
                .prepare_cached(SELECT_DEAD)?
                .query_map(params![selection.sink, selection.id, after.sink, after.seq, AT_ONCE], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut change = transaction.prepare_cached(match verdict {
                DeadLetterVerdict::Retry => SEND_AGAIN,
                DeadLetterVerdict::Drop => {
                    "UPDATE delivery SET state = 'dropped', settled_at = ?3 WHERE seq = ?1 AND sink = ?2"
                }
            })?;
            for (seq, sink) in &found {
                match verdict {
                    DeadLetterVerdict::Retry => change.execute(params![seq, sink])?,
                    DeadLetterVerdict::Drop => change.execute(params![seq, sink, now.0])?,
                };
            }
            Ok((found.len(), found.last().map(|&(seq, sink)| DeadPlace { sink, seq })))
        })
    }
}

/// Makes a delivery that is over one that was never attempted. Live messages go before it, also those of its number; see
/// [`super::numbers`].
pub(super) const SEND_AGAIN: &str =
    "UPDATE delivery SET state = 'fresh', class = 1, attempts = 0, first_attempt = NULL, due = NULL, settled_at = NULL,
                         status = NULL, reason = NULL, answer = NULL, paused_ms = 0, replays = replays + 1,
                         number = CASE WHEN number >= 0 THEN -1 - number ELSE number END
     WHERE seq = ?1 AND sink = ?2";

/// Dead letters of a selection; each of its conditions may be NULL.
const SELECT_DEAD: &str = "SELECT d.seq, d.sink
    FROM sink AS s JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
    WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR d.seq = (SELECT seq FROM message WHERE id = ?2))
      AND (d.sink, d.seq) > (?3, ?4)
    ORDER BY d.sink, d.seq LIMIT ?5";

pub(super) fn pause_of(connection: &rusqlite::Connection, sink: SinkId) -> rusqlite::Result<Option<Pause>> {
    let found = connection
        .prepare_cached("SELECT paused, paused_at FROM sink WHERE id = ?1")?
        .query_row([sink.0], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    let Some((Some(reason), since)) = found else { return Ok(None) };
    Ok(Some(Pause { reason: PauseReason::from_word(&reason), since: UnixMs(since.unwrap_or(0)) }))
}

/// See [`Spool::resumes`].
pub(super) fn resumes(connection: &rusqlite::Connection, sink: SinkId) -> rusqlite::Result<Resumes> {
    connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'resumes.' || ?1")?
        .query_row([sink.0], |row| row.get(0))
        .optional()
        .map(|count| Resumes(count.unwrap_or(0)))
}

/// Returns until when it was to last, if it is not over.
fn end_silence(transaction: &Transaction<'_>, sink: SinkId, now: UnixMs) -> rusqlite::Result<Option<UnixMs>> {
    let until: Option<i64> = transaction
        .prepare_cached("SELECT busy_until FROM sink WHERE id = ?1")?
        .query_row([sink.0], |row| row.get(0))
        .optional()?
        .flatten();
    let Some(until) = until.map(UnixMs).filter(|until| *until > now) else { return Ok(None) };
    forget_standing(transaction, sink)?;
    Ok(Some(until))
}

/// What was learnt of the receiver is forgotten: whoever resumes the sink expects it to work.
fn forget_standing(transaction: &Transaction<'_>, sink: SinkId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE sink SET busy_until = NULL, failures = 0 WHERE id = ?1")?
        .execute([sink.0])
        .map(drop)
}

/// See [`Spool::pause`].
pub(super) fn pause(
    transaction: &Transaction<'_>,
    sink: SinkId,
    reason: PauseReason,
    now: UnixMs,
) -> rusqlite::Result<Option<Pause>> {
    let before = pause_of(transaction, sink)?;
    if before.is_none() || reason == PauseReason::Operator {
        transaction
            .prepare_cached("UPDATE sink SET paused = ?2, paused_at = coalesce(paused_at, ?3) WHERE id = ?1")?
            .execute(params![sink.0, reason.as_str(), now.0])?;
    }
    Ok(before)
}

/// See [`Spool::resume`].
pub(super) fn resume(transaction: &Transaction<'_>, sink: SinkId, now: UnixMs) -> rusqlite::Result<Option<Pause>> {
    let Some(pause) = pause_of(transaction, sink)? else { return Ok(None) };
    transaction
        .prepare_cached(
            "UPDATE delivery
             SET paused_ms = paused_ms + max(0, ?2 - max(?3, coalesce(first_attempt, ?2)))
             WHERE sink = ?1 AND state = 'retry'",
        )?
        .execute(params![sink.0, now.0, pause.since.0])?;
    transaction.prepare_cached("UPDATE sink SET paused = NULL, paused_at = NULL WHERE id = ?1")?.execute([sink.0])?;
    forget_standing(transaction, sink)?;
    Ok(Some(pause))
}
