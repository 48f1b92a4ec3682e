//! Transactions at a start and at a reload: recording which sinks there are, and giving stored messages to a new sink.

use std::sync::Arc;

use super::numbers::make_undecided;
use super::order;
use super::pauses;
use super::release::{PlaceRange, inserts_of_deliveries, last_release};
use crate::domain::{DeliveryClass, NumberUse, PauseReason, Seq, UnixMs};
use crate::store::delivery::HealthRecord;
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, count, get, instant, limit, params, small};
use crate::store::recipient::Recipient;
use crate::store::registration::{BackfillPortion, RegisteredSink, RegistrationTransactions, SinkSetup};
use crate::store::sink_id::SinkId;

/// Raises the counter `sinks` (the highest id that a sink ever had) to at least the highest id of a present sink. The
/// counter is stored apart from the sinks, because a dropped sink leaves no record, and its id must not be given again.
pub(super) const COUNT_IDS: &str =
    "INSERT INTO counter (name, value) VALUES ('sinks', (SELECT coalesce(max(id), 0) FROM sink))
     ON CONFLICT (name) DO UPDATE SET value = greatest(counter.value, excluded.value)";

impl RegistrationTransactions for PostgresBackend {
    fn register_sinks(
        &mut self,
        setups: &[SinkSetup],
        latest_due: UnixMs,
        now: UnixMs,
    ) -> Result<Vec<RegisteredSink>, Error> {
        let registered: Vec<RegisteredSink> = self.transaction(|statements| {
            statements.later("UPDATE sink SET active = FALSE WHERE active", Vec::new());
            let registered = setups.iter().map(|setup| register(statements, setup, now)).collect();
            statements
                .later("UPDATE delivery SET due = $2 WHERE state = 'retry' AND due > $1", params![latest_due.0, now.0]);
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
        self.transaction(|statements| {
            let left = "SELECT fill_next, fill_last, fill_since FROM sink WHERE id = $1 AND fill_next IS NOT NULL";
            let Some(left) = statements.row(left, params![sink.0])? else {
                return Ok(BackfillPortion { made: 0, more: false });
            };
            let (next, last, since): (i64, i64, i64) = (get(&left, 0)?, get(&left, 1)?, get(&left, 2)?);
            let portion_ends: Option<i64> = statements
                .value(
                    "SELECT max(release_no) FROM (
                         SELECT release_no FROM message WHERE release_no >= $1 AND release_no <= $2
                         ORDER BY release_no LIMIT $3) AS portion",
                    params![next, last, limit(at_most)],
                )?
                .flatten();
            let go_on = "UPDATE sink SET fill_next = $2 WHERE id = $1";
            let Some(ends) = portion_ends else {
                statements.later(go_on, params![sink.0, None::<i64>]);
                return Ok(BackfillPortion { made: 0, more: false });
            };
            let recipient: Vec<&Recipient> = recipients.iter().filter(|recipient| recipient.id == sink).collect();
            let range = PlaceRange { after: next - 1, to: ends, since: UnixMs(since) };
            let mut made = 0;
            for (sql, params) in inserts_of_deliveries(statements, &recipient, range, DeliveryClass::Backfill)? {
                made += u64::try_from(statements.change(&sql, params)?).unwrap_or(0);
            }
            let more = ends < last;
            statements.later(go_on, params![sink.0, more.then_some(ends + 1)]);
            Ok(BackfillPortion { made, more })
        })
    }

    fn assign_number_queues(&mut self, sink: SinkId, after: Seq, at_most: usize) -> Result<Option<Seq>, Error> {
        self.transaction(|statements| order::assign_number_queues(statements, sink, after, at_most))
    }

    fn unconfigured_with_messages(&self) -> Result<Vec<(String, u64)>, Error> {
        self.read(|statements| {
            let rows = statements.rows(
                "SELECT name, waiting FROM (
                     SELECT name, (SELECT count(*) FROM delivery WHERE sink = id AND state = 'undecided')
                                + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'fresh')
                                + (SELECT count(*) FROM delivery WHERE sink = id AND state = 'retry') AS waiting
                     FROM sink WHERE NOT active) AS queues
                 WHERE waiting > 0 ORDER BY name",
                Vec::new(),
            )?;
            rows.iter().map(|row| Ok((get(row, 0)?, count(row, 1)?))).collect()
        })
    }
}

fn register(statements: &Statements<'_>, sink: &SinkSetup, now: UnixMs) -> Result<RegisteredSink, Failure> {
    let known = statements.exists("SELECT 1 FROM sink WHERE name = $1", params![&sink.name])?;
    let is_added = if known { false } else { add(statements, sink, now)? };
    let row = statements.row(
        "UPDATE sink SET active = TRUE, ordered = CASE WHEN $2 THEN greatest(ordered, 1) ELSE 0 END WHERE name = $1
         RETURNING id, busy_until, failures, ordered = 1, fill_next IS NOT NULL",
        params![&sink.name, sink.ordered],
    )?;
    let row = row.ok_or_else(|| Failure::unreadable(format!("the sink {}", sink.name)))?;
    let id = SinkId(get(&row, 0)?);
    let registered = RegisteredSink {
        id,
        health: HealthRecord { busy_until: instant(&row, 1)?, failures: small(&row, 2)? },
        resumes: pauses::resume_count(statements, id)?,
        is_added,
        needs_number_queues: get(&row, 3)?,
        needs_backfill: get(&row, 4)?,
    };
    if sink.selection.number_use == NumberUse::Needed {
        make_undecided(statements, id);
    }
    let paused = pauses::pause_of(statements, id)?;
    if !sink.enabled {
        pauses::pause(statements, id, PauseReason::Disabled, now)?;
    } else if paused.is_some_and(|pause| pause.reason == PauseReason::Disabled) {
        pauses::end_pause(statements, id, now)?;
    }
    Ok(registered)
}

/// Adds a new sink. Returns whether the first page was stored already: if not, this is a first run.
fn add(statements: &Statements<'_>, sink: &SinkSetup, now: UnixMs) -> Result<bool, Failure> {
    let has_messages = statements.exists("SELECT 1 FROM coverage", Vec::new())?;
    let last = last_release(statements)?;
    let since = sink.stored_since(now).filter(|_| has_messages && last > 0);
    statements.later(COUNT_IDS, Vec::new());
    // The new id is one that no sink ever had.
    statements.later(
        "WITH given AS (UPDATE counter SET value = value + 1 WHERE name = 'sinks' RETURNING value)
         INSERT INTO sink (id, name, active, created_at, fill_next, fill_last, fill_since)
         SELECT value, $1, TRUE, $2, $3, $4, $5 FROM given",
        vec![
            Param::from(&sink.name),
            Param::from(now.0),
            Param::from(since.map(|_| 1_i64)),
            Param::from(since.map(|_| last)),
            Param::from(since.map(|since| since.0)),
        ],
    );
    Ok(has_messages)
}
