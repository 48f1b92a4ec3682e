//! Transactions that let things go: messages that every sink has, dead letters of long ago, and ids that cannot be news
//! any more.
//!
//! Invariants: nothing goes that waits for anything; an id goes only below the watermark and after its message, and the
//! newest ids by time stay whatever their age. Each call is one short transaction and says where the next goes on, so that
//! delivery gets its turn in between.

use rusqlite::{Transaction, params};

use super::error::Error;
use super::spool::Spool;
use crate::domain::{Seq, UnixMs};

/// So many messages are looked at in one transaction.
const AT_ONCE: i64 = 500;

/// What was settled before these instants goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Messages that every sink has; `None` = none go.
    pub delivered: Option<UnixMs>,
    /// Dead letters, and rows that could not be read; `None` = none go.
    pub dead: Option<UnixMs>,
}

/// What one look has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Messages whose text is gone.
    pub messages: usize,
    /// Dead letters that are gone.
    pub dead: usize,
    /// The last message that was looked at; `None` = there is nothing further that could go.
    pub next: Option<Seq>,
}

/// What one look has forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ids.
    pub ids: usize,
    /// Where to go on; `None` = there is nothing further that could go.
    pub next: Option<Place>,
}

/// A place in the order of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    time: UnixMs,
    seq: Seq,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { time: UnixMs::MIN, seq: Seq(i64::MIN) };
}

/// Texts that nobody needs: every sink's row is over, or there never was one. `seq = seq` makes SQLite take the row out
/// and put it in again; a row that only becomes shorter would leave its page nearly empty for as long as its id is kept.
const DROP_TEXTS: &str = "UPDATE message SET seq = seq, raw = NULL, sum = NULL
    WHERE seq > ?1 AND seq <= ?2 AND raw IS NOT NULL AND CASE
        WHEN standing = 'unreadable' THEN stored_at < ?4
        WHEN standing = 'below_watermark' AND release_no IS NULL THEN stored_at < ?3
        WHEN release_no IS NULL THEN 0
        ELSE NOT EXISTS (
                 SELECT 1 FROM delivery AS d WHERE d.seq = message.seq
                 AND NOT (d.state IN ('delivered', 'dropped') AND d.settled_at < ?3)
                 AND NOT (d.state = 'dead' AND d.settled_at < ?4))
             AND (stored_at < ?3 OR EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = message.seq))
    END";

/// The same for one message, as soon as no sink needs it.
const LET_GO: &str = "UPDATE message SET seq = seq, raw = NULL, sum = NULL
    WHERE seq = ?1 AND raw IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = ?1 AND d.state NOT IN ('delivered', 'dropped'))";

/// Drops the text of a released message with its delivery rows, unless it waits for a sink or is a dead letter of one.
/// Returns whether it went.
pub(super) fn let_go(transaction: &Transaction<'_>, seq: Seq) -> rusqlite::Result<bool> {
    let went = transaction.prepare_cached(LET_GO)?.execute([seq.0])? > 0;
    if went {
        transaction.prepare_cached("DELETE FROM delivery WHERE seq = ?1")?.execute([seq.0])?;
    }
    Ok(went)
}

impl Spool {
    /// Drops, of the next messages after `after`, what was settled long enough ago: the text with its delivery rows once
    /// every sink is done with it, dead letters each by itself. What waits stays.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn drop_settled(&mut self, cutoffs: Cutoffs, after: Seq) -> Result<Dropped, Error> {
        let (delivered, dead) = (cutoffs.delivered.unwrap_or(UnixMs::MIN), cutoffs.dead.unwrap_or(UnixMs::MIN));
        let dropped = self.transaction(|transaction| {
            let look = "SELECT seq, stored_at FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let found: Vec<(i64, i64)> = transaction
                .prepare_cached(look)?
                .query_map(params![after.0, AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            // Nothing is settled before it is stored, so younger ones need not be looked at.
            let horizon = delivered.max(dead).0;
            let Some((last, stored_at)) = found.last().copied().filter(|_| found.iter().any(|row| row.1 < horizon))
            else {
                return Ok(Dropped::default());
            };
            let range = params![after.0, last, delivered.0, dead.0];
            let messages = transaction.prepare_cached(DROP_TEXTS)?.execute(range)?;
            let expired = "DELETE FROM delivery WHERE seq > ?1 AND seq <= ?2 AND state = 'dead' AND settled_at < ?3";
            let dead = transaction.prepare_cached(expired)?.execute(params![after.0, last, dead.0])?;
            if messages > 0 {
                transaction
                    .prepare_cached(
                        "DELETE FROM delivery WHERE seq > ?1 AND seq <= ?2
                         AND NOT EXISTS (SELECT 1 FROM message AS m WHERE m.seq = delivery.seq AND m.raw IS NOT NULL)",
                    )?
                    .execute([after.0, last])?;
            }
            let is_full = i64::try_from(found.len()).unwrap_or(0) == AT_ONCE;
            Ok(Dropped { messages, dead, next: (is_full && stored_at < horizon).then_some(Seq(last)) })
        })?;
        self.has_traces |= dropped.messages > 0;
        Ok(dropped)
    }

    /// Forgets ids whose time is below `watermark` and whose text is gone, save the `keep_newest` newest ones.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32, after: Place) -> Result<Forgotten, Error> {
        self.transaction(|transaction| {
            let mut look = transaction.prepare_cached(
                "SELECT time, seq, raw IS NULL FROM message
                 WHERE (time, seq) > (?1, ?2) AND time < ?3
                   AND time < (SELECT time FROM message ORDER BY time DESC LIMIT 1 OFFSET ?4 - 1)
                 ORDER BY time, seq LIMIT ?5",
            )?;
            let range = params![after.time.0, after.seq.0, watermark.0, keep_newest.max(1), AT_ONCE];
            let found: Vec<(Place, bool)> = look
                .query_map(range, |row| {
                    let place = Place { time: UnixMs(row.get(0)?), seq: Seq(row.get(1)?) };
                    Ok((place, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut forget = transaction.prepare_cached("DELETE FROM message WHERE seq = ?1")?;
            let mut ids = 0;
            for (place, _) in found.iter().filter(|(_, gone)| *gone) {
                ids += forget.execute([place.seq.0])?;
            }
            let is_full = i64::try_from(found.len()).unwrap_or(0) == AT_ONCE;
            Ok(Forgotten { ids, next: found.last().filter(|_| is_full).map(|(place, _)| *place) })
        })
    }
}
