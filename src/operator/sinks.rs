//! Pausing and resuming a sink.

use super::refusal::OperatorRefusal;
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{count, span};
use crate::store::{Error, Pause, Resumed, SinkId, Spool};

/// Finds the sink with this name.
///
/// # Errors
/// [`OperatorRefusal`] if there is no such sink, or if the state cannot be read.
pub fn sink_named(spool: &Spool, name: &str) -> Result<SinkId, OperatorRefusal> {
    spool.sink_named(name)?.ok_or_else(|| OperatorRefusal::unknown_sink(spool, name))
}

/// Pauses the sink `id`, which is called `name`. Returns one sentence about the change, and whether there was a change.
///
/// # Errors
/// The errors of the store.
pub fn pause_sink(spool: &mut Spool, id: SinkId, name: &str, now: UnixMs) -> Result<(String, bool), Error> {
    let before = spool.pause(id, PauseReason::Operator, now)?;
    Ok(match before.map(|pause| pause.reason) {
        Some(PauseReason::Operator) => (format!("{name} is paused already"), false),
        _ => (format!("{name} is paused, a running relay hears of it within 5 s"), true),
    })
}

/// Resumes the sink `id`, which is called `name`. `live` is the sink's status if a running relay has reported one.
/// Returns one sentence about the change.
///
/// # Errors
/// The errors of the store.
pub fn resume_sink(
    spool: &mut Spool,
    id: SinkId,
    name: &str,
    live: Option<&SinkStatus>,
    now: UnixMs,
) -> Result<String, Error> {
    let has_failed = spool.waiting(id)?.retry > 0;
    if let Some(Pause { reason: PauseReason::Disabled, .. }) = spool.pause_of(id)? {
        return Ok(format!(
            "{name} is switched off in the configuration: set enabled = true there and restart the relay"
        ));
    }
    Ok(match spool.resume(id, now)? {
        Some(Resumed::Pause(pause)) => {
            let paused = span(now.since(pause.since));
            format!("{name} is resumed: it was paused for {paused}; a running relay sends to it again within 5 s")
        }
        Some(Resumed::Silence(until)) => {
            let left = span(until.since(now));
            format!(
                "{name} is resumed: its receiver had asked for silence for {left} more; a running relay sends to it \
                 again within 5 s"
            )
        }
        None => match live.and_then(|live| forgotten(live, has_failed)) {
            Some(learned) => format!("{name} is not paused; {learned}"),
            None => format!("{name} is not paused"),
        },
    })
}

/// Describes the effect on a running relay when an operator resumes a sink that is not paused; `None` if there is none.
/// `has_failed`: messages that have failed wait for the sink.
fn forgotten(live: &SinkStatus, has_failed: bool) -> Option<String> {
    if has_failed && matches!(live.blocked_by, Some(BlockedBy::Breaker { .. })) {
        let probed = "its last attempts failed, so the relay tried one message at a time";
        return Some(format!("{probed}; within 5 s the relay tries all waiting messages again"));
    }
    if has_failed && live.failing_since.is_some() {
        return Some("its last attempts failed; within 5 s the relay tries all waiting messages again".to_owned());
    }
    Some(format!("its pace ({}) is forgotten within 5 s", learned_pace(live)?))
}

/// Describes the pace that a sink has learned from refusals; `None` if the sink has learned no pace.
pub fn learned_pace(live: &SinkStatus) -> Option<String> {
    let requests = count(live.learned_per_minute?, "request");
    Some(format!("{requests} a minute, since its receiver refuses more"))
}
