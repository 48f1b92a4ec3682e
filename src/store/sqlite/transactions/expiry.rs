//! Transactions of `max_age`: finding waiting messages that are too old, and making them dead letters. A message that
//! an operator sent again (`replays` is above 0) is never too old.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row as SqlRow, params};

use super::fallback::hand_over;
use super::release::last_release;
use super::values::limit;
use crate::domain::{DeadReason, Seq, UnixMs};
use crate::store::error::Error;
use crate::store::expiry::{ExpiredMessage, ExpiryPortion, ExpiryScan, ExpiryTransactions, NEVER_TRIED};
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;

/// Finds waiting deliveries of messages that have become too old since the last search: messages that were received
/// later than ?2 (the cutoff of that search), but at ?3 (the cutoff of this search) or earlier.
const BECAME_TOO_OLD: &str =
    "SELECT d.seq FROM message AS m INDEXED BY message_time CROSS JOIN delivery AS d ON d.seq = m.seq
    WHERE d.sink = ?1 AND m.time > ?2 AND m.time <= ?3 AND d.state IN ('fresh', 'retry') AND d.replays = 0 LIMIT ?4";

/// Finds deliveries that were never attempted, of messages that were received at ?3 or earlier and that have a place
/// above ?2 in the order of release. For example, a message that a catch-up finds may be too old already when it is
/// released.
const CAME_TOO_OLD: &str =
    "SELECT d.seq FROM delivery AS d INDEXED BY delivery_fresh CROSS JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = ?1 AND d.class IN (0, 1) AND d.state = 'fresh' AND d.release_no > ?2 AND m.time <= ?3
      AND d.replays = 0 LIMIT ?4";

/// Finds deliveries that have failed before, of messages that were received at ?2 or earlier.
const FAILED_BEFORE: &str =
    "SELECT d.seq FROM delivery AS d INDEXED BY delivery_retry CROSS JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = ?1 AND d.state = 'retry' AND m.time <= ?2 AND d.replays = 0 LIMIT ?3";

impl ExpiryTransactions for SqliteBackend {
    fn too_old(&self, sink: SinkId, scan: &ExpiryScan, at_most: usize) -> Result<ExpiryPortion, Error> {
        let at_most_rows = limit(at_most);
        let seq = |row: &SqlRow<'_>| row.get(0).map(Seq);
        self.read(|connection| {
            // The place of the message that was released last is read before the search. The next search begins after
            // this place. So it also looks at messages that are released during this search.
            let released = last_release(connection)?;
            let (since, cutoff) = (scan.since.0, scan.cutoff.0);
            let mut rows: Vec<Seq> = Vec::new();
            let mut complete = true;
            let mut take = |found: Vec<Seq>| {
                complete &= found.len() < at_most;
                rows.extend(found);
            };
            if scan.since > UnixMs::MIN {
                let mut became = connection.prepare_cached(BECAME_TOO_OLD)?;
                let range = params![sink.0, since, cutoff, at_most_rows];
                take(became.query_map(range, seq)?.collect::<rusqlite::Result<_>>()?);
            }
            let mut came = connection.prepare_cached(CAME_TOO_OLD)?;
            let range = params![sink.0, scan.released, cutoff, at_most_rows];
            take(came.query_map(range, seq)?.collect::<rusqlite::Result<_>>()?);
            if scan.retries {
                let mut failed = connection.prepare_cached(FAILED_BEFORE)?;
                take(failed.query_map(params![sink.0, cutoff, at_most_rows], seq)?.collect::<rusqlite::Result<_>>()?);
            }
            Ok(ExpiryPortion { rows, complete, released })
        })
    }

    fn expire(&mut self, sink: SinkId, rows: &[Seq], now: UnixMs) -> Result<Vec<ExpiredMessage>, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE delivery SET state = 'dead', reason = ?3, due = NULL, settled_at = ?4, answer = coalesce(answer, ?5)
                 WHERE seq = ?1 AND sink = ?2 AND state IN ('fresh', 'retry') AND replays = 0
                 RETURNING (SELECT id FROM message WHERE message.seq = delivery.seq), attempts, answer",
            )?;
            let mut expired = Vec::with_capacity(rows.len());
            for seq in rows {
                let values = params![seq.0, sink.0, DeadReason::Expired.as_str(), now.0, NEVER_TRIED];
                let found = update
                    .query_row(values, |row| {
                        Ok(ExpiredMessage { id: row.get(0)?, attempts: row.get(1)?, answer: row.get(2)? })
                    })
                    .optional()?;
                if let Some(found) = found {
                    hand_over(transaction, &recipients, sink, *seq)?;
                    expired.push(found);
                }
            }
            Ok(expired)
        })
    }
}
