//! Transactions on numbers and on undecided deliveries.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row as SqlRow, Transaction, params};

use super::fallback::hand_over;
use super::retention::erase_if_done;
use crate::domain::filter::{Facts, FilterVerdict};
use crate::domain::{DeadReason, Seq, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::message_selection::details;
use crate::store::numbers::{
    DECIDE_BATCH, DecidedUpTo, MAX_UNUSED_NUMBERS, NO_DETAILS, NumberDetails, NumberKey, NumberTransactions,
    UndecidedScope,
};
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;

/// An undecided delivery, with the values that decide it.
struct UndecidedRow {
    seq: i64,
    raw: String,
    /// Whether the API was asked for the details of the message's number. Also true if the message names no number,
    /// because then there is nothing to ask for.
    asked: bool,
    details: Option<String>,
    is_event: bool,
}

impl NumberTransactions for SqliteBackend {
    fn record_numbers(&mut self, numbers: &[(&str, &str)], now: UnixMs) -> Result<(), Error> {
        self.transaction(|transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO number (id, details, fetched_at)
                 SELECT ?1, ?2, ?3 WHERE (SELECT coalesce(max(key), 0) FROM number) < ?4
                                      OR EXISTS (SELECT 1 FROM number WHERE id = ?1)
                 ON CONFLICT (id) DO UPDATE SET details = excluded.details, fetched_at = excluded.fetched_at",
            )?;
            numbers.iter().try_for_each(|(id, raw)| put.execute(params![id, raw, now.0, MAX_UNUSED_NUMBERS]).map(drop))
        })
    }

    fn number_details(&self, id: &str) -> Result<NumberDetails, Error> {
        let known: Option<(bool, Option<String>)> = self.read(|connection| {
            connection
                .prepare_cached("SELECT fetched_at IS NOT NULL, details FROM number WHERE id = ?1")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        Ok(match known {
            Some((_, Some(details))) => NumberDetails::Known(details),
            Some((true, None)) => NumberDetails::Absent,
            Some((false, None)) | None => NumberDetails::Unknown,
        })
    }

    fn newest_number(&self) -> Result<NumberKey, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT coalesce(max(key), 0) FROM number")?
                .query_row([], |row| row.get(0).map(NumberKey))
        })
    }

    fn complete_number_list(&mut self, newest: NumberKey, now: UnixMs) -> Result<usize, Error> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached("UPDATE number SET fetched_at = ?2 WHERE key <= ?1 AND fetched_at IS NULL")?
                .execute(params![newest.0, now.0])
        })
    }

    fn has_undecided(&self) -> Result<bool, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM sink WHERE active = 1
                     AND EXISTS (SELECT 1 FROM delivery WHERE delivery.sink = sink.id AND state = 'undecided')",
                )?
                .exists([])
        })
    }

    fn decide(
        &mut self,
        after: Option<DecidedUpTo>,
        which: UndecidedScope,
    ) -> Result<(usize, Option<DecidedUpTo>), Error> {
        let recipients = Arc::clone(&self.recipients);
        let mut by_id: Vec<_> = recipients.iter().collect();
        by_id.sort_unstable_by_key(|recipient| recipient.id);
        let DecidedUpTo { sink, seq } = after.unwrap_or(DecidedUpTo { sink: SinkId(0), seq: Seq(-1) });
        for recipient in by_id.into_iter().filter(|recipient| recipient.id >= sink) {
            let from = if recipient.id == sink { seq } else { Seq(-1) };
            let found = self.undecided(recipient.id, from, which)?;
            let Some(last) = found.last().map(|row| Seq(row.seq)) else { continue };
            let decided: Vec<(i64, bool)> = found
                .iter()
                .filter_map(|row| {
                    let facts = Facts::read(&row.raw, details(row.asked, row.details.as_deref()));
                    match recipient.decide(row.is_event, &facts) {
                        FilterVerdict::Wanted => Some((row.seq, true)),
                        FilterVerdict::Unwanted(_) => Some((row.seq, false)),
                        FilterVerdict::Unknown(_) => None,
                    }
                })
                .collect();
            let made = self.put_decided(recipient.id, &decided)?;
            return Ok((made, Some(DecidedUpTo { sink: recipient.id, seq: last })));
        }
        Ok((0, None))
    }

    fn give_up_undecided(&mut self, before: Seq, now: UnixMs) -> Result<usize, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|transaction| {
            let given_up: Vec<(Seq, SinkId)> = transaction
                .prepare_cached(
                    "UPDATE delivery SET state = 'dead', reason = ?1, answer = ?2, settled_at = ?3
                     WHERE state = 'undecided' AND seq < ?4 AND EXISTS (
                         SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                         WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)
                     RETURNING seq, sink",
                )?
                .query_map(params![DeadReason::GaveUp.as_str(), NO_DETAILS, now.0, before.0], |row| {
                    Ok((Seq(row.get(0)?), SinkId(row.get(1)?)))
                })?
                .collect::<rusqlite::Result<_>>()?;
            given_up.iter().try_for_each(|(seq, sink)| hand_over(transaction, &recipients, *sink, *seq))?;
            Ok(given_up.len())
        })
    }
}

