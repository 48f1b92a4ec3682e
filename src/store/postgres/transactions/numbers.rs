//! Transactions on numbers and on undecided deliveries.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row as PgRow;

use super::fallback::hand_over;
use super::retention::erase_if_done;
use crate::domain::filter::{Facts, FilterVerdict};
use crate::domain::{DeadReason, Seq, UnixMs};
use crate::store::error::Error;
use crate::store::message_selection::details;
use crate::store::numbers::{
    DECIDE_BATCH, DecidedUpTo, MAX_UNUSED_NUMBERS, NO_DETAILS, NumberDetails, NumberKey, NumberTransactions,
    UndecidedScope,
};
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, get, maybe_text, params};
use crate::store::recipient::Recipient;
use crate::store::sink_id::SinkId;

impl NumberTransactions for PostgresBackend {
    fn record_numbers(&mut self, numbers: &[(&str, &str)], now: UnixMs) -> Result<(), Error> {
        // If a number occurs twice in the list, its last details count.
        let mut latest: HashMap<&str, (usize, &str)> = HashMap::new();
        for (place, (id, details)) in numbers.iter().enumerate() {
            latest.entry(id).or_insert((place, details)).1 = details;
        }
        let mut latest: Vec<(usize, &str, &str)> =
            latest.into_iter().map(|(id, (place, details))| (place, id, details)).collect();
        latest.sort_unstable();
        let ids = Param::byte_texts(latest.iter().map(|number| number.1));
        let details = Param::byte_texts(latest.iter().map(|number| number.2));
        self.transaction(|statements| {
            statements.later(
                "UPDATE number SET details = told.details, fetched_at = $3
                 FROM unnest($1::bytea[], $2::bytea[]) AS told (id, details) WHERE number.id = told.id",
                vec![ids.clone(), details.clone(), Param::from(now.0)],
            );
            statements.later(
                "INSERT INTO number (key, id, details, fetched_at)
                 SELECT key, id, details, $3 FROM (
                     SELECT (SELECT coalesce(max(key), 0) FROM number) + row_number() OVER (ORDER BY place) AS key,
                            id, details
                     FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS told (id, details, place)
                     WHERE NOT EXISTS (SELECT 1 FROM number AS known WHERE known.id = told.id)) AS new
                 WHERE key <= $4",
                vec![ids, details, Param::from(now.0), Param::from(MAX_UNUSED_NUMBERS)],
            );
            Ok(())
        })
    }

    fn number_details(&self, id: &str) -> Result<NumberDetails, Error> {
        self.read(|statements| {
            let known = "SELECT fetched_at IS NOT NULL, details FROM number WHERE id = $1";
            let Some(row) = statements.row(known, vec![Param::bytes(id)])? else { return Ok(NumberDetails::Unknown) };
            Ok(match (get(&row, 0)?, maybe_text(&row, 1)?) {
                (_, Some(details)) => NumberDetails::Known(details),
                (true, None) => NumberDetails::Absent,
                (false, None) => NumberDetails::Unknown,
            })
        })
    }

    fn newest_number(&self) -> Result<NumberKey, Error> {
        let newest =
            self.read(|statements| statements.value("SELECT coalesce(max(key), 0) FROM number", Vec::new()))?;
        Ok(NumberKey(newest.unwrap_or(0)))
    }

    fn complete_number_list(&mut self, newest: NumberKey, now: UnixMs) -> Result<usize, Error> {
        self.transaction(|statements| {
            statements.change(
                "UPDATE number SET fetched_at = $2 WHERE key <= $1 AND fetched_at IS NULL",
                params![newest.0, now.0],
            )
        })
    }

