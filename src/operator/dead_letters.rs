//! Retrying and dropping dead letters: sending them again, or giving them up.

use super::refusal::OperatorRefusal;
use super::sinks::sink_named;
use crate::domain::UnixMs;
use crate::humanize::count;
use crate::store::{DeadLetterAction, DeadLetterSelection, Error, ResolvedUpTo, Spool};

/// Returns the selection of dead letters of a sink, of a message, or of both.
///
/// # Errors
/// [`OperatorRefusal`] if there is no such sink, or if the state cannot be read.
pub fn dead_letter_selection(
    spool: &Spool,
    sink: Option<&str>,
    id: Option<&str>,
) -> Result<DeadLetterSelection, OperatorRefusal> {
    if let Some(name) = sink {
        sink_named(spool, name)?;
    }
    Ok(DeadLetterSelection { sink: sink.map(str::to_owned), id: id.map(str::to_owned) })
}

/// Retries or drops all dead letters of a selection, as `action` says. Returns how many there were.
///
/// # Errors
/// The errors of the store. The dead letters that were retried or dropped before the error stay retried or dropped.
pub fn resolve_dead_letters(
    spool: &mut Spool,
    selection: &DeadLetterSelection,
    action: DeadLetterAction,
    now: UnixMs,
) -> Result<u64, Error> {
    let (mut after, mut settled) = (Some(ResolvedUpTo::default()), 0_u64);
    while let Some(from) = after {
        let (some, next) = spool.resolve_dead_letters(selection, action, from, now)?;
        settled += u64::try_from(some).unwrap_or(0);
        after = next;
    }
    Ok(settled)
}

/// Describes what was done with some dead letters.
pub fn resolved(settled: u64, action: DeadLetterAction) -> String {
    let letters = count(settled, "dead letter");
    let (have, them) = if settled == 1 { ("is", "it") } else { ("are", "them") };
    match action {
        DeadLetterAction::Retry => format!("{letters} {have} sent again; a running relay begins within 5 s"),
        DeadLetterAction::Drop => format!("{letters} {have} given up; the state keeps a trace of {them}"),
    }
}
