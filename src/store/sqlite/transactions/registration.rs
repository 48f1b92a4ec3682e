//! Transactions at a start and at a reload: recording which sinks there are, and giving stored messages to a new sink.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::numbers::make_undecided;
use super::order;
use super::pauses;
use super::release::{ReleaseSpan, deliver, last_release};
use super::values::{instant, limit};
use crate::domain::{DeliveryClass, NumberUse, PauseReason, Seq, UnixMs};
use crate::store::delivery::HealthRecord;
use crate::store::error::Error;
use crate::store::recipient::Recipient;
use crate::store::registration::{BackfillPortion, RegisteredSink, RegistrationTransactions, SinkSetup};
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;

impl RegistrationTransactions for SqliteBackend {
    fn register_sinks(
        &mut self,
        setups: &[SinkSetup],
        latest_due: UnixMs,
        now: UnixMs,
    ) -> Result<Vec<RegisteredSink>, Error> {
        let registered: Vec<RegisteredSink> = self.transaction(|transaction| {
            transaction.execute("UPDATE sink SET active = 0", [])?;
            let registered = setups.iter().map(|setup| register(transaction, setup, now)).collect();
            transaction
                .execute("UPDATE delivery SET due = ?2 WHERE state = 'retry' AND due > ?1", [latest_due.0, now.0])?;
            registered
        })?;
        let id_of = |name: &String| {
            let place = setups.iter().position(|setup| setup.name == *name)?;
            registered.get(place).map(|registered| registered.id)
        };
        let recipient = |(registered, setup): (&RegisteredSink, &SinkSetup)| Recipient {
            id: registered.id,
            selection: setup.selection.clone(),
            ordered: setup.ordered,
            fallback: setup.fallback.as_ref().and_then(id_of),
            events: setup.events,
        };
        self.recipients = registered.iter().zip(setups).map(recipient).collect();
        Ok(registered)
    }

    fn backfill(&mut self, sink: SinkId, at_most: usize) -> Result<BackfillPortion, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|transaction| {
            let left: Option<(i64, i64, i64)> = transaction
                .prepare_cached(
                    "SELECT fill_next, fill_last, fill_since FROM sink WHERE id = ?1 AND fill_next IS NOT NULL",
                )?
                .query_row([sink.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((next, last, since)) = left else { return Ok(BackfillPortion { made: 0, more: false }) };
            let portion_ends: Option<i64> = transaction
                .prepare_cached(
                    "SELECT max(release_no) FROM (
                         SELECT release_no FROM message WHERE release_no >= ?1 AND release_no <= ?2
                         ORDER BY release_no LIMIT ?3)",
                )?
                .query_row(params![next, last, limit(at_most)], |row| row.get(0))?;
            let mut go_on = transaction.prepare_cached("UPDATE sink SET fill_next = ?2 WHERE id = ?1")?;
            let Some(ends) = portion_ends else {
                go_on.execute(params![sink.0, None::<i64>])?;
                return Ok(BackfillPortion { made: 0, more: false });
            };
            let recipient = recipients.iter().filter(|recipient| recipient.id == sink);
            let span = ReleaseSpan { after: next - 1, to: ends, since: UnixMs(since) };
            let made = recipient
                .map(|recipient| deliver(transaction, recipient, span, DeliveryClass::Backfill))
                .sum::<Result<_, _>>()?;
            let more = ends < last;
            go_on.execute(params![sink.0, more.then_some(ends + 1)])?;
            Ok(BackfillPortion { made, more })
        })
    }

    fn assign_number_queues(&mut self, sink: SinkId, after: Seq, at_most: usize) -> Result<Option<Seq>, Error> {
        self.transaction(|transaction| order::assign_number_queues(transaction, sink, after, at_most))
    }

    fn unconfigured_with_messages(&self) -> Result<Vec<(String, u64)>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, (SELECT count(*) FROM delivery WHERE sink = id AND state = 'undecided')
                                + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'fresh')
                                + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'retry') AS waiting
                     FROM sink WHERE active = 0 AND waiting > 0 ORDER BY name",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
                .collect()
        })
    }
}

fn register(transaction: &Transaction<'_>, sink: &SinkSetup, now: UnixMs) -> rusqlite::Result<RegisteredSink> {
    let known = transaction.prepare_cached("SELECT 1 FROM sink WHERE name = ?1")?.exists([&sink.name])?;
    let is_added = if known { false } else { add(transaction, sink, now)? };
    let registered = transaction
        .prepare_cached(
            "UPDATE sink SET active = 1, ordered = CASE WHEN ?2 THEN max(ordered, 1) ELSE 0 END WHERE name = ?1
             RETURNING id, busy_until, failures, ordered = 1, fill_next IS NOT NULL",
        )?
        .query_row(params![sink.name, sink.ordered], |row| {
            let id = SinkId(row.get(0)?);
            Ok(RegisteredSink {
                id,
                health: HealthRecord { busy_until: instant(row.get(1)?), failures: row.get(2)? },
                resumes: pauses::resume_count(transaction, id)?,
                is_added,
                needs_number_queues: row.get(3)?,
                needs_backfill: row.get(4)?,
            })
        })?;
    if sink.selection.number_use == NumberUse::Needed {
        make_undecided(transaction, registered.id)?;
    }
    let paused = pauses::pause_of(transaction, registered.id)?;
    if !sink.enabled {
        pauses::pause(transaction, registered.id, PauseReason::Disabled, now)?;
    } else if paused.is_some_and(|pause| pause.reason == PauseReason::Disabled) {
        pauses::end_pause(transaction, registered.id, now)?;
    }
    Ok(registered)
}

/// Adds a new sink. Returns whether the first page of the feed was stored before; `false` means that this is a first
/// run.
fn add(transaction: &Transaction<'_>, sink: &SinkSetup, now: UnixMs) -> rusqlite::Result<bool> {
    let has_messages = transaction.prepare_cached("SELECT 1 FROM coverage")?.exists([])?;
    let last = last_release(transaction)?;
    let since = sink.stored_since(now).filter(|_| has_messages && last > 0);
    transaction
        .prepare_cached(
            "INSERT INTO sink (id, name, active, created_at, fill_next, fill_last, fill_since)
             VALUES (?6, ?1, 1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            sink.name,
            now.0,
            since.map(|_| 1),
            since.map(|_| last),
            since.map(|since| since.0),
            next_id(transaction)?
        ])?;
    Ok(has_messages)
}

/// Returns an id that no sink ever had. A dropped sink leaves no record, but its id must not be given again. So a
/// counter apart from the sinks holds the highest id that a sink ever had.
fn next_id(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    count_ids(transaction)?;
    transaction
        .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'sinks' RETURNING value")?
        .query_row([], |row| row.get(0))
}

/// Raises the counter `sinks` (the highest id that a sink ever had) to at least the highest id of a present sink.
/// Earlier versions do not raise it when they give an id. So this function runs before a sink is added and before a
/// sink is dropped.
pub(super) fn count_ids(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('sinks', (SELECT coalesce(max(id), 0) FROM sink))
             ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute([])
        .map(drop)
}
