//! The queues of sinks with `order = "number"`: one or two for each phone number. This module finds the first waiting
//! message of each queue, and puts deliveries into queues if they are in none yet.
//!
//! Every delivery that is in a queue has a value in the column `number`, and the index `delivery_number` holds the
//! deliveries that wait. A search finds the first message of each queue by going from queue to queue in that index. So
//! the cost of a search depends on the number of queues, and not on the number of messages that wait in them.
//!
//! Messages that an operator sends again, or that another sink hands over, wait in a second queue of their number. So a
//! new message never waits for such messages. If the key of the number is `n` (0 for messages that name no number), the
//! column `number` of a delivery is `n` in the first queue and `-1 - n` in the second.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::claims::{claim_from_row, claims_query};
use super::portions::last_of_next_deliveries;
use super::values::{class_number, instant};
use crate::domain::{DeliveryClass, Seq, UnixMs};
use crate::store::delivery::{ClaimLimits, FirstClaims};
use crate::store::sink_id::SinkId;

/// Finds the first waiting delivery of each queue of the sink ?1. The columns are the queue (`delivery.number`), the
/// sequence number of the message, its place in the order of release, the due time, and the class.
pub(in crate::store::sqlite) const FIRSTS: &str = "
WITH RECURSIVE waiting (number) AS (
    SELECT min(number) FROM delivery INDEXED BY delivery_number
    WHERE sink = ?1 AND number IS NOT NULL AND state IN ('fresh', 'retry')
    UNION ALL
    SELECT (SELECT min(number) FROM delivery INDEXED BY delivery_number
            WHERE sink = ?1 AND number > waiting.number AND state IN ('fresh', 'retry'))
    FROM waiting WHERE number IS NOT NULL
)
SELECT first.number, first.seq, first.release_no, first.due, first.class
FROM waiting CROSS JOIN delivery AS first INDEXED BY delivery_number
WHERE first.sink = ?1 AND first.number = waiting.number AND first.state IN ('fresh', 'retry')
  AND first.release_no = (SELECT min(release_no) FROM delivery INDEXED BY delivery_number
                          WHERE sink = ?1 AND number = waiting.number AND state IN ('fresh', 'retry'))";

/// Does the work of
/// [`DeliveryTransactions::claim_first_of_each_number`](crate::store::DeliveryTransactions::claim_first_of_each_number).
pub(super) fn claim_firsts(
    connection: &Connection,
    sink: SinkId,
    now: UnixMs,
    limits: ClaimLimits,
    skip: &dyn Fn(i64, Seq) -> bool,
) -> rusqlite::Result<FirstClaims> {
    let mut firsts = FirstClaims::default();
    let (mut live, mut backfill, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let mut statement = connection.prepare_cached(FIRSTS)?;
    let mut rows = statement.query([sink.0])?;
    while let Some(row) = rows.next()? {
        let (seq, due) = (Seq(row.get(1)?), instant(row.get(3)?));
        if skip(row.get(0)?, seq) {
            continue;
        }
        match due.filter(|due| *due > now) {
            Some(due) => firsts.next_due = Some(firsts.next_due.map_or(due, |earlier| earlier.min(due))),
            None => {
                let group = match row.get::<_, i64>(4)? {
                    _ if due.is_some() => &mut retries,
                    class if class == class_number(DeliveryClass::Live) => &mut live,
                    _ => &mut backfill,
                };
                group.push((due, row.get::<_, i64>(2)?, seq));
            }
        }
    }
    let claims = claims_query(limits.details);
    let mut read = connection.prepare_cached(&format!("{claims} WHERE d.seq = ?1 AND d.sink = ?2"))?;
    for mut group in [live, backfill, retries] {
        group.sort_unstable();
        let (mut claimed, mut bytes) = (0, 0);
        for (_, _, seq) in group {
            if claimed == limits.rows || bytes >= limits.bytes {
                firsts.more = true;
                break;
            }
            // A command may have removed the delivery since the first statement found it.
            if let Some(claim) = read.query_row(params![seq.0, sink.0], claim_from_row).optional()? {
                (claimed, bytes) = (claimed + 1, bytes + claim.size());
                firsts.claims.push(claim);
            }
        }
    }
    Ok(firsts)
}

/// Does the work of
/// [`RegistrationTransactions::assign_number_queues`](crate::store::RegistrationTransactions::assign_number_queues).
pub(super) fn assign_number_queues(
    transaction: &Transaction<'_>,
    sink: SinkId,
    after: Seq,
    at_most: usize,
) -> rusqlite::Result<Option<Seq>> {
    let Some(last) = last_of_next_deliveries(transaction, sink, after, at_most)? else {
        transaction.prepare_cached("UPDATE sink SET ordered = 2 WHERE id = ?1 AND ordered = 1")?.execute([sink.0])?;
        return Ok(None);
    };
    transaction
        .prepare_cached(
            "UPDATE delivery SET number = coalesce((SELECT number FROM message WHERE message.seq = delivery.seq), 0)
             WHERE seq > ?2 AND seq <= ?3 AND sink = ?1 AND number IS NULL",
        )?
        .execute(params![sink.0, after.0, last])?;
    transaction
        .prepare_cached(
            "UPDATE delivery SET number = -1 - number
             WHERE seq > ?2 AND seq <= ?3 AND sink = ?1 AND (replays > 0 OR handed_by IS NOT NULL) AND number >= 0",
        )?
        .execute(params![sink.0, after.0, last])?;
    Ok(Some(Seq(last)))
}
