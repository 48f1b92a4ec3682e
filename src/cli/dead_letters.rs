//! The commands `dead-letters list | show | retry | drop`.

use std::io::{IsTerminal as _, Write as _};

use super::commands::{DeadLettersCommand, Which};
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, json_line, unwritten};
use super::relay::complain;
use super::screen::Screen;
use super::state_access::{CommandRefusal, fails, location, look, open, relay_clock};
use crate::domain::{Sanitized, UnixMs};
use crate::humanize::{count, harmless, span, table};
use crate::operator::{dead_letter_selection, resolve_dead_letters, resolved};
use crate::store::{DeadLetter, DeadLetterAction, DeadLetterSelection, Error, ListedUpTo, Spool};

/// How many dead letters are read in one portion and printed as one table. A long list is printed as several tables, so
/// that it need not fit into memory.
const TABLE: usize = 500;

/// The indentation of the lines below an id.
const INDENT: &str = "  ";

/// How many texts of messages are read in one portion.
const TEXTS: usize = 20;

pub(super) fn dead_letters(flags: &Flags, command: &DeadLettersCommand) -> Exit {
    let done = match command {
        DeadLettersCommand::List { which, json: false } => list(flags, which),
        DeadLettersCommand::List { which, json: true } => list_json(flags, which),
        DeadLettersCommand::Show { which } => show(flags, &which.into()),
        DeadLettersCommand::Retry { which } => settle(flags, &which.into(), DeadLetterAction::Retry),
        DeadLettersCommand::Drop { which } => settle(flags, &which.into(), DeadLetterAction::Drop),
    };
    done.unwrap_or_else(|exit| exit)
}

/// Returns the selection that the flags describe. Fails if no sink has the name that the flags give.
fn selection(spool: &Spool, which: &Which) -> Result<DeadLetterSelection, CommandRefusal> {
    Ok(dead_letter_selection(spool, which.sink.as_deref(), which.id.as_deref())?)
}

/// Says that nothing was selected. This is a failure only if the command named a message.
fn nothing(which: &Which) -> Exit {
    let (exit, why) = absence(which);
    complain(exit, &format_args!("nothing selected: {why}"))
}

/// Says that the list is empty. This is a failure only if the command named a message.
fn none_listed(which: &Which) -> Exit {
    let (exit, why) = absence(which);
    complain(exit, &why)
}

/// Returns the sentence about dead letters that are not there, and the exit code.
fn absence(which: &Which) -> (Exit, String) {
    let of = which.sink.as_ref().map(|sink| format!(" of {sink}")).unwrap_or_default();
    match &which.id {
        Some(id) => (Exit::Failure, format!("{id:?} is no dead letter{of}")),
        None => (Exit::Done, format!("there are no dead letters{of}")),
    }
}

fn list(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    let now = look(&location(flags)?, |spool| Ok(relay_clock(spool)?.relay_time()))?;
    let screen = Screen::stdout(flags);
    let any = each(
        flags,
        which,
        TABLE,
        |_, letter| Ok(letter),
        |letters| {
            let rows: Vec<Vec<String>> = letters.iter().map(|letter| row(letter, now)).collect();
            let wide = table(&["ID", "SINK", "REASON", "RECEIVED", "DIED", "ATTEMPTS", "LAST ANSWER"], &rows);
            if screen.holds(&wide) { wide } else { letters.iter().map(|letter| block(letter, now, &screen)).collect() }
        },
    )?;
    if any { Ok(Exit::Done) } else { Err(none_listed(which)) }
}

fn row(letter: &DeadLetter, now: UnixMs) -> Vec<String> {
    let ago = |at: UnixMs| format!("{} ago", span(now.since(at)));
    let (id, answer) = (harmless(&letter.id), harmless(&letter.answer));
    let (received, died) = (ago(letter.received), letter.died.map_or_else(String::new, ago));
    vec![id, letter.sink.clone(), letter.reason.clone(), received, died, letter.attempts.to_string(), answer]
}

