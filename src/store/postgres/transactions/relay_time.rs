//! Transactions of the relay's time.

use super::account::{PUT, read_meta};
use super::portions::last_of_next_messages;
use crate::domain::{Seq, UnixMs};
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, params};
use crate::store::relay_time::RelayTimeTransactions;
use crate::time::{ClockCorrection, ClockMemory};

/// One transaction moves the instants of at most this many messages and of their deliveries, so that other write
/// transactions do not wait long.
const MOVED_AT_ONCE: usize = 2000;

/// The SQL expression for the new value of a stored instant; NULL stays NULL. $1 is the present time. Instants between
/// $3 and $4 are shifted by $2, and no new value is later than the present time.
macro_rules! moved {
    ($instant:literal) => {
        concat!(
            "CASE WHEN ",
            $instant,
            " IS NOT NULL THEN least($1, ",
            $instant,
            " + CASE WHEN ",
            $instant,
            " BETWEEN $3 AND $4 THEN $2 ELSE 0 END) END"
        )
    };
}

/// Moves the instants of deliveries. A due time keeps its distance from the time at which the last attempt was settled.
const DELIVERIES: &str = concat!(
    "UPDATE delivery SET due = due + (",
    moved!("settled_at"),
    ") - settled_at, settled_at = ",
    moved!("settled_at"),
    ", first_attempt = ",
    moved!("first_attempt"),
    " WHERE seq > $5 AND seq <= $6 AND (settled_at IS DISTINCT FROM (",
    moved!("settled_at"),
    ") OR first_attempt IS DISTINCT FROM (",
    moved!("first_attempt"),
    "))"
);

/// Moves the instants of messages.
const MESSAGES: &str = concat!(
    "UPDATE message SET stored_at = ",
    moved!("stored_at"),
    " WHERE seq > $5 AND seq <= $6 AND stored_at <> (",
    moved!("stored_at"),
    ")"
);

/// Moves the instants of sinks. The end of a silence never becomes later, because no wait may become longer.
const SINKS: &str = concat!(
    "UPDATE sink SET paused_at = ",
    moved!("paused_at"),
    ", busy_until = CASE WHEN busy_until > $1 THEN greatest($1, busy_until + least($2, 0)) ELSE busy_until END"
);

/// Moves the instants at which walks began to fail.
const WALKS: &str =
    concat!("UPDATE walk SET since = ", moved!("since"), " WHERE since IS DISTINCT FROM (", moved!("since"), ")");

/// Asks whether something is recorded as having happened later than the present time ($1). Only a clock that was ahead
/// can have written such a time.
const AHEAD: &str = "SELECT EXISTS (SELECT 1 FROM delivery WHERE settled_at > $1 OR first_attempt > $1)
    OR EXISTS (SELECT 1 FROM sink WHERE paused_at > $1)
    OR EXISTS (SELECT 1 FROM walk WHERE since > $1)
    OR coalesce((SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1) > $1, FALSE)";

impl RelayTimeTransactions for PostgresBackend {
    fn clock_memory(&self) -> Result<Option<ClockMemory>, Error> {
        self.read(clock_memory)
    }

    fn clock_beside(&self) -> Result<(Option<ClockMemory>, bool), Error> {
        // This returns `false` even if a relay runs. The relay may run on another machine, and what the memory says
        // about the start of that machine does not hold for this one.
        Ok((self.read(clock_memory)?, false))
    }

    fn remember_clock(&mut self, memory: &ClockMemory) -> Result<(), Error> {
        let text = serde_json::to_string(memory).unwrap_or_default();
        self.transaction(|statements| {
            statements.later(PUT, params!["clock", &text]);
            Ok(())
        })
    }

    fn newest_instant(&self) -> Result<UnixMs, Error> {
        self.read(|statements| {
            let newest = |query: &str| statements.value::<Option<i64>>(query, Vec::new()).map(Option::flatten);
            let is_known = clock_memory(statements)?.is_some();
            let stored: Option<i64> = newest("SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1")?;
            let settled = if is_known { None } else { newest("SELECT max(settled_at) FROM delivery")? };
            Ok(stored.max(settled).map_or(UnixMs::MIN, UnixMs))
        })
    }

    fn is_ahead_of(&self, now: UnixMs) -> Result<bool, Error> {
        self.read(|statements| Ok(statements.value(AHEAD, params![now.0])?.unwrap_or(false)))
    }

    fn apply_correction(&mut self, correction: ClockCorrection, now: UnixMs, after: Seq) -> Result<Option<Seq>, Error> {
        self.transaction(|statements| {
            let (shift, from, was) = (correction.shift(), correction.from.0, correction.was.0);
            if after.0 == i64::MIN {
                for change in [SINKS, WALKS] {
                    statements.later(change, params![now.0, shift, from, was]);
                }
            }
            let Some(last) = last_of_next_messages(statements, after, MOVED_AT_ONCE)? else { return Ok(None) };
            for change in [DELIVERIES, MESSAGES] {
                statements.later(change, params![now.0, shift, from, was, after.0, last]);
            }
            Ok(Some(Seq(last)))
        })
    }
}

fn clock_memory(statements: &Statements<'_>) -> Result<Option<ClockMemory>, Failure> {
    Ok(read_meta(statements, "clock")?.and_then(|text| serde_json::from_str(&text).ok()))
}
