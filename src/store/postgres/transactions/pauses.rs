//! Pausing and resuming within a transaction. The transactions of operators, and those at a start and at a reload, use
//! these functions.

use crate::domain::{PauseReason, UnixMs};
use crate::store::operator::{Pause, ResumeCount};
use crate::store::postgres::connection::Statements;
use crate::store::postgres::statement::{Failure, get, instant, params};
use crate::store::sink_id::SinkId;

/// Does the work of [`OperatorTransactions::pause_of`](crate::store::OperatorTransactions::pause_of).
pub(super) fn pause_of(statements: &Statements<'_>, sink: SinkId) -> Result<Option<Pause>, Failure> {
    let paused = "SELECT paused, paused_at FROM sink WHERE id = $1 AND paused IS NOT NULL";
    let Some(row) = statements.row(paused, params![sink.0])? else { return Ok(None) };
    let reason = PauseReason::from_word(get(&row, 0)?);
    Ok(Some(Pause { reason, since: instant(&row, 1)?.unwrap_or_default() }))
}

/// Does the work of [`OperatorTransactions::resume_count`](crate::store::OperatorTransactions::resume_count).
pub(super) fn resume_count(statements: &Statements<'_>, sink: SinkId) -> Result<ResumeCount, Failure> {
    let count = statements.value("SELECT value FROM counter WHERE name = 'resumes.' || $1", params![sink.0])?;
    Ok(ResumeCount(count.unwrap_or(0)))
}

/// Does the work of [`OperatorTransactions::pause`](crate::store::OperatorTransactions::pause).
pub(super) fn pause(
    statements: &Statements<'_>,
    sink: SinkId,
    reason: PauseReason,
    now: UnixMs,
) -> Result<Option<Pause>, Failure> {
    let before = pause_of(statements, sink)?;
    if before.is_none() || reason == PauseReason::Operator {
        statements.later(
            "UPDATE sink SET paused = $2, paused_at = coalesce(paused_at, $3) WHERE id = $1",
            params![sink.0, reason.as_str(), now.0],
        );
    }
    Ok(before)
}

/// Ends the pause of a sink and returns that pause. Adds the length of the pause to `paused_ms` of the deliveries that
/// have failed before, because this time does not count for `give_up_after`.
pub(super) fn end_pause(statements: &Statements<'_>, sink: SinkId, now: UnixMs) -> Result<Option<Pause>, Failure> {
    let Some(pause) = pause_of(statements, sink)? else { return Ok(None) };
    statements.later(
        "UPDATE delivery
         SET paused_ms = paused_ms + greatest(0, $2 - greatest($3, coalesce(first_attempt, $2)))
         WHERE sink = $1 AND state = 'retry'",
        params![sink.0, now.0, pause.since.0],
    );
    statements.later("UPDATE sink SET paused = NULL, paused_at = NULL WHERE id = $1", params![sink.0]);
    forget_health(statements, sink);
    Ok(Some(pause))
}

/// Ends the silence that the receiver of a sink asked for. Returns the instant at which the silence would have ended;
/// `None` if there is no silence, or it is over already.
pub(super) fn end_silence(statements: &Statements<'_>, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Failure> {
    let until = "SELECT busy_until FROM sink WHERE id = $1 AND busy_until > $2";
    let until = statements.value(until, params![sink.0, now.0])?.map(UnixMs);
    if until.is_some() {
        forget_health(statements, sink);
    }
    Ok(until)
}

/// Removes the recorded health of a sink, because an operator who resumes the sink expects the receiver to work.
fn forget_health(statements: &Statements<'_>, sink: SinkId) {
    statements.later("UPDATE sink SET busy_until = NULL, failures = 0 WHERE id = $1", params![sink.0]);
}
