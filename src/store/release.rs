//! Releasing messages: their place in the order in which they are handed on, and a delivery for each sink that wants them.
//!
//! Invariant: a message that was released has, for each sink of the configuration, either a delivery or a filter that does
//! not want it. Where that depends on details of the number that are not known yet, the delivery is undecided and waits.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::sink_id::SinkId;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::domain::{Class, NumberUse, Seq, StoreOp, UnixMs, WalkId};

/// Which messages a sink wants. The default is all.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// These; `None` = all.
    pub filter: Option<Filter>,
    /// What it shows of the number.
    pub number: NumberUse,
}

/// A sink of the configuration, and what it wants.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) id: SinkId,
    pub(super) wants: Wants,
    /// Whether it keeps the order of each number.
    pub(super) ordered: bool,
}

/// Messages by their place in the order of release, and not received before `since`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) after: i64,
    pub(super) to: i64,
    pub(super) since: UnixMs,
}

/// What releasing needs: the transaction it is part of, who wants what, and whether a text that nobody wants goes at once.
#[derive(Clone, Copy)]
pub(super) struct Releasing<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    pub(super) recipients: &'t [Recipient],
    pub(super) at_once: bool,
}

/// The order in which rows are handed on: by time; of equal times the one further down the page came first.
const OLDEST_FIRST: &str = "ORDER BY time, seq DESC";

/// Texts that were released after a place and are wanted by nobody go.
const UNWANTED: &str = "UPDATE message SET seq = seq, raw = NULL, sum = NULL
    WHERE release_no > ?1 AND raw IS NOT NULL AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = message.seq)";

impl Wants {
    /// Whether it wants all messages, whatever is known of their numbers.
    pub(super) fn all(&self) -> bool {
        self.filter.is_none() && self.number != NumberUse::Needed
    }

    /// Whether details of numbers have to be fetched for it.
    pub fn asks_for_numbers(&self) -> bool {
        self.number != NumberUse::Ignored || self.filter.as_ref().is_some_and(Filter::needs_details)
    }

    /// Decides on one message.
    pub fn decide(&self, facts: &Facts<'_>) -> FilterVerdict {
        match &self.filter {
            Some(filter) => match filter.decide(facts) {
                FilterVerdict::Wanted => self.decide_details(facts),
                other => other,
            },
            None => self.decide_details(facts),
        }
    }

    fn decide_details(&self, facts: &Facts<'_>) -> FilterVerdict {
        let waits = self.number == NumberUse::Needed && facts.lacks_details();
        if waits { FilterVerdict::Unknown("number") } else { FilterVerdict::Wanted }
    }
}

/// The places in the order of release of rows that are stored with them, instead of being changed right afterwards.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Seq, i64>);

impl Places {
    /// Of a row that is about to be stored, if it is released by the same commit.
    pub(super) fn of(&self, seq: Seq) -> Option<i64> {
        self.0.get(&seq).copied()
    }
}

impl Releasing<'_> {
    /// The places that the changes of a commit give to rows of their own. They are known beforehand for its first
    /// release only, and only where that is of nothing but such rows; all others are placed when they are released.
    pub(super) fn places(self, ops: &[StoreOp]) -> rusqlite::Result<Places> {
        let is_release = |op: &StoreOp| matches!(op, StoreOp::Release { .. } | StoreOp::ReleaseHeld { .. });
        let (before, from_first) = ops.split_at(ops.iter().position(is_release).unwrap_or(ops.len()));
        let Some(StoreOp::Release { rows, .. }) = from_first.first() else { return Ok(Places::default()) };
        let times: HashMap<Seq, UnixMs> = before
            .iter()
            .filter_map(|op| match op {
                StoreOp::Insert(insert) => Some((insert.seq, insert.row.time)),
                _ => None,
            })
            .collect();
        let timed: Option<Vec<_>> = rows.iter().map(|seq| Some((times.get(seq)?.0, Reverse(seq.0)))).collect();
        let Some(timed) = timed else { return Ok(Places::default()) };
        let base = last_release(self.transaction)?;
        Ok(Places(placed(timed, base).collect()))
    }

    /// Hands these rows on, oldest first; those that have no place yet get theirs.
    pub(super) fn rows(self, rows: &[Seq], places: &Places, class: Class) -> rusqlite::Result<()> {
        let base = last_release(self.transaction)?;
        if rows.iter().any(|seq| places.of(*seq).is_none()) {
            self.place(rows, base)?;
        }
        self.make_deliveries(base, class)
    }

    fn place(self, rows: &[Seq], base: i64) -> rusqlite::Result<()> {
        let mut timed = Vec::with_capacity(rows.len());
        let mut time_of = self.transaction.prepare_cached("SELECT time FROM message WHERE seq = ?1")?;
        for seq in rows {
            timed.push((time_of.query_row([seq.0], |row| row.get::<_, i64>(0))?, Reverse(seq.0)));
        }
        let mut number =
            self.transaction.prepare_cached("UPDATE message SET release_no = ?2, held_by = NULL WHERE seq = ?1")?;
        for (seq, place) in placed(timed, base) {
            number.execute(params![seq.0, place])?;
        }
        Ok(())
    }

    /// Hands on all that a gap holds, oldest first.
    pub(super) fn held_by(self, walk: WalkId, class: Class) -> rusqlite::Result<()> {
        let base = last_release(self.transaction)?;
        self.transaction
            .prepare_cached(&format!(
                "UPDATE message SET release_no = ?2 + ranked.place, held_by = NULL
                 FROM (SELECT seq AS held, row_number() OVER ({OLDEST_FIRST}) AS place FROM message WHERE held_by = ?1)
                      AS ranked
                 WHERE message.seq = ranked.held"
            ))?
            .execute(params![walk.0, base])?;
        self.make_deliveries(base, class)
    }

    /// Delivery rows for all that was released after `base`, one for each sink that wants it.
    fn make_deliveries(self, base: i64, class: Class) -> rusqlite::Result<()> {
        let released = Span { after: base, to: i64::MAX, since: UnixMs::MIN };
        for recipient in self.recipients {
            deliver(self.transaction, recipient, released, class)?;
        }
        if self.at_once {
            self.transaction.prepare_cached(UNWANTED)?.execute([base])?;
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO counter (name, value)
                 SELECT 'released', max(release_no) FROM message WHERE release_no > ?1 HAVING count(*) > 0
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute([base])
            .map(drop)
    }
}