    fn has_undecided(&self) -> Result<bool, Error> {
        self.read(|statements| {
            statements.exists(
                "SELECT 1 FROM sink WHERE active
                 AND EXISTS (SELECT 1 FROM delivery WHERE delivery.sink = sink.id AND state = 'undecided') LIMIT 1",
                Vec::new(),
            )
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
            let found = self.read(|statements| undecided(statements, recipient, from, which))?;
            let Some(last) = found.last() else { continue };
            let last = DecidedUpTo { sink: recipient.id, seq: Seq(last.0) };
            return Ok((self.put_decided(recipient.id, &found)?, Some(last)));
        }
        Ok((0, None))
    }

    fn give_up_undecided(&mut self, before: Seq, now: UnixMs) -> Result<usize, Error> {
        let recipients = Arc::clone(&self.recipients);
        self.transaction(|statements| {
            let rows = statements.rows(
                "UPDATE delivery SET state = 'dead', reason = $1, answer = $2, settled_at = $3
                 WHERE state = 'undecided' AND seq < $4 AND EXISTS (
                     SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                     WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)
                 RETURNING sink, seq",
                params![DeadReason::GaveUp.as_str(), NO_DETAILS, now.0, before.0],
            )?;
            let mut given_up = Vec::with_capacity(rows.len());
            for row in &rows {
                given_up.push((SinkId(get(row, 0)?), Seq(get(row, 1)?)));
            }
            hand_over(statements, &recipients, given_up);
            Ok(rows.len())
        })
    }
}

impl PostgresBackend {
    /// Makes each of these undecided deliveries fresh if the sink wants it, and removes it if the sink does not want
    /// it. Returns how many became fresh.
    fn put_decided(&mut self, sink: SinkId, decided: &[(i64, Option<bool>)]) -> Result<usize, Error> {
        let with = |verdict: bool| -> Vec<i64> {
            decided.iter().filter(|(_, is_wanted)| *is_wanted == Some(verdict)).map(|(seq, _)| *seq).collect()
        };
        let (wanted, unwanted) = (with(true), with(false));
        if wanted.is_empty() && unwanted.is_empty() {
            return Ok(0);
        }
        let erase = self.erases_at_once();
        self.transaction(|statements| {
            let params = |seqs: &[i64]| vec![Param::numbers(seqs.iter().copied()), Param::from(sink.0)];
            let which = "WHERE seq = ANY ($1) AND sink = $2 AND state = 'undecided'";
            statements.later(format!("DELETE FROM delivery {which}"), params(&unwanted));
            if erase {
                erase_if_done(statements, &unwanted);
            }
            statements.change(&format!("UPDATE delivery SET state = 'fresh' {which}"), params(&wanted))
        })
    }
}

/// Reads up to [`DECIDE_BATCH`] undecided deliveries of a sink. Returns for each delivery whether the sink wants it;
/// `None` if this cannot be decided yet.
fn undecided(
    statements: &Statements<'_>,
    recipient: &Recipient,
    after: Seq,
    which: UndecidedScope,
) -> Result<Vec<(i64, Option<bool>)>, Failure> {
    let known = match which {
        UndecidedScope::All => "",
        UndecidedScope::Known => "AND (m.number IS NULL OR n.fetched_at IS NOT NULL)",
    };
    let rows = statements.rows(
        &format!(
            "SELECT d.seq, m.raw, m.number IS NULL OR n.fetched_at IS NOT NULL, n.details,
                    m.standing = 'event'
             FROM delivery AS d JOIN message AS m ON m.seq = d.seq LEFT JOIN number AS n ON n.key = m.number
             WHERE d.sink = $1 AND d.state = 'undecided' AND d.seq > $2 {known} ORDER BY d.seq LIMIT $3"
        ),
        params![recipient.id.0, after.0, DECIDE_BATCH],
    )?;
    let decide = |row: &PgRow| {
        let (raw, number_json) = (maybe_text(row, 1)?, maybe_text(row, 3)?);
        let facts = Facts::read(raw.as_deref().unwrap_or_default(), details(get(row, 2)?, number_json.as_deref()));
        let is_wanted = match recipient.decide(get(row, 4)?, &facts) {
            FilterVerdict::Wanted => Some(true),
            FilterVerdict::Unwanted(_) => Some(false),
            FilterVerdict::Unknown(_) => None,
        };
        Ok((get(row, 0)?, is_wanted))
    };
    rows.iter().map(decide).collect()
}

/// Makes the waiting deliveries of a sink undecided if the API was not asked for their number yet. This is needed if
/// the sink needs details of numbers now, and did not need them when the messages came. Messages that another sink
/// handed over stay as they are, because filters do not apply to them.
pub(super) fn make_undecided(statements: &Statements<'_>, sink: SinkId) {
    // The search runs for one state of deliveries at a time, because each state has an index of its own.
    for state in ["fresh", "retry"] {
        statements.later(
            format!(
                "UPDATE delivery SET state = 'undecided' WHERE sink = $1 AND state = '{state}' AND handed_by IS NULL
                 AND EXISTS (
                     SELECT 1 FROM message AS m JOIN number AS n ON n.key = m.number
                     WHERE m.seq = delivery.seq AND n.fetched_at IS NULL)"
            ),
            params![sink.0],
        );
    }
}
