//! Releasing messages: their place in the order in which they are handed on, and a delivery for each sink that wants them.
//!
//! Invariant: a message that was released has, for each sink of the configuration, either a delivery or a filter that does
//! not want it. Where that depends on details of the number that are not known yet, the delivery is undecided and waits.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::delivery::SinkId;
use crate::domain::filter::{Details, Facts, Filter, Verdict};
use crate::domain::{Class, Seq, WalkId};

/// Which messages a sink wants. The default is all.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// These; `None` = all.
    pub filter: Option<Filter>,
    /// What it gets speaks of the number, so messages wait until its details are known.
    pub needs_details: bool,
}

/// A sink of the configuration, and what it wants.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) id: SinkId,
    pub(super) wants: Wants,
}

/// What releasing needs: the transaction it is part of, and who wants what.
#[derive(Clone, Copy)]
pub(super) struct Releasing<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    pub(super) recipients: &'t [Recipient],
}

/// The order in which rows are handed on: by time; of equal times the one further down the page came first.
const OLDEST_FIRST: &str = "ORDER BY time, seq DESC";

impl Wants {
    /// Whether it wants all messages, whatever is known of their numbers.
    pub(super) fn all(&self) -> bool {
        self.filter.is_none() && !self.needs_details
    }

    pub(super) fn decide(&self, facts: &Facts<'_>) -> Verdict {
        match &self.filter {
            Some(filter) => match filter.decide(facts) {
                Verdict::Wanted => self.decide_details(facts),
                other => other,
            },
            None => self.decide_details(facts),
        }
    }

    fn decide_details(&self, facts: &Facts<'_>) -> Verdict {
        if self.needs_details && facts.lacks_details() { Verdict::Unknown("number") } else { Verdict::Wanted }
    }
}

impl Releasing<'_> {
    /// Hands these rows on, oldest first.
    pub(super) fn rows(self, rows: &[Seq], class: Class) -> rusqlite::Result<()> {
        let mut timed = Vec::with_capacity(rows.len());
        let mut time_of = self.transaction.prepare_cached("SELECT time FROM message WHERE seq = ?1")?;
        for seq in rows {
            timed.push((time_of.query_row([seq.0], |row| row.get::<_, i64>(0))?, std::cmp::Reverse(seq.0)));
        }
        timed.sort_unstable();
        let base = self.last_release()?;
        let mut number =
            self.transaction.prepare_cached("UPDATE message SET release_no = ?2, held_by = NULL WHERE seq = ?1")?;
        for (place, (_, seq)) in (base + 1..).zip(timed) {
            number.execute(params![seq.0, place])?;
        }
        self.make_deliveries(base, class)
    }

    /// Hands on all that a gap holds, oldest first.
    pub(super) fn held_by(self, walk: WalkId, class: Class) -> rusqlite::Result<()> {
        let base = self.last_release()?;
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

    /// The number of the row that was released last. It is kept apart from the rows, which may be forgotten.
    fn last_release(self) -> rusqlite::Result<i64> {
        self.transaction
            .prepare_cached("SELECT value FROM counter WHERE name = 'released'")?
            .query_row([], |row| row.get(0))
            .optional()
            .map(|count| count.unwrap_or(0))
    }

    /// Delivery rows for all that was released after `base`, one for each sink that wants it.
    fn make_deliveries(self, base: i64, class: Class) -> rusqlite::Result<()> {
        let mut for_all = self.transaction.prepare_cached(
            "INSERT INTO delivery (seq, sink, class, release_no, state)
             SELECT seq, ?2, ?3, release_no, 'fresh' FROM message WHERE release_no > ?1",
        )?;
        for recipient in self.recipients.iter().filter(|recipient| recipient.wants.all()) {
            for_all.execute(params![base, recipient.id.0, class_number(class)])?;
        }
        self.make_wanted(base, class)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO counter (name, value)
                 SELECT 'released', max(release_no) FROM message WHERE release_no > ?1 HAVING count(*) > 0
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute([base])
            .map(drop)
    }

    /// The same for the sinks that do not want everything: each message is looked at.
    fn make_wanted(self, base: i64, class: Class) -> rusqlite::Result<()> {
        let choosy: Vec<&Recipient> = self.recipients.iter().filter(|recipient| !recipient.wants.all()).collect();
        if choosy.is_empty() {
            return Ok(());
        }
        let mut released = self.transaction.prepare_cached(
            "SELECT seq, release_no, raw, message.number IS NULL OR fetched_at IS NOT NULL, details
             FROM message LEFT JOIN number ON number.key = message.number
             WHERE release_no > ?1 ORDER BY release_no",
        )?;
        let mut insert = self
            .transaction
            .prepare_cached("INSERT INTO delivery (seq, sink, class, release_no, state) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let mut rows = released.query([base])?;
        while let Some(row) = rows.next()? {
            let (seq, release_no): (i64, i64) = (row.get(0)?, row.get(1)?);
            let raw = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
            let details = details(row.get(3)?, row.get_ref(4)?.as_str_or_null()?);
            let facts = Facts::read(raw, details);
            for recipient in &choosy {
                let state = match recipient.wants.decide(&facts) {
                    Verdict::Wanted => "fresh",
                    Verdict::Unknown(_) => "undecided",
                    Verdict::Unwanted(_) => continue,
                };
                insert.execute(params![seq, recipient.id.0, class_number(class), release_no, state])?;
            }
        }
        Ok(())
    }
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
