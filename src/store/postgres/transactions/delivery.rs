//! Transactions of delivery: claiming messages that wait, and settling attempts.

use std::collections::HashSet;
use std::sync::Arc;

use super::claims::{START, claim, size_column};
use super::fallback::hand_over;
use super::order;
use super::retention::erase_if_done;
use super::values::class_number;
use crate::domain::{DeliveryClass, Outcome, Seq, UnixMs};
use crate::store::delivery::{
    Claim, ClaimLimits, DeliveryTransactions, FirstClaims, HealthRecord, Settlement, WaitingCounts,
};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::postgres::connection::PostgresBackend;
use crate::store::postgres::statement::{Param, count, get, limit, params, without_nul};
use crate::store::sink_id::SinkId;

pub(in crate::store::postgres) const RETRIES: &str = "
    FROM delivery AS d WHERE d.sink = $1 AND d.state = 'retry' AND d.due <= $2 AND (d.due, d.release_no) > ($3, $4)
    ORDER BY d.due, d.release_no LIMIT $5";
pub(in crate::store::postgres) const NEXT_DUE: &str =
    "SELECT min(due) FROM delivery WHERE sink = $1 AND state = 'retry' AND due > $2";

/// Records how attempts ended. The parameters are arrays, one for each column.
pub(in crate::store::postgres) const SETTLE: &str = "
    UPDATE delivery AS d
    SET state = s.state, attempts = s.attempts, first_attempt = coalesce(d.first_attempt, s.first_attempt), due = s.due,
        status = s.status, reason = s.reason, answer = s.answer, settled_at = $10
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::text[], $9::text[])
         AS s (seq, sink, state, attempts, first_attempt, due, status, reason, answer)
    WHERE d.seq = s.seq AND d.sink = s.sink";

impl DeliveryTransactions for PostgresBackend {
    fn claim_fresh(
        &self,
        sink: SinkId,
        class: DeliveryClass,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        let (query, params) = (fresh_query(limits.details), params![sink.0, class_number(class)]);
        let is_live = class == DeliveryClass::Live;
        self.read(|statements| {
            let over = self.live_over.borrow().get(&sink).copied().filter(|_| is_live).unwrap_or(i64::MIN);
            let (claims, first) = claim(statements, sink, (&query, &params), (over, i64::MIN), limits, skip)?;
            if let Some(first) = first.filter(|_| is_live)
                && get(&first, 4)?
            {
                self.live_over.borrow_mut().insert(sink, get::<i64>(&first, 2)? - 1);
            }
            Ok(claims)
        })
    }

    fn claim_retries(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        let query = format!("SELECT d.seq, {}, d.due, d.release_no {RETRIES}", size_column(limits.details));
        let params = params![sink.0, now.0];
        self.read(|statements| Ok(claim(statements, sink, (&query, &params), START, limits, skip)?.0))
    }

    fn claim_first_of_each_number(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(i64, Seq) -> bool,
    ) -> Result<FirstClaims, Error> {
        self.read(|statements| order::claim_firsts(statements, sink, now, limits, skip))
    }

    fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error> {
        let due = self.read(|statements| statements.value::<Option<i64>>(NEXT_DUE, params![sink.0, now.0]))?;
        Ok(due.flatten().map(UnixMs))
    }

