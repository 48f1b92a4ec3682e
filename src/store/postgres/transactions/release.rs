//! Releasing messages: each message gets its place in the order of release, and a delivery for each sink that wants it.

use std::collections::HashMap;

use tokio_postgres::Row as PgRow;

use super::values::class_number;
use crate::domain::filter::{Facts, FilterVerdict};
use crate::domain::{DeliveryClass, Seq, UnixMs, WalkId};
use crate::store::delivery_state::DeliveryState;
use crate::store::message_selection::details;
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::{Failure, Param, get, maybe_text, params};
use crate::store::recipient::Recipient;

/// Records the highest place in the order of release so far. $1 is the highest place before the present release.
const COUNT_RELEASES: &str = "UPDATE counter SET value = released.place
    FROM (SELECT max(release_no) AS place FROM message WHERE release_no > $1) AS released
    WHERE name = 'released' AND released.place IS NOT NULL";

/// Removes the texts of messages that no sink wants and whose place in the order of release is above $1.
const UNWANTED: &str = "UPDATE message SET raw = NULL
    WHERE release_no > $1 AND raw IS NOT NULL AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = message.seq)";

/// The condition that holds for the messages of a [`PlaceRange`] whose text is kept.
const IN_RANGE: &str = "release_no > $1 AND release_no <= $2 AND time >= $3 AND raw IS NOT NULL";

/// The messages whose place in the order of release is above `after` and at most `to`, and that were received at
/// `since` or later.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceRange {
    pub(super) after: i64,
    pub(super) to: i64,
    pub(super) since: UnixMs,
}

/// The values that a release needs.
#[derive(Clone, Copy)]
pub(super) struct Releasing<'t> {
    pub(super) statements: &'t Statements<'t>,
    pub(super) recipients: &'t [Recipient],
    /// Whether a text that no sink wants is removed.
    pub(super) erase_unwanted: bool,
}

/// Releases these messages, oldest first. `places`: the messages that were stored together with their places. If one of
/// the released messages is not among these, all released messages get their places now.
pub(super) fn release_rows(
    releasing: Releasing<'_>,
    rows: &[Seq],
    places: &HashMap<Seq, i64>,
    class: DeliveryClass,
) -> Result<(), Failure> {
    let base = last_release(releasing.statements)?;
    if rows.iter().any(|seq| !places.contains_key(seq)) {
        releasing.place(base, "seq = ANY ($2)", Param::numbers(rows.iter().map(|seq| seq.0)));
    }
    releasing.make_deliveries(base, class)
}

impl Releasing<'_> {
    /// Releases all messages that a gap holds, oldest first.
    pub(super) fn held_by(self, walk: WalkId, class: DeliveryClass) -> Result<(), Failure> {
        let base = last_release(self.statements)?;
        self.place(base, "held_by = $2", Param::from(walk.0));
        self.make_deliveries(base, class)
    }

    /// Gives the places after `base` to the messages that meet a condition, in the order of
    /// [`crate::store::release_order`].
    fn place(self, base: i64, condition: &str, param: Param) {
        self.statements.later(
            format!(
                "UPDATE message SET release_no = $1 + ranked.place, held_by = NULL
                 FROM (SELECT seq AS held, row_number() OVER (ORDER BY time, seq DESC) AS place
                       FROM message WHERE {condition}) AS ranked
                 WHERE message.seq = ranked.held"
            ),
            vec![Param::from(base), param],
        );
    }

    /// Makes deliveries of all messages whose place in the order of release is above `base`: one for each sink that
    /// wants the message.
    fn make_deliveries(self, base: i64, class: DeliveryClass) -> Result<(), Failure> {
        let released = PlaceRange { after: base, to: i64::MAX, since: UnixMs::MIN };
        let recipients: Vec<&Recipient> = self.recipients.iter().collect();
        for (sql, params) in inserts_of_deliveries(self.statements, &recipients, released, class)? {
            self.statements.later(sql, params);
        }
        if self.erase_unwanted {
            self.statements.later(UNWANTED, params![base]);
        }
        self.statements.later(COUNT_RELEASES, params![base]);
        Ok(())
    }
}

