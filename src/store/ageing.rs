//! Transactions of `max_age`: which waiting messages are too old, and that they are dead letters.

use rusqlite::{Row as SqlRow, params};

use super::error::Error;
use super::release::last_release;
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{DeadReason, Seq, UnixMs};

/// What is to be looked at: messages received after `since`, those released after `released`, and all that failed before if
/// `retries`. What an earlier look went over is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Messages received at this time or earlier were looked at.
    pub since: UnixMs,
    /// Messages received at this time or earlier are too old.
    pub cutoff: UnixMs,
    /// Messages released up to this place were looked at.
    pub released: i64,
    /// Whether those that failed before are to be looked at.
    pub retries: bool,
}

impl Sweep {
    /// All that waits.
    pub fn everything() -> Self {
        Self { since: UnixMs::MIN, cutoff: UnixMs::MIN, released: 0, retries: true }
    }
}

/// What waits and is too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// These.
    pub rows: Vec<Seq>,
    /// Whether these are all.
    pub complete: bool,
    /// How far messages had been released.
    pub released: i64,
}

/// A message that was waiting and is a dead letter now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The API's id.
    pub id: String,
    /// How many attempts there were.
    pub attempts: u32,
    /// How the last one ended, or that there was none.
    pub answer: String,
}

/// The answer of a message that was never attempted.
const NEVER_TRIED: &str = "too old before it could be sent";

/// What waits of messages of a certain age, found by their time.
const PASSED: &str = "SELECT d.seq FROM message AS m INDEXED BY message_time CROSS JOIN delivery AS d ON d.seq = m.seq
    WHERE d.sink = ?1 AND m.time > ?2 AND m.time <= ?3 AND d.state IN ('fresh', 'retry') AND d.replays = 0 LIMIT ?4";

/// What has come to wait and was too old already, found by its place in the order of release.
const CAME_LATE: &str =
    "SELECT d.seq FROM delivery AS d INDEXED BY delivery_fresh CROSS JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = ?1 AND d.class IN (0, 1) AND d.state = 'fresh' AND d.release_no > ?2 AND m.time <= ?3
      AND d.replays = 0 LIMIT ?4";

/// What has failed before.
const FAILED: &str =
    "SELECT d.seq FROM delivery AS d INDEXED BY delivery_retry CROSS JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = ?1 AND d.state = 'retry' AND m.time <= ?2 AND d.replays = 0 LIMIT ?3";

impl Spool {
    /// What waits for a sink and is too old, about `at_most` of it. What somebody asked for again has no age.
    ///
    /// # Errors
    /// As for [`Spool::load_coverage`].
    pub fn too_old(&self, sink: SinkId, sweep: &Sweep, at_most: usize) -> Result<TooOld, Error> {
        let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
        let seq = |row: &SqlRow<'_>| row.get(0).map(Seq);
        let read = || {
            // Asked first: what is released meanwhile is looked at next time.
            let released = last_release(&self.connection)?;
            let (since, cutoff) = (sweep.since.0, sweep.cutoff.0);
            let mut rows: Vec<Seq> = Vec::new();
            let mut complete = true;
            let mut take = |found: Vec<Seq>| {
                complete &= found.len() < at_most;
                rows.extend(found);
            };
            if sweep.since > UnixMs::MIN {
                let mut passed = self.connection.prepare_cached(PASSED)?;
                take(passed.query_map(params![sink.0, since, cutoff, limit], seq)?.collect::<rusqlite::Result<_>>()?);
            }
            let mut late = self.connection.prepare_cached(CAME_LATE)?;
            take(
                late.query_map(params![sink.0, sweep.released, cutoff, limit], seq)?
                    .collect::<rusqlite::Result<_>>()?,
            );
            if sweep.retries {
                let mut failed = self.connection.prepare_cached(FAILED)?;
                take(failed.query_map(params![sink.0, cutoff, limit], seq)?.collect::<rusqlite::Result<_>>()?);
            }
            Ok(TooOld { rows, complete, released })
        };
        read().map_err(|error| self.explain(error))
    }

    /// Makes messages that wait for a sink dead letters, because they are too old; those that do not wait any more are left
    /// alone.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn expire(&mut self, sink: SinkId, rows: &[Seq], now: UnixMs) -> Result<Vec<Expired>, Error> {
        self.transaction(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE delivery SET state = 'dead', reason = ?3, due = NULL, settled_at = ?4, answer = coalesce(answer, ?5)
                 WHERE seq = ?1 AND sink = ?2 AND state IN ('fresh', 'retry') AND replays = 0
                 RETURNING (SELECT id FROM message WHERE message.seq = delivery.seq), attempts, answer",
            )?;
            let mut expired = Vec::with_capacity(rows.len());
            for seq in rows {
                let values = params![seq.0, sink.0, DeadReason::Expired.as_str(), now.0, NEVER_TRIED];
                let found = update.query_map(values, |row| {
                    Ok(Expired { id: row.get(0)?, attempts: row.get(1)?, answer: row.get(2)? })
                })?;
                for row in found {
                    expired.push(row?);
                }
            }
            Ok(expired)
        })
    }
}
