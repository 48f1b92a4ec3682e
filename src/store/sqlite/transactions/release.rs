//! Releasing messages: each message gets its place in the order of release, and a delivery for each sink that wants it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::values::class_number;
use crate::domain::filter::{Facts, FilterVerdict};
use crate::domain::{DeliveryClass, PollChange, Seq, UnixMs, WalkId};
use crate::store::delivery_state::DeliveryState;
use crate::store::message_selection::details;
use crate::store::recipient::Recipient;
use crate::store::release_order::{in_order, places_of_first_release};

/// The messages whose place in the order of release is above `after` and at most `to`, and that were received at
/// `since` or later.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReleaseSpan {
    pub(super) after: i64,
    pub(super) to: i64,
    pub(super) since: UnixMs,
}

/// The values that a release needs.
#[derive(Clone, Copy)]
pub(super) struct Releaser<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    pub(super) recipients: &'t [Recipient],
    /// Whether a text that no sink wants is removed.
    pub(super) erase_unwanted: bool,
    /// Whether each text is stored on database pages of its own, so that it can be overwritten completely.
    pub(super) on_own_pages: bool,
}

/// The order in which messages are released: the oldest first. Of two messages with the same time, the one further down
/// the page comes first; it has the higher sequence number.
const OLDEST_FIRST: &str = "ORDER BY time, seq DESC";

/// Removes the texts of messages that no sink wants and whose place in the order of release is above ?1.
const UNWANTED: &str = "UPDATE message SET seq = seq, raw = NULL, sum = NULL
    WHERE release_no > ?1 AND raw IS NOT NULL AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = message.seq)";

/// A place in the order of release for each message of the first release of a commit. These places are known before
/// the messages are stored. So each message is stored with its place, and its record is written only once.
#[derive(Debug, Default)]
pub(super) struct ReleasePlaces(HashMap<Seq, i64>);

impl ReleasePlaces {
    /// Returns the place of a message that is about to be stored, if the place is known.
    pub(super) fn of(&self, seq: Seq) -> Option<i64> {
        self.0.get(&seq).copied()
    }
}

impl Releaser<'_> {
    /// Finds the places for the messages of the first release of a commit. They are known only if the same commit
    /// stores all these messages before it releases them; otherwise the result is empty. All other messages get their
    /// places when they are released.
    pub(super) fn places(self, changes: &[PollChange]) -> rusqlite::Result<ReleasePlaces> {
        let places = places_of_first_release(changes);
        if places.is_empty() {
            return Ok(ReleasePlaces::default());
        }
        let base = last_release(self.transaction)?;
        Ok(ReleasePlaces(places.into_iter().map(|(seq, place)| (seq, base + place)).collect()))
    }

    /// Releases these messages, oldest first. If `places` lacks one of them, all of them get their places now.
    pub(super) fn rows(self, rows: &[Seq], places: &ReleasePlaces, class: DeliveryClass) -> rusqlite::Result<()> {
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
            timed.push((time_of.query_row([seq.0], |row| row.get(0).map(UnixMs))?, *seq));
        }
        let mut number =
            self.transaction.prepare_cached("UPDATE message SET release_no = ?2, held_by = NULL WHERE seq = ?1")?;
        for (seq, place) in in_order(timed).zip(base + 1..) {
            number.execute(params![seq.0, place])?;
        }
        Ok(())
    }

    /// Releases all messages that a gap holds, oldest first.
    pub(super) fn held_by(self, walk: WalkId, class: DeliveryClass) -> rusqlite::Result<()> {
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

    /// Makes deliveries of all messages whose place in the order of release is above `base`: one for each sink that
    /// wants the message. Then removes the texts that no sink wants, if they are to be erased, and records the last
    /// place.
    fn make_deliveries(self, base: i64, class: DeliveryClass) -> rusqlite::Result<()> {
        let released = ReleaseSpan { after: base, to: i64::MAX, since: UnixMs::MIN };
        for recipient in self.recipients {
            deliver(self.transaction, recipient, released, class)?;
        }
        if self.erase_unwanted {
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

/// Reads the place of the message that was released last. The place is stored apart from the messages, because old
/// messages are removed.
pub(super) fn last_release(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'released'")?
        .query_row([], |row| row.get(0))
        .optional()
        .map(|count| count.unwrap_or(0))
}

/// Records the place in the order of release that was given last.
pub(super) fn put_last_release(connection: &Connection, place: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('released', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([place])
        .map(drop)
}

/// Makes deliveries of the messages in a span for one sink: one for each message that the sink wants and of which it
/// has no delivery yet. Returns how many deliveries were made.
pub(super) fn deliver(
    transaction: &Transaction<'_>,
    recipient: &Recipient,
    ReleaseSpan { after, to, since }: ReleaseSpan,
    class: DeliveryClass,
) -> rusqlite::Result<u64> {
    if !recipient.selection.selects_all() {
        return deliver_wanted(transaction, recipient, ReleaseSpan { after, to, since }, class);
    }
    transaction
        .prepare_cached(
            "INSERT INTO delivery (seq, sink, class, release_no, state, number)
             SELECT seq, ?4, ?5, release_no, 'fresh', CASE WHEN ?6 THEN coalesce(number, 0) END FROM message
             WHERE release_no > ?1 AND release_no <= ?2 AND time >= ?3 AND raw IS NOT NULL AND (?7 OR event IS NULL)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![after, to, since.0, recipient.id.0, class_number(class), recipient.ordered, recipient.events])
        .map(|made| u64::try_from(made).unwrap_or(0))
}

/// Does the work of [`deliver`] for a sink whose selection has to decide on each message.
fn deliver_wanted(
    transaction: &Transaction<'_>,
    recipient: &Recipient,
    span: ReleaseSpan,
    class: DeliveryClass,
) -> rusqlite::Result<u64> {
    let mut released = transaction.prepare_cached(
        "SELECT seq, release_no, raw, message.number IS NULL OR fetched_at IS NOT NULL, details,
                coalesce(message.number, 0), event IS NOT NULL
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
        let state = match recipient.decide(row.get(6)?, &Facts::read(raw, details)) {
            FilterVerdict::Wanted => DeliveryState::Fresh,
            FilterVerdict::Unknown(_) => DeliveryState::Undecided,
            FilterVerdict::Unwanted(_) => continue,
        };
        let number = if recipient.ordered { Some(row.get::<_, i64>(5)?) } else { None };
        let values = params![seq, recipient.id.0, class_number(class), release_no, state, number];
        made += u64::try_from(insert.execute(values)?).unwrap_or(0);
    }
    Ok(made)
}