impl SqliteBackend {
    fn undecided(&self, sink: SinkId, after: Seq, which: UndecidedScope) -> Result<Vec<UndecidedRow>, Error> {
        let known = match which {
            UndecidedScope::All => "",
            UndecidedScope::Known => "AND (m.number IS NULL OR n.fetched_at IS NOT NULL)",
        };
        let row = |row: &SqlRow<'_>| {
            Ok(UndecidedRow {
                seq: row.get(0)?,
                raw: row.get(1)?,
                asked: row.get(2)?,
                details: row.get(3)?,
                is_event: row.get(4)?,
            })
        };
        self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT d.seq, coalesce(m.raw, ''), m.number IS NULL OR n.fetched_at IS NOT NULL, n.details,
                            m.event IS NOT NULL
                     FROM delivery AS d JOIN message AS m ON m.seq = d.seq LEFT JOIN number AS n ON n.key = m.number
                     WHERE d.sink = ?1 AND d.state = 'undecided' AND d.seq > ?2 {known} ORDER BY d.seq LIMIT ?3"
                ))?
                .query_map(params![sink.0, after.0, DECIDE_BATCH], row)?
                .collect()
        })
    }

    /// Records decisions on undecided deliveries: for each message, whether the sink wants it. If so, the delivery
    /// becomes fresh; if not, it is removed. Returns how many deliveries became fresh.
    fn put_decided(&mut self, sink: SinkId, decided: &[(i64, bool)]) -> Result<usize, Error> {
        if decided.is_empty() {
            return Ok(0);
        }
        let erase = self.erases_at_once();
        let (made, erased) = self.transaction(|transaction| {
            let mut wanted = transaction.prepare_cached(
                "UPDATE delivery SET state = 'fresh' WHERE seq = ?1 AND sink = ?2 AND state = 'undecided'",
            )?;
            let mut unwanted = transaction
                .prepare_cached("DELETE FROM delivery WHERE seq = ?1 AND sink = ?2 AND state = 'undecided'")?;
            let (mut made, mut erased) = (0, false);
            for (seq, is_wanted) in decided {
                if *is_wanted {
                    made += wanted.execute(params![seq, sink.0])?;
                } else {
                    unwanted.execute(params![seq, sink.0])?;
                    erased |= erase && erase_if_done(transaction, Seq(*seq))?;
                }
            }
            Ok((made, erased))
        })?;
        self.may_hold_traces |= erased;
        Ok(made)
    }
}

/// Called for a sink that needs details of numbers. A waiting delivery becomes undecided if the API was not asked for
/// the number of its message yet. Such a delivery was made before the configuration of the sink began to need the
/// details. Deliveries that another sink handed over stay as they are, because filters do not apply to them.
pub(super) fn make_undecided(transaction: &Transaction<'_>, sink: SinkId) -> rusqlite::Result<()> {
    // Usually the API was asked for all numbers already, and there is nothing to do.
    if !transaction.prepare_cached("SELECT 1 FROM number WHERE fetched_at IS NULL")?.exists([])? {
        return Ok(());
    }
    // There is one statement for each of the two states, because each of them has an index of its own.
    for state in [DeliveryState::Fresh, DeliveryState::Retry] {
        transaction.execute(
            &format!(
                "UPDATE delivery SET state = 'undecided' WHERE sink = ?1 AND state = '{state}' AND handed_by IS NULL AND EXISTS (
                     SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                     WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)"
            ),
            [sink.0],
        )?;
    }
    Ok(())
}