    fn bring_forward(&mut self, sink: SinkId, since: UnixMs, now: UnixMs, at_most: usize) -> Result<usize, Error> {
        self.transaction(|statements| {
            statements.change(
                "UPDATE delivery SET due = $3 WHERE sink = $1 AND seq IN (
                     SELECT seq FROM delivery
                     WHERE sink = $1 AND state = 'retry' AND first_attempt >= $2 AND due > $3
                     ORDER BY due LIMIT $4)",
                params![sink.0, since.0, now.0, limit(at_most)],
            )
        })
    }

    fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error> {
        if settlements.is_empty() {
            return Ok(());
        }
        let (erase, recipients) = (self.erases_at_once(), Arc::clone(&self.recipients));
        self.transaction(|statements| {
            for Settlement { sink, health, .. } in settlements {
                if let Some(HealthRecord { busy_until, failures }) = health {
                    let values = params![sink.0, busy_until.map(|until| until.0), *failures];
                    statements.later("UPDATE sink SET busy_until = $2, failures = $3 WHERE id = $1", values);
                }
            }
            // If there are two settlements of the same delivery, they are carried out one after the other.
            for batch in without_repeats(settlements) {
                statements.later(SETTLE, settle_params(&batch, now));
                let dead = batch.iter().filter(|one| matches!(one.outcome, Outcome::Dead { .. }));
                hand_over(statements, &recipients, dead.map(|one| (one.sink, one.seq)));
            }
            if erase {
                let delivered = settlements.iter().filter(|one| matches!(one.outcome, Outcome::Delivered { .. }));
                let mut seqs: Vec<i64> = delivered.map(|one| one.seq.0).collect();
                seqs.dedup();
                erase_if_done(statements, &seqs);
            }
            Ok(())
        })
    }

    fn waiting(&self, sink: SinkId) -> Result<WaitingCounts, Error> {
        let row = self.read(|statements| {
            let row = statements.row(
                "SELECT (SELECT count(*) FROM delivery WHERE sink = $1 AND state = 'fresh'),
                        (SELECT count(*) FROM delivery WHERE sink = $1 AND state = 'retry'),
                        (SELECT count(*) FROM delivery WHERE sink = $1 AND state = 'dead')",
                params![sink.0],
            )?;
            row.map(|row| Ok(WaitingCounts { fresh: count(&row, 0)?, retry: count(&row, 1)?, dead: count(&row, 2)? }))
                .transpose()
        })?;
        Ok(row.unwrap_or_default())
    }
}

/// Returns the query that finds the deliveries of a sink ($1) and a class ($2) that were never attempted.
///
/// The last column is true if no delivery of the sink is undecided, and none waits for another attempt. If it is true,
/// all live deliveries before the first one that the query found, in the order of release, are over. None of them ever
/// waits as a live delivery again: if an operator sends such a message again, its delivery becomes backfill.
pub(in crate::store::postgres) fn fresh_query(details: bool) -> String {
    // The query needs no $4, but every query that `claim` gets must have the same number of parameters.
    format!(
        "SELECT d.seq, {}, d.release_no, $4::bigint,
                NOT EXISTS (SELECT 1 FROM delivery WHERE sink = $1 AND state = 'undecided')
                AND NOT EXISTS (SELECT 1 FROM delivery WHERE sink = $1 AND state = 'retry')
         FROM delivery AS d WHERE d.sink = $1 AND d.class = $2 AND d.state = 'fresh' AND d.release_no > $3
         ORDER BY d.release_no LIMIT $5",
        size_column(details)
    )
}

/// Splits settlements into batches, and keeps their order. A delivery occurs at most once in a batch.
fn without_repeats(settlements: &[Settlement]) -> Vec<Vec<&Settlement>> {
    let mut batches: Vec<Vec<&Settlement>> = vec![Vec::new()];
    let mut met = HashSet::new();
    for settlement in settlements {
        if !met.insert((settlement.sink, settlement.seq)) {
            met = HashSet::from([(settlement.sink, settlement.seq)]);
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(settlement);
        }
    }
    batches
}

fn settle_params(settlements: &[&Settlement], now: UnixMs) -> Vec<Param> {
    let mut outcomes = Vec::with_capacity(settlements.len());
    for one in settlements {
        outcomes.push(match &one.outcome {
            Outcome::Delivered { status } => (DeliveryState::Delivered, None, *status, None, None),
            Outcome::Retry { due, status, answer } => (DeliveryState::Retry, Some(due.0), *status, None, Some(answer)),
            Outcome::Dead { reason, status, answer } => {
                (DeliveryState::Dead, None, *status, Some(reason.as_str()), Some(answer))
            }
        });
    }
    vec![
        Param::numbers(settlements.iter().map(|one| one.seq.0)),
        Param::numbers(settlements.iter().map(|one| one.sink.0)),
        Param::Words(outcomes.iter().map(|outcome| Some(outcome.0.as_str().to_owned())).collect()),
        Param::numbers(settlements.iter().map(|one| one.attempts.into())),
        Param::numbers(settlements.iter().map(|one| one.first_attempt.0)),
        Param::Numbers(outcomes.iter().map(|outcome| outcome.1).collect()),
        Param::Numbers(outcomes.iter().map(|outcome| outcome.2.map(i64::from)).collect()),
        Param::Words(outcomes.iter().map(|outcome| outcome.3.map(str::to_owned)).collect()),
        Param::Words(outcomes.iter().map(|outcome| outcome.4.map(|answer| without_nul(answer))).collect()),
        Param::from(now.0),
    ]
}
