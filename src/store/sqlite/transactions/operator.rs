//! Transactions of operators on sinks and dead letters.

use rusqlite::{OptionalExtension as _, params};

use super::pauses;
use super::portions::last_of_next_deliveries;
use super::registration::count_ids;
use super::replay::SEND_AGAIN;
use crate::domain::{PauseReason, Seq, SinkName, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::operator::{
    DROP_BATCH, DeadLetterAction, DeadLetterSelection, DropPermission, DropProgress, OperatorTransactions, Pause,
    RESOLVE_BATCH, ResolvedUpTo, ResumeCount, Resumed,
};
use crate::store::sink_id::SinkId;
use crate::store::sqlite::connection::SqliteBackend;

/// Finds at most ?5 dead letters: those of the sink with the name ?1 (NULL: of all sinks) and of the message with the
/// id ?2 (NULL: of all messages). The search goes on after the dead letter of the sink ?3 with the sequence number ?4.
const SELECT_DEAD: &str = "SELECT d.seq, d.sink
    FROM sink AS s JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
    WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR d.seq = (SELECT seq FROM message WHERE id = ?2))
      AND (d.sink, d.seq) > (?3, ?4)
    ORDER BY d.sink, d.seq LIMIT ?5";

impl OperatorTransactions for SqliteBackend {
    fn sink_named(&self, name: &str) -> Result<Option<SinkId>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id FROM sink WHERE name = ?1")?
                .query_row([name], |row| row.get(0).map(SinkId))
                .optional()
        })
    }

    fn sink_name(&self, sink: SinkId) -> Result<Option<String>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT name FROM sink WHERE id = ?1")?
                .query_row([sink.0], |row| row.get(0))
                .optional()
        })
    }

    fn sink_names(&self) -> Result<Vec<String>, Error> {
        self.read(|connection| {
            connection.prepare_cached("SELECT name FROM sink ORDER BY name")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn pause_of(&self, sink: SinkId) -> Result<Option<Pause>, Error> {
        self.read(|connection| pauses::pause_of(connection, sink))
    }

    fn pause(&mut self, sink: SinkId, reason: PauseReason, now: UnixMs) -> Result<Option<Pause>, Error> {
        self.transaction(|transaction| pauses::pause(transaction, sink, reason, now))
    }

    fn end_closed_pauses(&mut self, sinks: &[SinkId], now: UnixMs) -> Result<Vec<Option<Pause>>, Error> {
        self.transaction(|transaction| {
            let lifted = |sink: &SinkId| match pauses::pause_of(transaction, *sink)? {
                Some(Pause { reason: PauseReason::Closed, .. }) => {
                    pauses::end_pause(transaction, *sink, now).map(|_| None)
                }
                pause => Ok(pause),
            };
            sinks.iter().map(lifted).collect()
        })
    }

    fn resume(&mut self, sink: SinkId, now: UnixMs) -> Result<Option<Resumed>, Error> {
        self.transaction(|transaction| {
            let resumed = match pauses::end_pause(transaction, sink, now)? {
                Some(pause) => Some(Resumed::Pause(pause)),
                None => pauses::end_silence(transaction, sink, now)?.map(Resumed::Silence),
            };
            if resumed.is_some() {
                transaction
                    .prepare_cached("UPDATE delivery SET due = ?2 WHERE sink = ?1 AND state = 'retry' AND due > ?2")?
                    .execute(params![sink.0, now.0])?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO counter (name, value) VALUES ('resumes.' || ?1, 1)
                     ON CONFLICT (name) DO UPDATE SET value = value + 1",
                )?
                .execute([sink.0])?;
            Ok(resumed)
        })
    }

    fn resume_count(&self, sink: SinkId) -> Result<ResumeCount, Error> {
        self.read(|connection| pauses::resume_count(connection, sink))
    }

    fn resolve_dead_letters(
        &mut self,
        selection: &DeadLetterSelection,
        verdict: DeadLetterAction,
        after: ResolvedUpTo,
        now: UnixMs,
    ) -> Result<(usize, Option<ResolvedUpTo>), Error> {
        self.transaction(|transaction| {
            let range = params![selection.sink, selection.id, after.sink, after.seq, RESOLVE_BATCH];
            let found: Vec<(i64, i64)> = transaction
                .prepare_cached(SELECT_DEAD)?
                .query_map(range, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut change = transaction.prepare_cached(match verdict {
                DeadLetterAction::Retry => SEND_AGAIN,
                DeadLetterAction::Drop => {
                    "UPDATE delivery SET state = 'dropped', settled_at = ?3 WHERE seq = ?1 AND sink = ?2"
                }
            })?;
            for (seq, sink) in &found {
                match verdict {
                    DeadLetterAction::Retry => change.execute(params![seq, sink])?,
                    DeadLetterAction::Drop => change.execute(params![seq, sink, now.0])?,
                };
            }
            Ok((found.len(), found.last().map(|&(seq, sink)| ResolvedUpTo { sink, seq })))
        })
    }

    fn rename_sink(&mut self, sink: SinkId, name: &SinkName) -> Result<bool, Error> {
        self.transaction(|transaction| {
            let renamed = transaction
                .prepare_cached(
                    "UPDATE sink SET name = ?2 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sink WHERE name = ?2)",
                )?
                .execute(params![sink.0, name.as_str()])?;
            Ok(renamed > 0)
        })
    }

    fn drop_sink(&mut self, sink: SinkId, after: Seq, may: DropPermission) -> Result<DropProgress, Error> {
        self.transaction(|transaction| {
            let is =
                |condition: &str| transaction.prepare_cached(&format!("SELECT 1 FROM {condition}"))?.exists([sink.0]);
            if !may.configured && is("sink WHERE id = ?1 AND active = 1")? {
                return Ok(DropProgress::SinkIsConfigured);
            }
            for state in DeliveryState::WAITING.into_iter().chain([DeliveryState::Dead]) {
                if !may.messages && is(&format!("delivery WHERE sink = ?1 AND state = '{state}'"))? {
                    return Ok(DropProgress::SinkHasMessages);
                }
            }
            let Some(last) = last_of_next_deliveries(transaction, sink, after, DROP_BATCH)? else {
                count_ids(transaction)?;
                transaction.prepare_cached("DELETE FROM sink WHERE id = ?1")?.execute([sink.0])?;
                transaction.prepare_cached("DELETE FROM counter WHERE name = 'resumes.' || ?1")?.execute([sink.0])?;
                return Ok(DropProgress::Removed);
            };
            transaction
                .prepare_cached("DELETE FROM delivery WHERE seq > ?2 AND seq <= ?3 AND sink = ?1")?
                .execute(params![sink.0, after.0, last])?;
            Ok(DropProgress::MoreToRemove(Seq(last)))
        })
    }
}
