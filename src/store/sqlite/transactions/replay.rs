//! Transactions of `replay`: finding stored messages, and sending them again.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::release::{last_release, put_last_release};
use crate::domain::filter::{Details, Facts, FilterVerdict};
use crate::domain::{Seq, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::replay::{
    KeptKind, PastDelivery, REPLAY_BATCH, ReplayCount, ReplayDecision, ReplayPortion, ReplaySelection,
    ReplayTransactions, Replayable,
};
use crate::store::sqlite::connection::SqliteBackend;

/// Makes a finished delivery fresh again. The delivery becomes backfill, so new messages are sent first. If the sink
/// has `order = "number"`, the delivery waits in the second queue of its number ([`super::order`]).
pub(super) const SEND_AGAIN: &str =
    "UPDATE delivery SET state = 'fresh', class = 1, attempts = 0, first_attempt = NULL, due = NULL, settled_at = NULL,
                         status = NULL, reason = NULL, answer = NULL, paused_ms = 0, replays = replays + 1,
                         number = CASE WHEN number >= 0 THEN -1 - number ELSE number END
     WHERE seq = ?1 AND sink = ?2";

/// Finds messages whose text is kept and that were received at ?2 or later and before ?3. The text itself is read only
/// if ?1 is true.
const KEPT: &str = "SELECT seq, release_no, time, CASE WHEN ?1 THEN raw END, event IS NOT NULL FROM message
    WHERE raw IS NOT NULL AND time >= ?2 AND time < ?3";

/// A message whose text is kept.
struct Kept {
    seq: Seq,
    /// The message's place in the order of release. `None` means that the message came too late to be released, so no
    /// sink ever had it.
    release_no: Option<i64>,
    kind: KeptKind,
    received: UnixMs,
    /// `None` if the selection has no filter: only a filter needs the text.
    raw: Option<String>,
}

impl ReplayTransactions for SqliteBackend {
    fn last_released(&self) -> Result<i64, Error> {
        self.read(last_release)
    }

    fn replayable(&self, selection: &ReplaySelection, after: i64, last: i64) -> Result<ReplayPortion, Error> {
        self.read(|connection| replayable(connection, selection, after, last))
    }

    fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error> {
        if found.is_empty() {
            return Ok(0);
        }
        self.transaction(|transaction| {
            let mut again = transaction.prepare_cached(&format!(
                "{SEND_AGAIN} AND state IN ('delivered', 'dead', 'dropped')
                 AND EXISTS (SELECT 1 FROM message WHERE message.seq = ?1 AND raw IS NOT NULL)"
            ))?;
            let mut new = transaction.prepare_cached(
                "INSERT INTO delivery (seq, sink, class, release_no, state, replays, number)
                 SELECT m.seq, s.id, 1, m.release_no, 'undecided', 1,
                        CASE WHEN s.ordered > 0 THEN -1 - coalesce(m.number, 0) END
                 FROM message AS m JOIN sink AS s
                 WHERE m.seq = ?1 AND s.id = ?2 AND m.raw IS NOT NULL AND m.release_no IS NOT NULL
                 ON CONFLICT DO NOTHING",
            )?;
            // A message that came too late gets its place in the order of release with its first delivery.
            let mut place = transaction.prepare_cached(
                "UPDATE message SET release_no = ?2
                 WHERE seq = ?1 AND release_no IS NULL AND standing = 'below_watermark' AND raw IS NOT NULL",
            )?;
            let (mut changed, mut undecided) = (0, 0);
            for Replayable { seq, sink, before, .. } in found {
                match before {
                    PastDelivery::Delivered | PastDelivery::Dead => changed += again.execute(params![seq.0, sink.0])?,
                    PastDelivery::Never => {
                        let next = last_release(transaction)? + 1;
                        if place.execute(params![seq.0, next])? > 0 {
                            put_last_release(transaction, next)?;
                        }
                        undecided += new.execute(params![seq.0, sink.0])?;
                    }
                }
            }
            if undecided > 0 {
                transaction
                    .prepare_cached(
                        "INSERT INTO counter (name, value) VALUES ('replays', 1)
                         ON CONFLICT (name) DO UPDATE SET value = value + 1",
                    )?
                    .execute([])?;
            }
            Ok(changed + undecided)
        })
    }

    fn replay_count(&self) -> Result<ReplayCount, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM counter WHERE name = 'replays'")?
                .query_row([], |row| row.get(0))
                .optional()
                .map(|count| ReplayCount(count.unwrap_or(0)))
        })
    }
}

fn replayable(
    connection: &Connection,
    selection: &ReplaySelection,
    after: i64,
    last: i64,
) -> rusqlite::Result<ReplayPortion> {
    let kept = match selection.ids.as_slice() {
        [] => kept_between(connection, selection, after, last)?,
        ids => kept_of(connection, selection, ids)?,
    };
    let is_full = selection.ids.is_empty() && i64::try_from(kept.len()).unwrap_or(0) == REPLAY_BATCH;
    let next = kept.last().filter(|_| is_full).and_then(|kept| kept.release_no);
    let mut portion = ReplayPortion { next, ..ReplayPortion::default() };
    let mut states = connection.prepare_cached("SELECT sink, state FROM delivery WHERE seq = ?1")?;
    for Kept { seq, kind, received, raw, .. } in kept {
        if let Some(filter) = &selection.filter
            && filter.decide(&Facts::read(raw.as_deref().unwrap_or_default(), Details::Absent)) != FilterVerdict::Wanted
        {
            continue;
        }
        let states: Vec<(i64, DeliveryState)> =
            states.query_map([seq.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for &sink in &selection.sinks {
            let state = states.iter().find(|(of, _)| *of == sink.0).map(|(_, state)| *state);
            match selection.select(sink, state, kind) {
                ReplayDecision::Repeat(before) => portion.found.push(Replayable { seq, sink, received, before }),
                ReplayDecision::Waits => portion.waiting.push(sink),
                ReplayDecision::No => {}
            }
        }
    }
    Ok(portion)
}

fn kept(row: &SqlRow<'_>) -> rusqlite::Result<Kept> {
    let release_no: Option<i64> = row.get(1)?;
    Ok(Kept {
        seq: Seq(row.get(0)?),
        release_no,
        kind: KeptKind::of(release_no.is_some(), row.get(4)?),
        received: UnixMs(row.get(2)?),
        raw: row.get(3)?,
    })
}

fn kept_between(
    connection: &Connection,
    selection: &ReplaySelection,
    after: i64,
    last: i64,
) -> rusqlite::Result<Vec<Kept>> {
    let ReplaySelection { filter, since, until, .. } = selection;
    connection
        .prepare_cached(&format!("{KEPT} AND release_no > ?4 AND release_no <= ?5 ORDER BY release_no LIMIT ?6"))?
        .query_map(params![filter.is_some(), since.0, until.0, after, last, REPLAY_BATCH], kept)?
        .collect()
}

fn kept_of(connection: &Connection, selection: &ReplaySelection, ids: &[String]) -> rusqlite::Result<Vec<Kept>> {
    let ReplaySelection { filter, since, until, .. } = selection;
    let mut named = connection
        .prepare_cached(&format!("{KEPT} AND id = ?4 AND (release_no IS NOT NULL OR standing = 'below_watermark')"))?;
    let mut of = |id: &String| named.query_row(params![filter.is_some(), since.0, until.0, id], kept).optional();
    ids.iter().filter_map(|id| of(id).transpose()).collect()
}
