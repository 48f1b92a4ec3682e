//! Transactions of `replay`: finding stored messages, and sending them again.

use std::collections::HashMap;

use tokio_postgres::Row as PgRow;

use super::release::last_release;
use super::values::state_of;
use crate::domain::filter::{Details, Facts, FilterVerdict};
use crate::domain::{Seq, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::postgres::connection::{PostgresBackend, Statements};
use crate::store::postgres::statement::{Failure, Param, get, maybe_text, params};
use crate::store::replay::{
    KeptKind, PastDelivery, REPLAY_BATCH, ReplayCount, ReplayDecision, ReplayPortion, ReplaySelection,
    ReplayTransactions, Replayable,
};
use crate::store::sink_id::SinkId;

/// Makes finished deliveries fresh again. $1 and $2 are arrays of the messages and of the sinks. The deliveries become
/// backfill, so new messages are sent first. If a sink has `order = "number"`, its deliveries wait in the second queue
/// of their number ([`super::order`]).
pub(super) const SEND_AGAIN: &str = "
    UPDATE delivery SET state = 'fresh', class = 1, attempts = 0, first_attempt = NULL, due = NULL, settled_at = NULL,
                        status = NULL, reason = NULL, answer = NULL, paused_ms = 0, replays = replays + 1,
                        number = CASE WHEN number >= 0 THEN -1 - number ELSE number END
    FROM unnest($1::bigint[], $2::bigint[]) AS chosen (seq, sink)
    WHERE delivery.seq = chosen.seq AND delivery.sink = chosen.sink";

/// Gives places in the order of release to messages that came too late to be released. $1 is the array of these
/// messages; they get their places in the order of the array.
const PLACE_LATE: &str = "
    UPDATE message SET release_no = (SELECT value FROM counter WHERE name = 'released') + late.place
    FROM (SELECT seq, row_number() OVER (ORDER BY place) AS place
          FROM unnest($1::bigint[]) WITH ORDINALITY AS named (seq, place) JOIN message USING (seq)
          WHERE release_no IS NULL AND standing = 'below_watermark' AND raw IS NOT NULL) AS late
    WHERE message.seq = late.seq";

/// Finds messages whose text is kept and that were received at $2 or later and before $3.
const KEPT: &str = "SELECT seq, release_no, time, CASE WHEN $1 THEN raw END, id, standing = 'event' FROM message
    WHERE raw IS NOT NULL AND time >= $2 AND time < $3";

/// A message whose text is kept, as [`KEPT`] reads it.
struct KeptMessage {
    seq: i64,
    /// The message's place in the order of release; `None` if the message came too late to be released. No sink ever
    /// had such a message.
    release_no: Option<i64>,
    kind: KeptKind,
    received: UnixMs,
    /// `None` if the selection has no filter: only a filter needs the text.
    raw: Option<String>,
    id: Vec<u8>,
}

impl ReplayTransactions for PostgresBackend {
    fn last_released(&self) -> Result<i64, Error> {
        self.read(last_release)
    }

    fn replayable(&self, selection: &ReplaySelection, after: i64, last: i64) -> Result<ReplayPortion, Error> {
        self.read(|statements| replayable(statements, selection, after, last))
    }

    fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error> {
        if found.is_empty() {
            return Ok(0);
        }
        let (never, over): (Vec<&Replayable>, Vec<&Replayable>) =
            found.iter().partition(|found| found.before == PastDelivery::Never);
        let params = |found: &[&Replayable]| {
            vec![
                Param::numbers(found.iter().map(|found| found.seq.0)),
                Param::numbers(found.iter().map(|found| found.sink.0)),
            ]
        };
        self.transaction(|statements| {
            let changed = statements.change(
                &format!(
                    "{SEND_AGAIN} AND state IN ('delivered', 'dead', 'dropped')
                     AND EXISTS (SELECT 1 FROM message WHERE message.seq = delivery.seq AND raw IS NOT NULL)"
                ),
                params(&over),
            )?;
            if never.is_empty() {
                return Ok(changed);
            }
            let mut seqs: Vec<i64> = never.iter().map(|found| found.seq.0).collect();
            seqs.dedup();
            statements.later(PLACE_LATE, vec![Param::numbers(seqs)]);
            statements.later(
                "UPDATE counter SET value = greatest(value, (SELECT coalesce(max(release_no), 0) FROM message))
                 WHERE name = 'released'",
                Vec::new(),
            );
            let undecided = statements.change(
                "INSERT INTO delivery (seq, sink, class, release_no, state, replays, number)
                 SELECT m.seq, s.id, 1, m.release_no, 'undecided', 1,
                        CASE WHEN s.ordered > 0 THEN -1 - coalesce(m.number, 0) END
                 FROM unnest($1::bigint[], $2::bigint[]) AS chosen (seq, sink)
                      JOIN message AS m ON m.seq = chosen.seq JOIN sink AS s ON s.id = chosen.sink
                 WHERE m.raw IS NOT NULL AND m.release_no IS NOT NULL
                 ON CONFLICT DO NOTHING",
                params(&never),
            )?;
            if undecided > 0 {
                statements.later(
                    "INSERT INTO counter (name, value) VALUES ('replays', 1)
                     ON CONFLICT (name) DO UPDATE SET value = counter.value + 1",
                    Vec::new(),
                );
            }
            Ok(changed + undecided)
        })
    }

    fn replay_count(&self) -> Result<ReplayCount, Error> {
        let count =
            self.read(|statements| statements.value("SELECT value FROM counter WHERE name = 'replays'", Vec::new()))?;
        Ok(ReplayCount(count.unwrap_or(0)))
    }
}

fn replayable(
    statements: &Statements<'_>,
    selection: &ReplaySelection,
    after: i64,
    last: i64,
) -> Result<ReplayPortion, Failure> {
    let kept = match selection.ids.as_slice() {
        [] => kept_between(statements, selection, after, last)?,
        ids => kept_of(statements, selection, ids)?,
    };
    let is_full = selection.ids.is_empty() && i64::try_from(kept.len()).unwrap_or(0) == REPLAY_BATCH;
    let next = kept.last().filter(|_| is_full).and_then(|kept| kept.release_no);
    let mut portion = ReplayPortion { next, ..ReplayPortion::default() };
    let states = statements.rows(
        "SELECT seq, sink, state FROM delivery WHERE seq = ANY ($1)",
        vec![Param::numbers(kept.iter().map(|kept| kept.seq))],
    )?;
    let state = |row: &PgRow| Ok(((get(row, 0)?, SinkId(get(row, 1)?)), state_of(row, 2)?));
    let states: HashMap<(i64, SinkId), DeliveryState> = states.iter().map(state).collect::<Result<_, Failure>>()?;
    for KeptMessage { seq, kind, received, raw, .. } in kept {
        if let Some(filter) = &selection.filter
            && filter.decide(&Facts::read(raw.as_deref().unwrap_or_default(), Details::Absent)) != FilterVerdict::Wanted
        {
            continue;
        }
        for &sink in &selection.sinks {
            match selection.select(sink, states.get(&(seq, sink)).copied(), kind) {
                ReplayDecision::Repeat(before) => {
                    portion.found.push(Replayable { seq: Seq(seq), sink, received, before });
                }
                ReplayDecision::Waits => portion.waiting.push(sink),
                ReplayDecision::No => {}
            }
        }
    }
    Ok(portion)
}

fn kept(row: &PgRow) -> Result<KeptMessage, Failure> {
    let release_no: Option<i64> = get(row, 1)?;
    Ok(KeptMessage {
        seq: get(row, 0)?,
        release_no,
        kind: KeptKind::of(release_no.is_some(), get(row, 5)?),
        received: UnixMs(get(row, 2)?),
        raw: maybe_text(row, 3)?,
        id: get(row, 4)?,
    })
}

fn kept_between(
    statements: &Statements<'_>,
    selection: &ReplaySelection,
    after: i64,
    last: i64,
) -> Result<Vec<KeptMessage>, Failure> {
    let ReplaySelection { filter, since, until, .. } = selection;
    let rows = statements.rows(
        &format!("{KEPT} AND release_no > $4 AND release_no <= $5 ORDER BY release_no LIMIT $6"),
        params![filter.is_some(), since.0, until.0, after, last, REPLAY_BATCH],
    )?;
    rows.iter().map(kept).collect()
}

/// Reads the messages with these ids, in the order of the ids.
fn kept_of(
    statements: &Statements<'_>,
    selection: &ReplaySelection,
    ids: &[String],
) -> Result<Vec<KeptMessage>, Failure> {
    let ReplaySelection { filter, since, until, .. } = selection;
    let mut params = params![filter.is_some(), since.0, until.0];
    params.push(Param::byte_texts(ids.iter().map(String::as_str)));
    let rows = statements.rows(
        &format!("{KEPT} AND id = ANY ($4) AND (release_no IS NOT NULL OR standing = 'below_watermark')"),
        params,
    )?;
    let mut found: Vec<KeptMessage> = rows.iter().map(kept).collect::<Result<_, _>>()?;
    found.sort_by_key(|kept| ids.iter().position(|id| id.as_bytes() == kept.id));
    Ok(found)
}