/// Reads the place of the message that was released last. The place is stored apart from the messages, because old
/// messages are removed.
pub(super) fn last_release(statements: &Statements<'_>) -> Result<i64, Failure> {
    Ok(statements.value("SELECT value FROM counter WHERE name = 'released'", Vec::new())?.unwrap_or(0))
}

/// Returns statements that make deliveries: for each message of the range, one delivery for each recipient that wants
/// the message and has no delivery of it yet. No two statements make the same delivery.
pub(super) fn inserts_of_deliveries(
    statements: &Statements<'_>,
    recipients: &[&Recipient],
    range: PlaceRange,
    class: DeliveryClass,
) -> Result<Vec<(String, Vec<Param>)>, Failure> {
    let (all, choosy): (Vec<_>, Vec<_>) =
        recipients.iter().copied().partition(|recipient| recipient.selection.selects_all());
    let mut params = params![range.after, range.to, range.since.0];
    let mut inserts = Vec::new();
    if !choosy.is_empty() {
        let released = format!(
            "SELECT seq, release_no, raw, message.number IS NULL OR fetched_at IS NOT NULL, details,
                    coalesce(message.number, 0), standing = 'event'
             FROM message LEFT JOIN number ON number.key = message.number WHERE {IN_RANGE} ORDER BY release_no"
        );
        inserts.extend(insert_of_wanted(&choosy, &statements.rows(&released, params.clone())?, class)?);
    }
    if !all.is_empty() {
        params.extend([
            Param::from(class_number(class)),
            Param::numbers(all.iter().map(|recipient| recipient.id.0)),
            Param::Flags(all.iter().map(|recipient| recipient.ordered).collect()),
            Param::Flags(all.iter().map(|recipient| recipient.events).collect()),
        ]);
        let insert = format!(
            "INSERT INTO delivery (seq, sink, class, release_no, state, number)
             SELECT seq, recipient.sink, $4, release_no, 'fresh',
                    CASE WHEN recipient.ordered THEN coalesce(number, 0) END
             FROM message CROSS JOIN unnest($5::bigint[], $6::boolean[], $7::boolean[])
                  AS recipient (sink, ordered, events)
             WHERE {IN_RANGE} AND (standing <> 'event' OR events) ON CONFLICT DO NOTHING"
        );
        inserts.push((insert, params));
    }
    Ok(inserts)
}

/// Returns the statement that makes the deliveries for recipients that do not want every message. Their selections
/// decide on each of the messages `rows`. Returns `None` if no recipient wants any of these messages.
fn insert_of_wanted(
    recipients: &[&Recipient],
    rows: &[PgRow],
    class: DeliveryClass,
) -> Result<Option<(String, Vec<Param>)>, Failure> {
    let (mut seqs, mut sinks, mut places, mut states, mut numbers) = (vec![], vec![], vec![], vec![], vec![]);
    for row in rows {
        let (raw, number_json) = (maybe_text(row, 2)?, maybe_text(row, 4)?);
        let details = details(get(row, 3)?, number_json.as_deref());
        let facts = Facts::read(raw.as_deref().unwrap_or_default(), details);
        let is_event = get(row, 6)?;
        for recipient in recipients {
            let state = match recipient.decide(is_event, &facts) {
                FilterVerdict::Wanted => DeliveryState::Fresh,
                FilterVerdict::Unknown(_) => DeliveryState::Undecided,
                FilterVerdict::Unwanted(_) => continue,
            };
            seqs.push(Some(get(row, 0)?));
            sinks.push(Some(recipient.id.0));
            places.push(Some(get(row, 1)?));
            states.push(Some(state.as_str().to_owned()));
            numbers.push(if recipient.ordered { Some(get(row, 5)?) } else { None });
        }
    }
    let insert = "INSERT INTO delivery (seq, sink, class, release_no, state, number)
        SELECT made.seq, made.sink, $1, made.release_no, made.state, made.number
        FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[])
             AS made (seq, sink, release_no, state, number)
        ON CONFLICT DO NOTHING";
    let is_empty = seqs.is_empty();
    let params = vec![
        Param::from(class_number(class)),
        Param::Numbers(seqs),
        Param::Numbers(sinks),
        Param::Numbers(places),
        Param::Words(states),
        Param::Numbers(numbers),
    ];
    Ok((!is_empty).then(|| (insert.to_owned(), params)))
}
