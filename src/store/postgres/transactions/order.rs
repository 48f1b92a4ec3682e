//! The queues of sinks with `order = "number"`: one or two for each phone number. This module finds the first waiting
//! message of each queue, and puts deliveries into queues if they are in none yet.
//!
//! Every delivery of such a sink has a value in the column `number`, and the index `delivery_number` holds the
//! deliveries that wait. A search finds the first message of each queue by going from queue to queue in that index. So
//! the cost of a search depends on the number of queues, and not on the number of messages that wait in them.
//!
//! Messages that an operator sends again, or that another sink hands over, wait in a second queue of their number. So a
//! new message never waits for such messages. If the key of the number is `n` (0 for messages that name no number), the
//! column `number` of a delivery is `n` in the first queue and `-1 - n` in the second.

use super::claims::{ClaimGroup, read_claims, size_column};
use super::portions::last_of_next_deliveries;
use super::values::class_of;
use crate::domain::{DeliveryClass, Seq, UnixMs};
use crate::store::delivery::{ClaimLimits, FirstClaims};
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::{Failure, get, instant, params};
use crate::store::sink_id::SinkId;

/// Finds the first waiting delivery of each queue of a sink ($1). `{size}` stands for [`size_column`].
pub(in crate::store::postgres) const FIRSTS: &str = "
WITH RECURSIVE waiting (number) AS (
    (SELECT min(number) FROM delivery WHERE sink = $1 AND number IS NOT NULL AND state IN ('fresh', 'retry'))
    UNION ALL
    SELECT (SELECT min(number) FROM delivery
            WHERE sink = $1 AND number > waiting.number AND number IS NOT NULL AND state IN ('fresh', 'retry'))
    FROM waiting WHERE waiting.number IS NOT NULL
)
SELECT d.number, d.seq, d.release_no, d.due, d.class, {size}
FROM waiting CROSS JOIN LATERAL (
    SELECT number, seq, release_no, due, class FROM delivery
    WHERE sink = $1 AND number = waiting.number AND number IS NOT NULL AND state IN ('fresh', 'retry')
    ORDER BY release_no LIMIT 1) AS d";

/// Does the work of
/// [`DeliveryTransactions::claim_first_of_each_number`](crate::store::DeliveryTransactions::claim_first_of_each_number).
pub(super) fn claim_firsts(
    statements: &Statements<'_>,
    sink: SinkId,
    now: UnixMs,
    limits: ClaimLimits,
    skip: &dyn Fn(i64, Seq) -> bool,
) -> Result<FirstClaims, Failure> {
    let mut firsts = FirstClaims::default();
    let (mut live, mut backfill, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let query = FIRSTS.replace("{size}", size_column(limits.details));
    for row in statements.rows(&query, params![sink.0])? {
        let (seq, due): (i64, _) = (get(&row, 1)?, instant(&row, 3)?);
        if skip(get(&row, 0)?, Seq(seq)) {
            continue;
        }
        match due.filter(|due| *due > now) {
            Some(due) => firsts.next_due = Some(firsts.next_due.map_or(due, |earlier| earlier.min(due))),
            None => {
                let group = match class_of(&row, 4)? {
                    _ if due.is_some() => &mut retries,
                    DeliveryClass::Live => &mut live,
                    DeliveryClass::Backfill => &mut backfill,
                };
                group.push((due, get::<i64>(&row, 2)?, seq, get(&row, 5)?));
            }
        }
    }
    let mut claimed = Vec::new();
    for mut waiting in [live, backfill, retries] {
        waiting.sort_unstable();
        let mut group = ClaimGroup::default();
        for (_, _, seq, size) in waiting {
            if group.is_full(limits) {
                firsts.more = true;
                break;
            }
            group.add(seq, size);
        }
        claimed.extend(group.seqs);
    }
    firsts.claims = read_claims(statements, sink, &claimed, limits.details)?;
    Ok(firsts)
}

/// Does the work of
/// [`RegistrationTransactions::assign_number_queues`](crate::store::RegistrationTransactions::assign_number_queues).
pub(super) fn assign_number_queues(
    statements: &Statements<'_>,
    sink: SinkId,
    after: Seq,
    at_most: usize,
) -> Result<Option<Seq>, Failure> {
    let Some(last) = last_of_next_deliveries(statements, sink, after, at_most)? else {
        statements.later("UPDATE sink SET ordered = 2 WHERE id = $1 AND ordered = 1", params![sink.0]);
        return Ok(None);
    };
    statements.later(
        "UPDATE delivery SET number = coalesce((SELECT m.number FROM message AS m WHERE m.seq = delivery.seq), 0)
         WHERE seq > $2 AND seq <= $3 AND sink = $1 AND number IS NULL",
        params![sink.0, after.0, last],
    );
    statements.later(
        "UPDATE delivery SET number = -1 - number
         WHERE seq > $2 AND seq <= $3 AND sink = $1 AND (replays > 0 OR handed_by IS NOT NULL) AND number >= 0",
        params![sink.0, after.0, last],
    );
    Ok(Some(Seq(last)))
}