/// Describes a dead letter in a few short lines, for a terminal that is too narrow for a table.
fn block(letter: &DeadLetter, now: UnixMs, screen: &Screen) -> String {
    let ago = |at: UnixMs| format!("{} ago", span(now.since(at)));
    let died = letter.died.map_or_else(String::new, |at| format!(" {}", ago(at)));
    let attempts = count(letter.attempts.into(), "attempt");
    let said = format!(
        "{} ({}): received {}, given up{died} after {attempts}; last answer: {}",
        letter.sink,
        letter.reason,
        ago(letter.received),
        harmless(&letter.answer)
    );
    let lines = screen.behind(INDENT.len(), &said);
    lines.iter().fold(harmless(&letter.id) + "\n", |text, line| text + INDENT + line + "\n")
}

/// Prints the selected dead letters in portions of `at_once`, and returns whether there were any. `read` reads the
/// needed values of a letter while the state is open; `write` formats a portion. The state is closed while a portion is
/// printed.
fn each<T>(
    flags: &Flags,
    which: &Which,
    at_once: usize,
    read: impl Fn(&Spool, DeadLetter) -> Result<T, Error>,
    mut write: impl FnMut(&[T]) -> String,
) -> Result<bool, Exit> {
    let state = location(flags)?;
    let mut out = std::io::stdout().lock();
    let (mut after, mut any) = (None, false);
    loop {
        let (portion, last) = look(&state, |spool| {
            let selection = selection(spool, which)?;
            let (mut portion, mut last) = (Vec::new(), None);
            for letter in spool.dead_letters(&selection, after.as_ref(), at_once)? {
                last = Some(ListedUpTo::at(&letter));
                portion.push(read(spool, letter)?);
            }
            Ok((portion, last))
        })?;
        let Some(last) = last else { break };
        (after, any) = (Some(last), true);
        out.write_all(write(&portion).as_bytes()).map_err(|error| unwritten(&error))?;
    }
    out.flush().map_err(|error| unwritten(&error))?;
    Ok(any)
}

fn list_json(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    let mut before = "[\n";
    let any = each(
        flags,
        which,
        TABLE,
        |_, letter| Ok(letter),
        |letters| {
            letters.iter().fold(String::new(), |text, letter| {
                text + std::mem::replace(&mut before, ",\n") + &Sanitized::line(&json_line(letter)).to_string()
            })
        },
    )?;
    Ok(answer(if any { "\n]\n" } else { "[]\n" }))
}

/// Prints the texts of messages. The texts contain codes, so this is the only command of `dead-letters` that prints
/// them, and it requires a selector.
fn show(flags: &Flags, which: &Which) -> Result<Exit, Exit> {
    let for_people = std::io::stdout().is_terminal();
    let mut missing = 0;
    let any = each(
        flags,
        which,
        TEXTS,
        |spool, letter| spool.raw(letter.seq),
        |texts| {
            missing += u64::try_from(texts.iter().filter(|text| text.is_none()).count()).unwrap_or(0);
            let texts = texts.iter().flatten();
            texts.map(|raw| if for_people { harmless(raw) } else { raw.clone() } + "\n").collect()
        },
    )?;
    if !any {
        return Err(nothing(which));
    }
    if missing > 0 {
        return Err(complain(
            Exit::Failure,
            &format_args!("the text of {} is not stored any more", count(missing, "message")),
        ));
    }
    Ok(Exit::Done)
}

fn settle(flags: &Flags, which: &Which, action: DeadLetterAction) -> Result<Exit, Exit> {
    let spool = &mut *open(flags)?;
    let selection = selection(spool, which).map_err(CommandRefusal::say)?;
    let clock = relay_clock(spool).map_err(|error| fails(&error))?;
    let settled = resolve_dead_letters(spool, &selection, action, clock.relay_time()).map_err(|error| fails(&error))?;
    if settled == 0 {
        return Err(nothing(which));
    }
    Ok(answer(&(resolved(settled, action) + "\n")))
}
