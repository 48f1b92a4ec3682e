//! Transactions of `max_age`: finding waiting messages that are too old, and making them dead letters.

use std::collections::HashMap;
use std::sync::Arc;

use super::fallback::hand_over;
use super::release::last_release;
use crate::domain::{DeadReason, Seq, UnixMs};
use crate::store::error::Error;
use crate::store::expiry::{ExpiredMessage, ExpiryPortion, ExpiryScan, ExpiryTransactions, NEVER_TRIED};
use crate::store::postgres::connection::PostgresBackend;
use crate::store::postgres::statement::{Param, get, limit, params, small, text};
use crate::store::sink_id::SinkId;

/// Finds waiting deliveries of messages that were received later than $2, but at $3 or earlier. Uses the index of the
/// messages' times.
const BECAME_TOO_OLD: &str = "SELECT d.seq FROM message AS m JOIN delivery AS d ON d.seq = m.seq
    WHERE d.sink = $1 AND m.time > $2 AND m.time <= $3 AND d.state IN ('fresh', 'retry') AND d.replays = 0 LIMIT $4";

/// Finds deliveries that were never attempted, of messages that were received at $3 or earlier and whose place in the
/// order of release is above $2. For example, a message that a catch-up finds may be too old already when it is
/// released.
const CAME_TOO_OLD: &str = "SELECT d.seq FROM delivery AS d JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = $1 AND d.class IN (0, 1) AND d.state = 'fresh' AND d.release_no > $2 AND m.time <= $3
      AND d.replays = 0 LIMIT $4";

/// Finds deliveries that have failed at least once and are too old.
const FAILED_BEFORE: &str = "SELECT d.seq FROM delivery AS d JOIN message AS m ON m.seq = d.seq
    WHERE d.sink = $1 AND d.state = 'retry' AND m.time <= $2 AND d.replays = 0 LIMIT $3";

impl ExpiryTransactions for PostgresBackend {
    fn too_old(&self, sink: SinkId, scan: &ExpiryScan, at_most: usize) -> Result<ExpiryPortion, Error> {
        let at_most_rows = limit(at_most);
        self.read(|statements| {
            let released = last_release(statements)?;
            let (since, cutoff) = (scan.since.0, scan.cutoff.0);
            let (mut rows, mut complete) = (Vec::new(), true);
            let mut searches = Vec::new();
            if scan.since > UnixMs::MIN {
                searches.push((BECAME_TOO_OLD, params![sink.0, since, cutoff, at_most_rows]));
            }
            searches.push((CAME_TOO_OLD, params![sink.0, scan.released, cutoff, at_most_rows]));
            if scan.retries {
                searches.push((FAILED_BEFORE, params![sink.0, cutoff, at_most_rows]));
            }
            for (search, params) in searches {
                let found = statements.rows(search, params)?;
                complete &= found.len() < at_most;
                for row in &found {
                    rows.push(Seq(get(row, 0)?));
                }
            }
            Ok(ExpiryPortion { rows, complete, released })
        })
    }

    fn expire(&mut self, sink: SinkId, rows: &[Seq], now: UnixMs) -> Result<Vec<ExpiredMessage>, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|statements| {
            let expired = statements.rows(
                "UPDATE delivery AS d
                 SET state = 'dead', reason = $3, due = NULL, settled_at = $4, answer = coalesce(answer, $5)
                 FROM message AS m
                 WHERE m.seq = d.seq AND d.seq = ANY ($1) AND d.sink = $2 AND d.state IN ('fresh', 'retry')
                   AND d.replays = 0
                 RETURNING m.id, d.attempts, d.answer, d.seq",
                vec![
                    Param::numbers(rows.iter().map(|seq| seq.0)),
                    Param::from(sink.0),
                    Param::from(DeadReason::Expired.as_str()),
                    Param::from(now.0),
                    Param::from(NEVER_TRIED),
                ],
            )?;
            let mut found: HashMap<Seq, ExpiredMessage> = HashMap::with_capacity(expired.len());
            for row in &expired {
                let message = ExpiredMessage { id: text(row, 0)?, attempts: small(row, 1)?, answer: get(row, 2)? };
                found.insert(Seq(get(row, 3)?), message);
            }
            hand_over(statements, &recipients, found.keys().map(|seq| (sink, *seq)));
            Ok(rows.iter().filter_map(|seq| found.remove(seq)).collect())
        })
    }
}
