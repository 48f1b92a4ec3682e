//! Transactions of operators on sinks and dead letters.

use super::pauses;
use super::portions::last_of_next_deliveries;
use super::registration::COUNT_IDS;
use super::replay::SEND_AGAIN;
use crate::domain::{PauseReason, Seq, SinkName, UnixMs};
use crate::store::delivery_state::DeliveryState;
use crate::store::error::Error;
use crate::store::operator::{
    DROP_BATCH, DeadLetterAction, DeadLetterSelection, DropPermission, DropProgress, OperatorTransactions, Pause,
    RESOLVE_BATCH, ResolvedUpTo, ResumeCount, Resumed,
};
use crate::store::postgres::connection::PostgresBackend;
use crate::store::postgres::statement::{Param, get, params};
use crate::store::sink_id::SinkId;

/// Finds the dead letters that belong to a sink ($1) and to a message ($2). If $1 or $2 is NULL, it excludes nothing.
const SELECT_DEAD: &str = "SELECT d.seq, d.sink
    FROM sink AS s JOIN delivery AS d ON d.sink = s.id AND d.state = 'dead'
    WHERE ($1::text IS NULL OR s.name = $1)
      AND ($2::bytea IS NULL OR d.seq = (SELECT seq FROM message WHERE id = $2))
      AND (d.sink, d.seq) > ($3, $4)
    ORDER BY d.sink, d.seq LIMIT $5";

impl OperatorTransactions for PostgresBackend {
    fn sink_named(&self, name: &str) -> Result<Option<SinkId>, Error> {
        let id = self.read(|statements| statements.value("SELECT id FROM sink WHERE name = $1", params![name]))?;
        Ok(id.map(SinkId))
    }

    fn sink_name(&self, sink: SinkId) -> Result<Option<String>, Error> {
        self.read(|statements| statements.value("SELECT name FROM sink WHERE id = $1", params![sink.0]))
    }

    fn sink_names(&self) -> Result<Vec<String>, Error> {
        self.read(|statements| {
            let rows = statements.rows("SELECT name FROM sink ORDER BY name", Vec::new())?;
            rows.iter().map(|row| get(row, 0)).collect()
        })
    }

    fn pause_of(&self, sink: SinkId) -> Result<Option<Pause>, Error> {
        self.read(|statements| pauses::pause_of(statements, sink))
    }

    fn pause(&mut self, sink: SinkId, reason: PauseReason, now: UnixMs) -> Result<Option<Pause>, Error> {
        self.transaction(|statements| pauses::pause(statements, sink, reason, now))
    }

    fn end_closed_pauses(&mut self, sinks: &[SinkId], now: UnixMs) -> Result<Vec<Option<Pause>>, Error> {
        self.transaction(|statements| {
            let lifted = |sink: &SinkId| match pauses::pause_of(statements, *sink)? {
                Some(Pause { reason: PauseReason::Closed, .. }) => {
                    pauses::end_pause(statements, *sink, now).map(|_| None)
                }
                pause => Ok(pause),
            };
            sinks.iter().map(lifted).collect()
        })
    }

    fn resume(&mut self, sink: SinkId, now: UnixMs) -> Result<Option<Resumed>, Error> {
        self.transaction(|statements| {
            let resumed = match pauses::end_pause(statements, sink, now)? {
                Some(pause) => Some(Resumed::Pause(pause)),
                None => pauses::end_silence(statements, sink, now)?.map(Resumed::Silence),
            };
            if resumed.is_some() {
                let due = "UPDATE delivery SET due = $2 WHERE sink = $1 AND state = 'retry' AND due > $2";
                statements.later(due, params![sink.0, now.0]);
            }
            statements.later(
                "INSERT INTO counter (name, value) VALUES ('resumes.' || $1, 1)
                 ON CONFLICT (name) DO UPDATE SET value = counter.value + 1",
                params![sink.0],
            );
            Ok(resumed)
        })
    }

    fn resume_count(&self, sink: SinkId) -> Result<ResumeCount, Error> {
        self.read(|statements| pauses::resume_count(statements, sink))
    }

    fn resolve_dead_letters(
        &mut self,
        selection: &DeadLetterSelection,
        verdict: DeadLetterAction,
        after: ResolvedUpTo,
        now: UnixMs,
    ) -> Result<(usize, Option<ResolvedUpTo>), Error> {
        self.transaction(|statements| {
            let rows = statements.rows(
                SELECT_DEAD,
                vec![
                    Param::from(selection.sink.as_deref()),
                    Param::Bytes(selection.id.as_ref().map(|id| id.as_bytes().to_vec())),
                    Param::from(after.sink),
                    Param::from(after.seq),
                    Param::from(RESOLVE_BATCH),
                ],
            )?;
            let mut found: Vec<(i64, i64)> = Vec::with_capacity(rows.len());
            for row in &rows {
                found.push((get(row, 0)?, get(row, 1)?));
            }
            let mut values = vec![
                Param::numbers(found.iter().map(|found| found.0)),
                Param::numbers(found.iter().map(|found| found.1)),
            ];
            let change = match verdict {
                DeadLetterAction::Retry => SEND_AGAIN,
                DeadLetterAction::Drop => {
                    values.push(Param::from(now.0));
                    "UPDATE delivery SET state = 'dropped', settled_at = $3
                     FROM unnest($1::bigint[], $2::bigint[]) AS chosen (seq, sink)
                     WHERE delivery.seq = chosen.seq AND delivery.sink = chosen.sink"
                }
            };
            statements.later(change, values);
            Ok((found.len(), found.last().map(|&(seq, sink)| ResolvedUpTo { sink, seq })))
        })
    }

    fn rename_sink(&mut self, sink: SinkId, name: &SinkName) -> Result<bool, Error> {
        self.transaction(|statements| {
            let renamed = statements.change(
                "UPDATE sink SET name = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM sink WHERE name = $2)",
                params![sink.0, name.as_str()],
            )?;
            Ok(renamed > 0)
        })
    }

    fn drop_sink(&mut self, sink: SinkId, after: Seq, may: DropPermission) -> Result<DropProgress, Error> {
        self.transaction(|statements| {
            let is =
                |condition: &str| statements.exists(&format!("SELECT 1 FROM {condition} LIMIT 1"), params![sink.0]);
            if !may.configured && is("sink WHERE id = $1 AND active")? {
                return Ok(DropProgress::SinkIsConfigured);
            }
            for state in DeliveryState::WAITING.into_iter().chain([DeliveryState::Dead]) {
                if !may.messages && is(&format!("delivery WHERE sink = $1 AND state = '{state}'"))? {
                    return Ok(DropProgress::SinkHasMessages);
                }
            }
            let Some(last) = last_of_next_deliveries(statements, sink, after, DROP_BATCH)? else {
                statements.later(COUNT_IDS, Vec::new());
                statements.later("DELETE FROM sink WHERE id = $1", params![sink.0]);
                statements.later("DELETE FROM counter WHERE name = 'resumes.' || $1", params![sink.0]);
                return Ok(DropProgress::Removed);
            };
            statements.later(
                "DELETE FROM delivery WHERE seq > $2 AND seq <= $3 AND sink = $1",
                params![sink.0, after.0, last],
            );
            Ok(DropProgress::MoreToRemove(Seq(last)))
        })
    }
}
