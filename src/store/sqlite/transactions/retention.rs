//! Transactions that remove what is no longer kept.

use rusqlite::{Transaction, params};

use crate::domain::{Seq, UnixMs};
use crate::store::error::Error;
use crate::store::retention::{
    EVENTS_KNOWN, ForgottenIds, ForgottenUpTo, REMOVAL_BATCH, RemovedMessages, RetentionCutoffs, RetentionTransactions,
};
use crate::store::sqlite::connection::SqliteBackend;

/// Removes texts that are no longer kept. The text is removed from
///
/// - a released message that has deliveries, if each of them ended before its cutoff: ?4 for a dead letter, ?3 for any
///   other delivery;
/// - a released message without deliveries, if the message was stored before ?3;
/// - a message that came too late and was never released, if it was stored before ?3;
/// - an unreadable row, if it was stored before ?4.
///
/// `seq = seq` makes SQLite remove the record and insert it again. If SQLite only shortened the record, its database
/// page would stay nearly empty for as long as the id is kept.
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

/// Removes the text of one message if each of its deliveries is delivered or dropped.
const DROP_TEXT: &str = "UPDATE message SET seq = seq, raw = NULL, sum = NULL
    WHERE seq = ?1 AND raw IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = ?1 AND d.state NOT IN ('delivered', 'dropped'))";

/// Removes the text of a released message together with the deliveries of the message, unless the message waits for a
/// sink or is a dead letter. Returns whether the text was removed.
pub(super) fn erase_if_done(transaction: &Transaction<'_>, seq: Seq) -> rusqlite::Result<bool> {
    let erased = transaction.prepare_cached(DROP_TEXT)?.execute([seq.0])? > 0;
    if erased {
        transaction.prepare_cached("DELETE FROM delivery WHERE seq = ?1")?.execute([seq.0])?;
    }
    Ok(erased)
}

impl RetentionTransactions for SqliteBackend {
    fn remove_settled(&mut self, cutoffs: RetentionCutoffs, after: Seq) -> Result<RemovedMessages, Error> {
        let (delivered, dead) = (cutoffs.delivered.unwrap_or(UnixMs::MIN), cutoffs.dead.unwrap_or(UnixMs::MIN));
        let dropped = self.transaction(|transaction| {
            let look = "SELECT seq, stored_at FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let found: Vec<(i64, i64)> = transaction
                .prepare_cached(look)?
                .query_map(params![after.0, REMOVAL_BATCH], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            // `horizon` is the later of the two cutoffs. A delivery is settled only after its message was stored. So if
            // all messages of the portion were stored at `horizon` or later, this portion has nothing to remove.
            let horizon = delivered.max(dead).0;
            let Some((last, stored_at)) = found.last().copied().filter(|_| found.iter().any(|row| row.1 < horizon))
            else {
                return Ok(RemovedMessages::default());
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
            let is_full = i64::try_from(found.len()).unwrap_or(0) == REMOVAL_BATCH;
            Ok(RemovedMessages { messages, dead, next: (is_full && stored_at < horizon).then_some(Seq(last)) })
        })?;
        self.may_hold_traces |= dropped.messages > 0;
        Ok(dropped)
    }

    fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32, after: ForgottenUpTo) -> Result<ForgottenIds, Error> {
        self.transaction(|transaction| {
            let mut look = transaction.prepare_cached(
                "SELECT time, seq, raw IS NULL FROM message
                 WHERE (time, seq) > (?1, ?2) AND time < ?3 AND (event IS NULL OR time < ?6)
                   AND time < (SELECT time FROM message WHERE event IS NULL ORDER BY time DESC LIMIT 1 OFFSET ?4 - 1)
                 ORDER BY time, seq LIMIT ?5",
            )?;
            let events_before = watermark.before(EVENTS_KNOWN);
            let range =
                params![after.time.0, after.seq.0, watermark.0, keep_newest.max(1), REMOVAL_BATCH, events_before.0];
            let found: Vec<(ForgottenUpTo, bool)> = look
                .query_map(range, |row| {
                    let place = ForgottenUpTo { time: UnixMs(row.get(0)?), seq: Seq(row.get(1)?) };
                    Ok((place, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut forget = transaction.prepare_cached("DELETE FROM message WHERE seq = ?1")?;
            let mut ids = 0;
            for (place, _) in found.iter().filter(|(_, gone)| *gone) {
                ids += forget.execute([place.seq.0])?;
            }
            let is_full = i64::try_from(found.len()).unwrap_or(0) == REMOVAL_BATCH;
            Ok(ForgottenIds { ids, next: found.last().filter(|_| is_full).map(|(place, _)| *place) })
        })
    }
}
