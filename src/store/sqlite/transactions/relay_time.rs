//! Transactions of the relay's time.

use rusqlite::{OptionalExtension as _, params};

use super::portions::last_of_next_messages;
use crate::domain::{Seq, UnixMs};
use crate::store::error::Error;
use crate::store::relay_time::RelayTimeTransactions;
use crate::store::role::is_locked;
use crate::store::sqlite::connection::SqliteBackend;
use crate::time::{ClockCorrection, ClockMemory};

/// One transaction moves the instants of at most this many messages, and of their deliveries. The number is limited so
/// that other write transactions do not wait long.
const MOVED_AT_ONCE: usize = 2000;

/// The SQL expression for the new value of a stored instant. ?1 is the present time. Instants between ?3 and ?4 are
/// shifted by ?2, and no new value is later than the present time.
macro_rules! moved {
    ($instant:literal) => {
        concat!("min(?1, ", $instant, " + CASE WHEN ", $instant, " BETWEEN ?3 AND ?4 THEN ?2 ELSE 0 END)")
    };
}

/// Moves the instants of deliveries. A due time keeps its distance from the time at which the last attempt was settled.
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

/// Moves the instants of messages.
const MESSAGES: &str = concat!(
    "UPDATE message SET stored_at = ",
    moved!("stored_at"),
    " WHERE seq > ?5 AND seq <= ?6 AND stored_at <> ",
    moved!("stored_at")
);

/// Moves the instants of sinks. The end of a silence never becomes later, because no wait may become longer.
const SINKS: &str = concat!(
    "UPDATE sink SET paused_at = ",
    moved!("paused_at"),
    ", busy_until = CASE WHEN busy_until > ?1 THEN max(?1, busy_until + min(?2, 0)) ELSE busy_until END"
);

/// Moves the instants at which walks began to fail.
const WALKS: &str = concat!("UPDATE walk SET since = ", moved!("since"), " WHERE since IS NOT ", moved!("since"));

/// Asks whether something is recorded as having happened later than the present time (?1). Only a clock that was ahead
/// can have written such a time.
const AHEAD: &str = "SELECT EXISTS (SELECT 1 FROM delivery WHERE settled_at > ?1 OR first_attempt > ?1)
    OR EXISTS (SELECT 1 FROM sink WHERE paused_at > ?1)
    OR EXISTS (SELECT 1 FROM walk WHERE since > ?1)
    OR coalesce((SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1) > ?1, 0)";

impl RelayTimeTransactions for SqliteBackend {
    fn clock_memory(&self) -> Result<Option<ClockMemory>, Error> {
        let text: Option<String> = self.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM meta WHERE key = 'clock'")?
                .query_row([], |row| row.get(0))
                .optional()
        })?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn clock_beside(&self) -> Result<(Option<ClockMemory>, bool), Error> {
        let runs = is_locked(self.dir())?;
        Ok((self.clock_memory()?, runs.unwrap_or(false)))
    }

    fn remember_clock(&mut self, memory: &ClockMemory) -> Result<(), Error> {
        let text = serde_json::to_string(memory).unwrap_or_default();
        self.transaction(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?1)")?
                .execute([text])
                .map(drop)
        })
    }

    fn newest_instant(&self) -> Result<UnixMs, Error> {
        let is_known = self.clock_memory()?.is_some();
        self.read(|connection| {
            let newest = |query: &str| {
                connection.query_row(query, [], |row| row.get::<_, Option<i64>>(0)).optional().map(Option::flatten)
            };
            let stored = newest("SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1")?;
            let settled = if is_known { None } else { newest("SELECT max(settled_at) FROM delivery")? };
            Ok(stored.max(settled).map_or(UnixMs::MIN, UnixMs))
        })
    }

    fn is_ahead_of(&self, now: UnixMs) -> Result<bool, Error> {
        self.read(|connection| connection.query_row(AHEAD, [now.0], |row| row.get(0)))
    }

    fn apply_correction(&mut self, correction: ClockCorrection, now: UnixMs, after: Seq) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| {
            let (shift, from, was) = (correction.shift(), correction.from.0, correction.was.0);
            // The first call also moves the instants of sinks and walks.
            if after.0 == i64::MIN {
                for change in [SINKS, WALKS] {
                    transaction.execute(change, params![now.0, shift, from, was])?;
                }
            }
            let Some(last) = last_of_next_messages(transaction, after, MOVED_AT_ONCE)? else { return Ok(None) };
            for change in [DELIVERIES, MESSAGES] {
                transaction.prepare_cached(change)?.execute(params![now.0, shift, from, was, after.0, last])?;
            }
            Ok(Some(Seq(last)))
        })
    }
}
