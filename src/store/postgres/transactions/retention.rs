//! Transactions that remove what is no longer kept.

use crate::domain::{Seq, UnixMs};
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, get, params};
use crate::store::retention::{
    EVENTS_KNOWN, ForgottenIds, ForgottenUpTo, REMOVAL_BATCH, RemovedMessages, RetentionCutoffs, RetentionTransactions,
};

/// Removes the text of a released message once all its deliveries were settled before their cutoff: $4 for dead
/// letters, $3 for all others. If there is no delivery, the message must have been stored before $3. A message that
/// came too late loses its text if it was stored before $3, and an unreadable row if it was stored before $4.
const DROP_TEXTS: &str = "UPDATE message SET raw = NULL
    WHERE seq > $1 AND seq <= $2 AND raw IS NOT NULL AND CASE
        WHEN standing = 'unreadable' THEN stored_at < $4
        WHEN standing = 'below_watermark' AND release_no IS NULL THEN stored_at < $3
        WHEN release_no IS NULL THEN FALSE
        ELSE NOT EXISTS (
                 SELECT 1 FROM delivery AS d WHERE d.seq = message.seq
                 AND NOT (d.state IN ('delivered', 'dropped') AND d.settled_at < $3)
                 AND NOT (d.state = 'dead' AND d.settled_at < $4))
             AND (stored_at < $3 OR EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = message.seq))
    END";

/// Removes the text of each of these released messages together with its deliveries, unless a delivery waits or is a
/// dead letter.
pub(super) fn erase_if_done(statements: &Statements<'_>, seqs: &[i64]) {
    statements.later(
        "WITH erased AS (
             UPDATE message SET raw = NULL
             WHERE seq = ANY ($1) AND raw IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM delivery AS d WHERE d.seq = message.seq AND d.state NOT IN ('delivered', 'dropped'))
             RETURNING seq)
         DELETE FROM delivery USING erased WHERE delivery.seq = erased.seq",
        vec![Param::numbers(seqs.iter().copied())],
    );
}

impl RetentionTransactions for PostgresBackend {
    fn remove_settled(&mut self, cutoffs: RetentionCutoffs, after: Seq) -> Result<RemovedMessages, Error> {
        let (delivered, dead) = (cutoffs.delivered.unwrap_or(UnixMs::MIN), cutoffs.dead.unwrap_or(UnixMs::MIN));
        self.transaction(|statements| {
            let rows = statements.rows(
                "SELECT seq, stored_at FROM message WHERE seq > $1 ORDER BY seq LIMIT $2",
                params![after.0, REMOVAL_BATCH],
            )?;
            let found: Vec<(i64, i64)> =
                rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_, Failure>>()?;
            // `horizon` is the later of the two cutoffs. A delivery is settled only after its message was stored. So if
            // all messages of the portion were stored at `horizon` or later, this portion has nothing to remove.
            let horizon = delivered.max(dead).0;
            let Some((last, stored_at)) = found.last().copied().filter(|_| found.iter().any(|row| row.1 < horizon))
            else {
                return Ok(RemovedMessages::default());
            };
            let messages = statements.change(DROP_TEXTS, params![after.0, last, delivered.0, dead.0])?;
            let expired = "DELETE FROM delivery WHERE seq > $1 AND seq <= $2 AND state = 'dead' AND settled_at < $3";
            let dead = statements.change(expired, params![after.0, last, dead.0])?;
            if messages > 0 {
                statements.later(
                    "DELETE FROM delivery WHERE seq > $1 AND seq <= $2
                     AND NOT EXISTS (SELECT 1 FROM message AS m WHERE m.seq = delivery.seq AND m.raw IS NOT NULL)",
                    params![after.0, last],
                );
            }
            let is_full = i64::try_from(found.len()).unwrap_or(0) == REMOVAL_BATCH;
            Ok(RemovedMessages { messages, dead, next: (is_full && stored_at < horizon).then_some(Seq(last)) })
        })
    }

    fn forget_ids(&mut self, watermark: UnixMs, keep_newest: u32, after: ForgottenUpTo) -> Result<ForgottenIds, Error> {
        self.transaction(|statements| {
            let rows = statements.rows(
                "SELECT time, seq, raw IS NULL FROM message
                 WHERE (time, seq) > ($1, $2) AND time < $3 AND (standing <> 'event' OR time < $6)
                   AND time < (SELECT time FROM message WHERE standing <> 'event'
                               ORDER BY time DESC LIMIT 1 OFFSET $4)
                 ORDER BY time, seq LIMIT $5",
                params![
                    after.time.0,
                    after.seq.0,
                    watermark.0,
                    keep_newest.max(1) - 1,
                    REMOVAL_BATCH,
                    watermark.before(EVENTS_KNOWN).0
                ],
            )?;
            let (mut forgotten, mut last) = (Vec::new(), None);
            for row in &rows {
                let place = ForgottenUpTo { time: UnixMs(get(row, 0)?), seq: Seq(get(row, 1)?) };
                if get(row, 2)? {
                    forgotten.push(place.seq.0);
                }
                last = Some(place);
            }
            let is_full = i64::try_from(rows.len()).unwrap_or(0) == REMOVAL_BATCH;
            let ids = forgotten.len();
            statements.later("DELETE FROM message WHERE seq = ANY ($1)", vec![Param::numbers(forgotten)]);
            Ok(ForgottenIds { ids, next: last.filter(|_| is_full) })
        })
    }
}
