//! Transactions of the start: which sinks there are, and what a new one begins with.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::delivery::HealthRecord;
use super::error::Error;
use super::number_details::put_off;
use super::operator::{self, Resumes};
use super::release::{Recipient, Span, Wants, deliver, last_release};
use super::sink_id::SinkId;
use super::spool::Spool;
use crate::domain::{Class, NumberUse, PauseReason, Start, UnixMs};

/// A sink as the store has to know it.
#[derive(Clone, Debug)]
pub struct SinkSetup {
    /// Its name in the configuration, the key of its state.
    pub name: String,
    /// Which messages it wants.
    pub wants: Wants,
    /// Whether it keeps the order of each number.
    pub ordered: bool,
    /// Which retained messages it gets if it is new beside messages.
    pub start: Start,
    /// If not, it is paused until a start with another word.
    pub enabled: bool,
}

impl SinkSetup {
    /// A sink that wants everything, in no order, from now on.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), wants: Wants::default(), ordered: false, start: Start::Now, enabled: true }
    }
}

/// A sink as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it is called there.
    pub id: SinkId,
    /// Its health, as the last process left it.
    pub health: HealthRecord,
    /// How often somebody has resumed it so far.
    pub resumes: Resumes,
    /// Whether it came just now, beside messages.
    pub is_added: bool,
    /// Whether rows have to get their numbers before the order can be kept: [`Spool::number_rows`].
    pub lacks_numbers: bool,
    /// Whether there are messages that it begins with and does not have yet: [`Spool::fill`].
    pub lacks_messages: bool,
}

/// One step of giving a new sink the messages that it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// So many.
    pub made: u64,
    /// Whether there are more.
    pub more: bool,
}

impl Spool {
    /// Names the sinks that the configuration has now. Messages released from now on go to those that want them; the rows
    /// of others stay as they are. Due times after `latest_due` were written by a clock that was ahead: they are due `now`.
    ///
    /// A name that is not known yet gets, beside what comes, what its `start` says of the messages that were released
    /// already; not on a first run, where `poll.start` has said it for all.
    ///
    /// Returns what is known of each, in the order of `setups`.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn register_sinks(
        &mut self,
        setups: &[SinkSetup],
        latest_due: UnixMs,
        now: UnixMs,
    ) -> Result<Vec<Registered>, Error> {
        let registered: Vec<Registered> = self.transaction(|transaction| {
            transaction.execute("UPDATE sink SET active = 0", [])?;
            let registered = setups.iter().map(|setup| register(transaction, setup, now)).collect();
            transaction
                .execute("UPDATE delivery SET due = ?2 WHERE state = 'retry' AND due > ?1", [latest_due.0, now.0])?;
            registered
        })?;
        let recipient = |(registered, setup): (&Registered, &SinkSetup)| Recipient {
            id: registered.id,
            wants: setup.wants.clone(),
            ordered: setup.ordered,
        };
        self.recipients = registered.iter().zip(setups).map(recipient).collect();
        Ok(registered)
    }

    /// Gives a new sink what it wants of about `at_most` of the messages that it begins with, as a catch-up.
    ///
    /// # Errors
    /// As for [`Spool::commit`].
    pub fn fill(&mut self, sink: SinkId, at_most: usize) -> Result<Filled, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|transaction| {
            let left: Option<(i64, i64, i64)> = transaction
                .prepare_cached(
                    "SELECT fill_next, fill_last, fill_since FROM sink WHERE id = ?1 AND fill_next IS NOT NULL",
                )?
                .query_row([sink.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((next, last, since)) = left else { return Ok(Filled { made: 0, more: false }) };
            let chunk_ends: Option<i64> = transaction
                .prepare_cached(
                    "SELECT max(release_no) FROM (
                         SELECT release_no FROM message WHERE release_no >= ?1 AND release_no <= ?2
                         ORDER BY release_no LIMIT ?3)",
                )?
                .query_row(params![next, last, i64::try_from(at_most).unwrap_or(i64::MAX)], |row| row.get(0))?;
            let mut go_on = transaction.prepare_cached("UPDATE sink SET fill_next = ?2 WHERE id = ?1")?;
            let Some(ends) = chunk_ends else {
                go_on.execute(params![sink.0, None::<i64>])?;
                return Ok(Filled { made: 0, more: false });
            };
            let recipient = recipients.iter().filter(|recipient| recipient.id == sink);
            let span = Span { after: next - 1, to: ends, since: UnixMs(since) };
            let made = recipient
                .map(|recipient| deliver(transaction, recipient, span, Class::Backfill))
                .sum::<Result<_, _>>()?;
            let more = ends < last;
            go_on.execute(params![sink.0, more.then_some(ends + 1)])?;
            Ok(Filled { made, more })
        })
    }
}

fn register(transaction: &Transaction<'_>, sink: &SinkSetup, now: UnixMs) -> rusqlite::Result<Registered> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT id FROM sink WHERE name = ?1")?
        .query_row([&sink.name], |row| row.get(0))
        .optional()?;
    let is_added = match known {
        Some(_) => false,
        None => add(transaction, sink, now)?,
    };
    let registered = transaction
        .prepare_cached(
            "UPDATE sink SET active = 1, ordered = CASE WHEN ?2 THEN max(ordered, 1) ELSE 0 END WHERE name = ?1
             RETURNING id, busy_until, failures, ordered = 1, fill_next IS NOT NULL",
        )?
        .query_row(params![sink.name, sink.ordered], |row| {
            let health = HealthRecord { busy_until: row.get::<_, Option<i64>>(1)?.map(UnixMs), failures: row.get(2)? };
            let id = SinkId(row.get(0)?);
            Ok(Registered {
                id,
                health,
                resumes: operator::resumes(transaction, id)?,
                is_added,
                lacks_numbers: row.get(3)?,
                lacks_messages: row.get(4)?,
            })
        })?;
    if sink.wants.number == NumberUse::Needed {
        put_off(transaction, registered.id)?;
    }
    if !sink.enabled {
        operator::pause(transaction, registered.id, PauseReason::Disabled, now)?;
    } else if operator::pause_of(transaction, registered.id)?.is_some_and(|pause| pause.reason == PauseReason::Disabled)
    {
        operator::resume(transaction, registered.id, now)?;
    }
    Ok(registered)
}

/// Returns whether it came beside messages.
fn add(transaction: &Transaction<'_>, sink: &SinkSetup, now: UnixMs) -> rusqlite::Result<bool> {
    let beside = transaction.prepare_cached("SELECT 1 FROM coverage")?.exists([])?;
    let since = match sink.start {
        Start::Now => None,
        Start::Beginning => Some(UnixMs::MIN),
        Start::At(instant) => Some(instant),
        Start::Back(span) => Some(now.before(span)),
    };
    let last = last_release(transaction)?;
    let since = since.filter(|_| beside && last > 0);
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
    Ok(beside)
}

/// An id that no sink has or had. Ids that were given are counted beside the sinks, since these can be dropped.
fn next_id(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    count_ids(transaction)?;
    transaction
        .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'sinks' RETURNING value")?
        .query_row([], |row| row.get(0))
}

/// Counts the ids of all sinks that there are as given. Earlier versions do not count, so it is done before a sink comes and
/// before one goes.
pub(super) fn count_ids(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('sinks', (SELECT coalesce(max(id), 0) FROM sink))
             ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute([])
        .map(drop)
}