/// The places after `base` of rows that are released together: by time; of equal times the one further down the page came
/// first, as in [`OLDEST_FIRST`].
fn placed(mut rows: Vec<(i64, Reverse<i64>)>, base: i64) -> impl Iterator<Item = (Seq, i64)> {
    rows.sort_unstable();
    rows.into_iter().map(|(_, Reverse(seq))| Seq(seq)).zip(base + 1..)
}

/// The place of the row that was released last. It is kept apart from the rows, which may be forgotten.
pub(super) fn last_release(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'released'")?
        .query_row([], |row| row.get(0))
        .optional()
        .map(|count| count.unwrap_or(0))
}

/// Writes down which place was given last.
pub(super) fn put_last_release(connection: &Connection, place: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('released', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([place])
        .map(drop)
}

/// Makes a delivery of each message of a span that the sink wants and has no row for. Returns how many.
pub(super) fn deliver(
    transaction: &Transaction<'_>,
    recipient: &Recipient,
    Span { after, to, since }: Span,
    class: Class,
) -> rusqlite::Result<u64> {
    if !recipient.wants.all() {
        return deliver_wanted(transaction, recipient, Span { after, to, since }, class);
    }
    transaction
        .prepare_cached(
            "INSERT INTO delivery (seq, sink, class, release_no, state, number)
             SELECT seq, ?4, ?5, release_no, 'fresh', CASE WHEN ?6 THEN coalesce(number, 0) END FROM message
             WHERE release_no > ?1 AND release_no <= ?2 AND time >= ?3 AND raw IS NOT NULL
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![after, to, since.0, recipient.id.0, class_number(class), recipient.ordered])
        .map(|made| u64::try_from(made).unwrap_or(0))
}

/// The same for a sink that does not want everything: each message is looked at.
fn deliver_wanted(
    transaction: &Transaction<'_>,
    recipient: &Recipient,
    span: Span,
    class: Class,
) -> rusqlite::Result<u64> {
    let mut released = transaction.prepare_cached(
        "SELECT seq, release_no, raw, message.number IS NULL OR fetched_at IS NOT NULL, details,
                coalesce(message.number, 0)
         FROM message LEFT JOIN number ON number.key = message.number
         WHERE release_no > ?1 AND release_no <= ?2 AND time >= ?3 AND raw IS NOT NULL ORDER BY release_no",
    )?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO delivery (seq, sink, class, release_no, state, number) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO NOTHING",
    )?;
    let mut rows = released.query(params![span.after, span.to, span.since.0])?;
    let mut made = 0;
    while let Some(row) = rows.next()? {
        let (seq, release_no): (i64, i64) = (row.get(0)?, row.get(1)?);
        let raw = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
        let details = details(row.get(3)?, row.get_ref(4)?.as_str_or_null()?);
        let state = match recipient.wants.decide(&Facts::read(raw, details)) {
            FilterVerdict::Wanted => "fresh",
            FilterVerdict::Unknown(_) => "undecided",
            FilterVerdict::Unwanted(_) => continue,
        };
        let number = if recipient.ordered { Some(row.get::<_, i64>(5)?) } else { None };
        let values = params![seq, recipient.id.0, class_number(class), release_no, state, number];
        made += u64::try_from(insert.execute(values)?).unwrap_or(0);
    }
    Ok(made)
}

/// What is known of a number: whether the API was asked, and what it said.
pub(super) fn details(asked: bool, row: Option<&str>) -> Details<'_> {
    match row {
        Some(row) => Details::Known(row),
        None if asked => Details::Absent,
        None => Details::Unknown,
    }
}

pub(super) fn class_number(class: Class) -> i64 {
    match class {
        Class::Live => 0,
        Class::Backfill => 1,
    }
}
