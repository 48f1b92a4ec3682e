//! Transactions of the relay's time: what one process leaves to the next about it, and what becomes of stored instants when
//! it is put right.
//!
//! Invariants: an instant in the past stays in its place, or moves with what was put right; none lies ahead of now afterwards
//! but those of waits, which keep the length that they had. Nothing is ended or removed here.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::Error;
use super::role::is_running;
use super::spool::Spool;
use crate::domain::{Seq, UnixMs};
use crate::time::{ClockMemory, Rebase};

/// So many messages in one transaction, so that nobody waits long for the writer.
const AT_ONCE: i64 = 2000;

/// What becomes of the instant `X`: ?1 = now, ?2 = the shift, ?3 and ?4 = what was stored between moves by it.
macro_rules! moved {
    ($instant:literal) => {
        concat!("min(?1, ", $instant, " + CASE WHEN ", $instant, " BETWEEN ?3 AND ?4 THEN ?2 ELSE 0 END)")
    };
}

/// The due time keeps its distance from the attempt that it follows.
const DELIVERIES: &str = concat!(
    "UPDATE delivery SET due = due + ",
    moved!("settled_at"),
    " - settled_at, settled_at = ",
    moved!("settled_at"),
    ", first_attempt = ",
    moved!("first_attempt"),
    " WHERE seq > ?5 AND seq <= ?6 AND (settled_at IS NOT ",
    moved!("settled_at"),
    " OR first_attempt IS NOT ",
    moved!("first_attempt"),
    ")"
);

const MESSAGES: &str = concat!(
    "UPDATE message SET stored_at = ",
    moved!("stored_at"),
    " WHERE seq > ?5 AND seq <= ?6 AND stored_at <> ",
    moved!("stored_at")
);

const PAUSES: &str = concat!(
    "UPDATE sink SET paused_at = ",
    moved!("paused_at"),
    ", busy_until = CASE WHEN busy_until > ?1 THEN max(?1, busy_until + min(?2, 0)) ELSE busy_until END"
);

/// When a walk began to fail moves as any instant does.
const WALKS: &str = concat!("UPDATE walk SET since = ", moved!("since"), " WHERE since IS NOT ", moved!("since"));

/// Whether anything lies ahead of ?1 that can only have been written by a clock that was ahead.
const AHEAD: &str = "SELECT EXISTS (SELECT 1 FROM delivery WHERE settled_at > ?1 OR first_attempt > ?1)
    OR EXISTS (SELECT 1 FROM sink WHERE paused_at > ?1)
    OR EXISTS (SELECT 1 FROM walk WHERE since > ?1)
    OR coalesce((SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1) > ?1, 0)";

impl Spool {
    /// What the last process left about the relay's time; `None`: it left nothing, or nothing that can be read.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn clock_memory(&self) -> Result<Option<ClockMemory>, Error> {
        self.connection
            .prepare_cached("SELECT value FROM meta WHERE key = 'clock'")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, String>(0)).optional())
            .map(|found| found.and_then(|text| serde_json::from_str(&text).ok()))
            .map_err(|error| self.explain(error))
    }

    /// The same for a command, and whether the relay that left it runs now.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`], and [`super::is_running`].
    pub fn clock_beside(&self) -> Result<(Option<ClockMemory>, bool), Error> {
        let runs = self.file.parent().map(is_running).transpose()?.flatten();
        Ok((self.clock_memory()?, runs.unwrap_or(false)))
    }

    /// Leaves this to the next process, and to commands.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn remember_clock(&mut self, memory: &ClockMemory) -> Result<(), Error> {
        let text = serde_json::to_string(memory).unwrap_or_default();
        self.transaction(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?1)")?
                .execute([text])
                .map(drop)
        })
    }

    /// The newest instant of the past that the state holds. A state that no process has left its time in is looked through.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn newest_instant(&self) -> Result<UnixMs, Error> {
        let is_known = self.clock_memory()?.is_some();
        let newest = |query: &str| {
            self.connection.query_row(query, [], |row| row.get::<_, Option<i64>>(0)).optional().map(Option::flatten)
        };
        let read = || {
            let stored = newest("SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1")?;
            let settled = if is_known { None } else { newest("SELECT max(settled_at) FROM delivery")? };
            Ok(stored.max(settled).map_or(UnixMs::MIN, UnixMs))
        };
        read().map_err(|error| self.explain(error))
    }

    /// Whether something lies ahead of `now` that can only have been written by a clock that was ahead.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn is_ahead_of(&self, now: UnixMs) -> Result<bool, Error> {
        self.connection.query_row(AHEAD, [now.0], |row| row.get(0)).map_err(|error| self.explain(error))
    }

    /// Lets what is stored of the next messages after `after` follow the relay's time, which was put right; `now` is that time
    /// now. Begin with `Seq(i64::MIN)`, which takes in the sinks and the open walks. Returns where to go on; `None`: all have
    /// followed.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn follow_rebase(&mut self, rebase: Rebase, now: UnixMs, after: Seq) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| {
            let (shift, from, was) = (rebase.shift(), rebase.from.0, rebase.was.0);
            if after.0 == i64::MIN {
                for change in [PAUSES, WALKS] {
                    transaction.execute(change, params![now.0, shift, from, was])?;
                }
            }
            let Some(last) = last_of_next(transaction, after)? else { return Ok(None) };
            for change in [DELIVERIES, MESSAGES] {
                transaction.prepare_cached(change)?.execute(params![now.0, shift, from, was, after.0, last])?;
            }
            Ok(Some(Seq(last)))
        })
    }
}

/// The last of the next messages after `after`.
fn last_of_next(transaction: &Transaction<'_>, after: Seq) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached("SELECT max(seq) FROM (SELECT seq FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2)")?
        .query_row(params![after.0, AT_ONCE], |row| row.get(0))
}
