//! `dead-letters list | show | retry | drop`.

use std::io::{IsTerminal as _, Write};

use super::exit::Exit;
use super::flags::{DeadLettersCommand, Flags, Which};
use super::output::{answer, unwritten};
use super::relay::complain;
use super::sinks::no_such_sink;
use super::state::{fails, look, open, relay_clock};
use super::words::{count, harmless, span, table};
use crate::admin::letter_json;
use crate::domain::{Shown, UnixMs};
use crate::store::{DeadLetter, DeadPlace, Selection, Spool, Verdict};

/// So many rows are aligned with each other; beyond them the columns may shift, and memory does not grow.
const TABLE: usize = 500;

pub(super) fn dead_letters(flags: &Flags, command: &DeadLettersCommand) -> Exit {
    let done = match command {
        DeadLettersCommand::List { which, json: false } => list(flags, which),
        DeadLettersCommand::List { which, json: true } => list_json(flags, which),
        DeadLettersCommand::Show { which } => show(flags, which),
        DeadLettersCommand::Retry { which } => settle(flags, &which.into(), Verdict::Retry),
        DeadLettersCommand::Drop { which } => settle(flags, &which.into(), Verdict::Drop),
    };
    done.unwrap_or_else(|exit| exit)
}

/// What is selected, if there is such a sink.
fn selection(spool: &Spool, which: &Which) -> Result<Selection, Exit> {
    if let Some(name) = &which.sink
        && spool.sink_named(name).map_err(|error| fails(&error))?.is_none()
    {
        return Err(no_such_sink(spool, name));
    }
    Ok(Selection { sink: which.sink.clone(), id: which.id.clone() })
}

/// Nothing was selected: a message that was named is missed, an empty list is not.
fn nothing(which: &Which) -> Exit {
    let of = which.sink.as_ref().map(|sink| format!(" of {sink}")).unwrap_or_default();
    match &which.id {
        Some(id) => complain(Exit::Failure, &format_args!("nothing selected: {id:?} is no dead letter{of}")),
        None => complain(Exit::Done, &format_args!("nothing selected: there are no dead letters{of}")),
    }
}

fn list(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    let look = look(flags)?;
    let now = relay_clock(&look.spool)?.wall();
    each(&look.spool, which, |letters, out| {
        let rows: Vec<Vec<String>> = letters.iter().map(|letter| row(letter, now)).collect();
        out.write_all(table(&["ID", "SINK", "REASON", "RECEIVED", "DIED", "ATTEMPTS", "LAST ANSWER"], &rows).as_bytes())
    })
}

fn row(letter: &DeadLetter, now: UnixMs) -> Vec<String> {
    let ago = |at: UnixMs| format!("{} ago", span(now.since(at)));
    let (id, answer) = (harmless(&letter.id), harmless(&letter.answer));
    let (received, died) = (ago(letter.received), letter.died.map_or_else(String::new, ago));
    vec![id, letter.sink.clone(), letter.reason.clone(), received, died, letter.attempts.to_string(), answer]
}

/// Hands the selected dead letters on in portions.
fn each(
    spool: &Spool,
    which: &Which,
    mut write: impl FnMut(&[DeadLetter], &mut dyn Write) -> std::io::Result<()>,
) -> Result<Exit, Exit> {
    let selection = selection(spool, which)?;
    let mut out = std::io::stdout().lock();
    let (mut portion, mut any, mut written) = (Vec::new(), false, Ok(()));
    let shown = spool.dead_letters(&selection, |letter| {
        any = true;
        portion.push(letter);
        if portion.len() == TABLE {
            written = write(&portion, &mut out);
            portion.clear();
        }
        written.is_ok()
    });
    shown.map_err(|error| fails(&error))?;
    if !any {
        return Err(nothing(which));
    }
    if written.is_ok() && !portion.is_empty() {
        written = write(&portion, &mut out);
    }
    Ok(ended(written.and_then(|()| out.flush())))
}

fn ended(written: std::io::Result<()>) -> Exit {
    written.map_or_else(|error| unwritten(&error), |()| Exit::Done)
}

fn list_json(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    let look = look(flags)?;
    let selection = selection(&look.spool, which)?;
    let mut out = std::io::stdout().lock();
    let (mut before, mut written) = ("[\n", Ok(()));
    let shown = look.spool.dead_letters(&selection, |letter| {
        written = write!(out, "{before}{}", Shown::line(&letter_json(&letter)));
        before = ",\n";
        written.is_ok()
    });
    shown.map_err(|error| fails(&error))?;
    let end = if before == "[\n" { "[]\n" } else { "\n]\n" };
    Ok(ended(written.and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush())))
}

/// The bodies hold codes: they are printed by this command alone, and only when asked for.
fn show(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    if which.sink.is_none() && which.id.is_none() {
        return Err(complain(Exit::Usage, &"say which: --id ID, --sink NAME, or both"));
    }
    let look = look(flags)?;
    let for_people = std::io::stdout().is_terminal();
    let mut missing = 0;
    let mut failed = None;
    let exit = each(&look.spool, which, |letters, out| {
        for letter in letters {
            match look.spool.raw(letter.seq) {
                Ok(Some(raw)) => {
                    let raw = if for_people { harmless(&raw) } else { raw };
                    writeln!(out, "{raw}")?;
                }
                Ok(None) => missing += 1,
                Err(error) => failed = Some(error),
            }
        }
        Ok(())
    })?;
    if let Some(error) = failed {
        return Err(fails(&error));
    }
    if missing > 0 {
        return Err(complain(
            Exit::Failure,
            &format_args!("of {} the text is not kept any more", count(missing, "message")),
        ));
    }
    Ok(exit)
}

fn settle(flags: &Flags, which: &Which, verdict: Verdict) -> Result<Exit, Exit> {
    let mut spool = open(flags)?;
    let selection = selection(&spool, which)?;
    let clock = relay_clock(&spool)?;
    let (mut after, mut settled) = (Some(DeadPlace::default()), 0_u64);
    while let Some(from) = after {
        let done = spool.settle_dead(&selection, verdict, from, clock.wall()).map_err(|error| fails(&error))?;
        settled += u64::try_from(done.0).unwrap_or(0);
        after = done.1;
    }
    if settled == 0 {
        return Err(nothing(which));
    }
    let letters = count(settled, "dead letter");
    let (have, them) = if settled == 1 { ("is", "it") } else { ("are", "them") };
    Ok(answer(&match verdict {
        Verdict::Retry => format!("{letters} {have} sent again; a running relay begins within 5 s\n"),
        Verdict::Drop => format!("{letters} {have} given up; the state keeps a trace of {them}\n"),
    }))
}
