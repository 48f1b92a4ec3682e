//! The sentences that delivery writes into the log about sinks and messages.
//!
//! Each sentence that users, documents and tests rely on is a constant. `docs/events.md` says what each sentence means.

use std::time::Duration;

use super::breaker::FAILURES_THAT_OPEN;
use crate::domain::{DeadReason, Invocation, Outcome, PauseReason, UnixMs, shell_word};

/// Warning: attempts fail. This is written once for each outage, with the reason of the first failure.
pub const SINK_FAILS: &str = "the sink fails: its messages are kept and tried again";

/// Information: an attempt succeeded after [`SINK_FAILS`]. The log line has the number of messages that wait.
pub const SINK_WORKS_AGAIN: &str = "the sink works again";

/// Information: ten attempts in a row have failed, so the breaker is open. The log line has the reason of the last
/// failure.
pub const NOTHING_GETS_THROUGH: &str = "nothing gets through: one message at a time is tried until one does";

/// Warning: the receiver refuses requests because there are too many, or because the receiver is busy.
pub const RECEIVER_WANTS_SILENCE: &str =
    "the receiver wants silence for now; after it, messages go as fast as the receiver takes them";

/// Error: the receiver answered 410, so the sink paused itself.
pub const RECEIVER_IS_GONE: &str = "the receiver is gone (410): the sink is paused and keeps its messages; change its \
                                    URL or remove it, or resume it if it is back";

/// Error: the receiver says in the body of its answer that it takes no message, so the sink paused itself. The log line
/// has the reason.
pub const RECEIVER_TAKES_NOTHING: &str = "the receiver takes nothing any more: the sink is paused and keeps its \
                                          messages; mend the cause, and resume the sink";

/// Error: nobody reads the output of a sink any more, and the relay has other sinks.
pub const OUTPUT_IS_CLOSED: &str = "nobody reads the output any more: the sink is paused and keeps its messages until \
                                    the relay is started again";

/// Warning: the sink was already paused when the relay started.
pub const SINK_IS_PAUSED: &str = "the sink is paused and keeps its messages";

/// Warning: somebody paused the sink while the relay ran.
pub const SINK_WAS_PAUSED: &str = "the sink was paused and keeps its messages";

/// Information: somebody resumed the sink while the relay ran.
pub const SINK_WAS_RESUMED: &str = "the sink was resumed: its messages are sent";

/// Information: the configuration switches the sink off.
pub const SINK_IS_SWITCHED_OFF: &str = "the sink is switched off (enabled = false) and keeps its messages";

/// Information: somebody renamed the sink while the relay ran.
pub const SINK_WAS_RENAMED: &str =
    "the sink was renamed: the configuration must have its new name at the next reload or start";

/// Information: the configuration has a sink that the state did not know.
pub const SINK_IS_NEW: &str =
    "the sink is new: it gets new messages, and the stored messages that its start setting asks for";

/// Information: the messages with which a new sink begins are in the sink's queue.
pub const NEW_SINK_IS_FILLED: &str = "the new sink has got the retained messages that it begins with";

/// Error: a message is given up.
pub const MESSAGE_IS_DEAD: &str = "the message is a dead letter now";

/// Error: the sink's loop could not read the store, or could not write to it. The loop waits and tries again. This is
/// logged once, and not again before the store has answered.
pub const STORE_CANNOT_BE_READ: &str = "waiting messages cannot be read";

/// Information: the store answers again after [`STORE_CANNOT_BE_READ`].
pub const STORE_CAN_BE_READ: &str = "the state can be read again";

/// Error: results of attempts cannot be written to the state, for example because the disk is full.
pub const CANNOT_BE_RECORDED: &str =
    "deliveries cannot be recorded: their results are kept in memory, nothing is sent twice";

/// Information: results are written again after [`CANNOT_BE_RECORDED`].
pub const CAN_BE_RECORDED: &str = "deliveries can be recorded again";

/// Information: `once` ends although messages wait, because somebody paused their sink.
pub const PAUSED_SINK_HAS_MESSAGES: &str = "messages wait for a sink that is paused";

/// The command that resumes a sink: the hint of log lines about a pause that an operator can end.
pub(super) fn how_to_resume(invocation: &Invocation, sink: &str) -> String {
    format!("{invocation} sinks resume {sink}")
}

/// The command that sends a dead letter again; the hint of [`MESSAGE_IS_DEAD`].
fn how_to_retry(invocation: &Invocation, sink: &str, id: &str) -> String {
    format!("{invocation} dead-letters retry --sink {sink} --id {}", shell_word(id))
}

