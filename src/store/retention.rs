//! Transactions that let things go: bodies that every sink has, and ids that cannot be news any more.
//!
//! Invariant: an id goes only below the watermark, and only when its message is settled everywhere. The newest ids by
//! time stay whatever their age.

use rusqlite::params;

use super::error::Error;
use super::spool::Spool;
use crate::domain::{Seq, UnixMs};

/// So many messages are looked at in one transaction, so that it is short.
const AT_ONCE: i64 = 500;

impl Spool {
    /// Drops bodies and delivery rows of messages stored before `cutoff` that every sink has. Dead letters and waiting
    /// ones stay. Works on from `after`; returns where to go on, `None` at the end.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn drop_delivered(&mut self, cutoff: UnixMs, after: Seq) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| {
            let mut candidates = transaction.prepare_cached(
                "SELECT seq, stored_at < ?2 AND raw IS NOT NULL AND release_no IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM delivery AS d
                     WHERE d.seq = message.seq AND (d.state <> 'delivered' OR d.settled_at >= ?2))
                 FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?3",
            )?;
            let found: Vec<(i64, bool)> = candidates
                .query_map(params![after.0, cutoff.0, AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut drop_body = transaction.prepare_cached("UPDATE message SET raw = NULL WHERE seq = ?1")?;
            let mut drop_rows = transaction.prepare_cached("DELETE FROM delivery WHERE seq = ?1")?;
            for (seq, _) in found.iter().filter(|(_, settled)| *settled) {
                drop_body.execute([seq])?;
                drop_rows.execute([seq])?;
            }
            let full = i64::try_from(found.len()).unwrap_or(0) == AT_ONCE;
            Ok(found.last().filter(|_| full).map(|(seq, _)| Seq(*seq)))
        })
    }

    /// Forgets ids whose time is below `watermark` and whose body is gone, save the `keep_newest` newest ones. Returns
    /// how many; call again while it is not 0.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "DELETE FROM message WHERE seq IN (
                         SELECT seq FROM message
                         WHERE raw IS NULL AND time < ?1
                           AND time < (SELECT time FROM message ORDER BY time DESC LIMIT 1 OFFSET ?2 - 1)
                         ORDER BY time LIMIT ?3)",
                )?
                .execute(params![watermark.0, keep_newest.max(1), AT_ONCE])
        })
    }
}
