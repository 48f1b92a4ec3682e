//! Transactions of delivery: claiming messages that wait, and settling attempts.

use std::sync::Arc;

use rusqlite::params;

use super::claims::{claims_query, read_claims};
use super::fallback::hand_over;
use super::order;
use super::retention::erase_if_done;
use super::values::{class_number, instant, limit};
use crate::domain::{DeliveryClass, Outcome, Seq, UnixMs};
use crate::store::delivery::{
    Claim, ClaimLimits, DeliveryTransactions, FirstClaims, HealthRecord, Settlement, WaitingCounts,
};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;

// These statements run very often. If a parameter stands alone in a condition, SQLite checks whether the parameter's
// value allows the use of a partial index. So SQLite would plan the statement again whenever the parameter gets another
// value. The `+` before the parameter prevents this.
const FRESH: &str = "WHERE d.sink = +?1 AND d.class = +?2 AND d.state = 'fresh' ORDER BY d.release_no";
const RETRIES: &str = "WHERE d.sink = +?1 AND d.state = 'retry' AND d.due <= +?2 ORDER BY d.due, d.release_no";
const NEXT_DUE: &str = "SELECT min(due) FROM delivery WHERE sink = +?1 AND state = 'retry' AND due > +?2";

impl DeliveryTransactions for SqliteBackend {
    fn claim_fresh(
        &self,
        sink: SinkId,
        class: DeliveryClass,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{} {FRESH}", claims_query(limits.details)))?;
            read_claims(statement.query(params![sink.0, class_number(class)])?, limits, skip)
        })
    }

    fn claim_retries(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{} {RETRIES}", claims_query(limits.details)))?;
            read_claims(statement.query(params![sink.0, now.0])?, limits, skip)
        })
    }

    fn claim_first_of_each_number(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(i64, Seq) -> bool,
    ) -> Result<FirstClaims, Error> {
        self.read(|connection| order::claim_firsts(connection, sink, now, limits, skip))
    }

    fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error> {
        self.read(|connection| {
            connection.prepare_cached(NEXT_DUE)?.query_row([sink.0, now.0], |row| row.get(0).map(instant))
        })
    }

    fn bring_forward(&mut self, sink: SinkId, since: UnixMs, now: UnixMs, at_most: usize) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE delivery SET due = ?3 WHERE sink = ?1 AND seq IN (
                         SELECT seq FROM delivery
                         WHERE sink = ?1 AND state = 'retry' AND first_attempt >= ?2 AND due > ?3
                         ORDER BY due LIMIT ?4)",
                )?
                .execute(params![sink.0, since.0, now.0, limit(at_most)])
        })
    }

    fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error> {
        if settlements.is_empty() {
            return Ok(());
        }
        let erase = self.erases_at_once();
        let recipients = Arc::clone(&self.recipients);
        let erased = self.transaction(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE delivery SET state = ?3, attempts = ?4, first_attempt = coalesce(first_attempt, ?5), due = ?6, status = ?7, reason = ?8,
                                     answer = ?9, settled_at = ?10
                 WHERE seq = ?1 AND sink = ?2",
            )?;
            let mut put_health =
                transaction.prepare_cached("UPDATE sink SET busy_until = ?2, failures = ?3 WHERE id = ?1")?;
            for Settlement { sink, seq, attempts, first_attempt, outcome, health } in settlements {
                if let Some(HealthRecord { busy_until, failures }) = health {
                    put_health.execute(params![sink.0, busy_until.map(|until| until.0), failures])?;
                }
                let (state, due, status, reason, answer) = match outcome {
                    Outcome::Delivered { status } => (DeliveryState::Delivered, None, status, None, None),
                    Outcome::Retry { due, status, answer } => {
                        (DeliveryState::Retry, Some(due.0), status, None, Some(answer))
                    }
                    Outcome::Dead { reason, status, answer } => {
                        (DeliveryState::Dead, None, status, Some(reason.as_str()), Some(answer))
                    }
                };
                update.execute(params![
                    seq.0,
                    sink.0,
                    state,
                    attempts,
                    first_attempt.0,
                    due,
                    status,
                    reason,
                    answer,
                    now.0
                ])?;
                if state == DeliveryState::Dead {
                    hand_over(transaction, &recipients, *sink, *seq)?;
                }
            }
            let mut delivered = settlements.iter().filter(|one| matches!(one.outcome, Outcome::Delivered { .. }));
            match erase {
                true => delivered.try_fold(false, |any, one| Ok(erase_if_done(transaction, one.seq)? || any)),
                false => Ok(false),
            }
        })?;
        self.may_hold_traces |= erased;
        Ok(())
    }

    fn waiting(&self, sink: SinkId) -> Result<WaitingCounts, Error> {
        self.read(|connection| {
            let count = |state: DeliveryState| {
                connection
                    .prepare_cached(&format!("SELECT count(*) FROM delivery WHERE sink = +?1 AND state = '{state}'"))?
                    .query_row([sink.0], |row| row.get::<_, i64>(0))
                    .map(i64::unsigned_abs)
            };
            Ok(WaitingCounts {
                fresh: count(DeliveryState::Fresh)?,
                retry: count(DeliveryState::Retry)?,
                dead: count(DeliveryState::Dead)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn the_frequent_queries_are_planned_once_and_use_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let spool = SqliteBackend::open(dir.path()).unwrap();
        let (fresh, retries) =
            ("USING INDEX delivery_fresh (sink=? AND class=?)", "USING INDEX delivery_retry (sink=? AND due<?)");
        let (message, number) =
            ("SEARCH m USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH n USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN");
        let due = "USING COVERING INDEX delivery_retry (sink=? AND due>?)";
        let queries: [(String, &[&str]); 5] = [
            (format!("{} {FRESH}", claims_query(false)), &[fresh, message]),
            (format!("{} {FRESH}", claims_query(true)), &[fresh, message, number]),
            (format!("{} {RETRIES}", claims_query(false)), &[retries, message]),
            (format!("{} {RETRIES}", claims_query(true)), &[retries, message, number]),
            (NEXT_DUE.to_owned(), &[due]),
        ];
        for (query, steps) in queries {
            let mut statement = spool.connection.prepare(&query).unwrap();
            for parameter in 1..4 {
                statement.exists(params![parameter, parameter]).unwrap();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{query}");
            let plan = format!("EXPLAIN QUERY PLAN {query}");
            let mut plan = spool.connection.prepare(&plan).unwrap();
            let plan = plan.query_map(params![1, 1], |row| row.get(3)).unwrap();
            let plan: Vec<String> = plan.collect::<rusqlite::Result<_>>().unwrap();
            let searched: Vec<&String> = plan.iter().filter(|step| step.starts_with("SEARCH")).collect();
            assert_eq!(searched.len(), steps.len(), "{plan:?}");
            for (step, expected) in searched.into_iter().zip(steps) {
                assert!(step.contains(expected), "{plan:?}");
            }
        }
    }
}