pub(super) fn sink_fails(sink: &str, reason: &str) {
    tracing::warn!(sink.name = sink, reason, "{SINK_FAILS}");
}

pub(super) fn sink_works_again(sink: &str, waiting: u64) {
    tracing::info!(sink.name = sink, sink.waiting = waiting, "{SINK_WORKS_AGAIN}");
}

pub(super) fn nothing_gets_through(sink: &str, reason: &str) {
    tracing::info!(sink.name = sink, failures = FAILURES_THAT_OPEN, reason, "{NOTHING_GETS_THROUGH}");
}

pub(super) fn receiver_wants_silence(sink: &str, reason: &str, silence: Duration) {
    tracing::warn!(sink.name = sink, reason, wait_s = silence.as_secs_f64(), "{RECEIVER_WANTS_SILENCE}");
}

/// Logs that a receiver accepts no message until somebody mends the cause. `status` and `reason` are those of the
/// receiver's answer.
pub(super) fn receiver_is_gone(sink: &str, invocation: &Invocation, status: Option<u16>, reason: &str) {
    let hint = how_to_resume(invocation, sink);
    match status {
        Some(410) => tracing::error!(sink.name = sink, hint, "{RECEIVER_IS_GONE}"),
        _ => tracing::error!(sink.name = sink, reason, hint, "{RECEIVER_TAKES_NOTHING}"),
    }
}

pub(super) fn output_is_closed(sink: &str) {
    tracing::error!(sink.name = sink, "{OUTPUT_IS_CLOSED}");
}

/// Logs that the relay's only output is closed. The relay then ends.
pub(super) fn last_output_is_closed(sink: &str) {
    tracing::debug!(sink.name = sink, "nobody reads the output any more");
}

pub(super) fn sink_is_paused(sink: &str, invocation: &Invocation, reason: PauseReason, since: UnixMs) {
    let hint = how_to_resume(invocation, sink);
    tracing::warn!(sink.name = sink, reason = reason.as_str(), %since, hint, "{SINK_IS_PAUSED}");
}

pub(super) fn sink_was_paused(sink: &str, invocation: &Invocation) {
    tracing::warn!(sink.name = sink, hint = how_to_resume(invocation, sink), "{SINK_WAS_PAUSED}");
}

pub(super) fn sink_was_resumed(sink: &str) {
    tracing::info!(sink.name = sink, "{SINK_WAS_RESUMED}");
}

pub(super) fn sink_is_switched_off(sink: &str) {
    tracing::info!(sink.name = sink, "{SINK_IS_SWITCHED_OFF}");
}

pub(super) fn sink_was_renamed(sink: &str, was: &str) {
    tracing::info!(sink.name = sink, was, "{SINK_WAS_RENAMED}");
}

/// The values of a sink that the log lines about messages need.
pub(super) struct LoggedSink<'s> {
    /// The name of the sink.
    pub(super) name: &'s str,
    /// The sink to which dead letters are handed over.
    pub(super) fallback: Option<&'s str>,
    /// The beginning of each command that is given as a hint: the program's name, with `--config` and `--state-dir` if
    /// the operator gave them.
    pub(super) invocation: &'s Invocation,
}

/// Logs one attempt, for people who follow one message.
pub(super) fn attempt(of: &LoggedSink<'_>, id: &str, attempts: u32, took: Duration, outcome: &Outcome) {
    let sink = of.name;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::Delivered { status } => {
            tracing::debug!(message.id = id, sink.name = sink, http.status = status, attempts, took_ms, "delivered");
        }
        Outcome::Retry { due, status, answer } => {
            tracing::debug!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                answer,
                due = %due,
                "not delivered, to be tried again"
            );
        }
        Outcome::Dead { reason, status, answer } => {
            tracing::error!(
                message.id = id,
                sink.name = sink,
                http.status = status,
                attempts,
                took_ms,
                reason = reason.as_str(),
                answer,
                fallback = of.fallback,
                hint = how_to_retry(of.invocation, sink, id),
                "{MESSAGE_IS_DEAD}"
            );
        }
    }
}

/// Logs that a waiting message is given up because of its age, without another attempt.
pub(super) fn message_expired(of: &LoggedSink<'_>, id: &str, attempts: u32, answer: &str) {
    tracing::error!(
        message.id = id,
        sink.name = of.name,
        attempts,
        reason = DeadReason::Expired.as_str(),
        answer,
        fallback = of.fallback,
        hint = how_to_retry(of.invocation, of.name, id),
        "{MESSAGE_IS_DEAD}"
    );
}
