//! Pausing and resuming within a transaction. The transactions of operators, and those at a start and at a reload, use
//! these functions.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::domain::{PauseReason, UnixMs};
use crate::store::operator::{Pause, ResumeCount};
use crate::store::sink_id::SinkId;

/// Does the work of [`OperatorTransactions::pause_of`](crate::store::OperatorTransactions::pause_of).
pub(super) fn pause_of(connection: &Connection, sink: SinkId) -> rusqlite::Result<Option<Pause>> {
    let found = connection
        .prepare_cached("SELECT paused, paused_at FROM sink WHERE id = ?1")?
        .query_row([sink.0], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    let Some((Some(reason), since)) = found else { return Ok(None) };
    Ok(Some(Pause { reason: PauseReason::from_word(&reason), since: UnixMs(since.unwrap_or(0)) }))
}

/// Does the work of [`OperatorTransactions::resume_count`](crate::store::OperatorTransactions::resume_count).
pub(super) fn resume_count(connection: &Connection, sink: SinkId) -> rusqlite::Result<ResumeCount> {
    connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'resumes.' || ?1")?
        .query_row([sink.0], |row| row.get(0))
        .optional()
        .map(|count| ResumeCount(count.unwrap_or(0)))
}

/// Does the work of [`OperatorTransactions::pause`](crate::store::OperatorTransactions::pause).
pub(super) fn pause(
    transaction: &Transaction<'_>,
    sink: SinkId,
    reason: PauseReason,
    now: UnixMs,
) -> rusqlite::Result<Option<Pause>> {
    let before = pause_of(transaction, sink)?;
    if before.is_none() || reason == PauseReason::Operator {
        transaction
            .prepare_cached("UPDATE sink SET paused = ?2, paused_at = coalesce(paused_at, ?3) WHERE id = ?1")?
            .execute(params![sink.0, reason.as_str(), now.0])?;
    }
    Ok(before)
}

/// Ends the pause of a sink and returns that pause. Adds the length of the pause to `paused_ms` of the deliveries that
/// wait for another attempt, because this time does not count for `give_up_after`.
pub(super) fn end_pause(transaction: &Transaction<'_>, sink: SinkId, now: UnixMs) -> rusqlite::Result<Option<Pause>> {
    let Some(pause) = pause_of(transaction, sink)? else { return Ok(None) };
    transaction
        .prepare_cached(
            "UPDATE delivery
             SET paused_ms = paused_ms + max(0, ?2 - max(?3, coalesce(first_attempt, ?2)))
             WHERE sink = ?1 AND state = 'retry'",
        )?
        .execute(params![sink.0, now.0, pause.since.0])?;
    transaction.prepare_cached("UPDATE sink SET paused = NULL, paused_at = NULL WHERE id = ?1")?.execute([sink.0])?;
    forget_health(transaction, sink)?;
    Ok(Some(pause))
}

/// Ends the silence that the receiver of a sink asked for. Returns the instant at which the silence would have ended;
/// `None` if there is no silence, or it is over already.
pub(super) fn end_silence(
    transaction: &Transaction<'_>,
    sink: SinkId,
    now: UnixMs,
) -> rusqlite::Result<Option<UnixMs>> {
    let until: Option<i64> = transaction
        .prepare_cached("SELECT busy_until FROM sink WHERE id = ?1")?
        .query_row([sink.0], |row| row.get(0))
        .optional()?
        .flatten();
    let Some(until) = until.map(UnixMs).filter(|until| *until > now) else { return Ok(None) };
    forget_health(transaction, sink)?;
    Ok(Some(until))
}

/// Removes the recorded health of a sink. After the end of a pause or a silence the receiver is expected to work, so
/// its earlier failures do not count any more.
fn forget_health(transaction: &Transaction<'_>, sink: SinkId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE sink SET busy_until = NULL, failures = 0 WHERE id = ?1")?
        .execute([sink.0])
        .map(drop)
}
