//! `status`: what is going on, from the state on disk, whether a relay runs or not.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::flags::{Flags, StatusFlags};
use super::humanize::{bytes, count, grouped, harmless, span};
use super::output::{answer, json, unwritten};
use super::relay::{complain, store_exit};
use super::sinks::{learned_pace, sinks_table};
use super::state::{Absent, directory};
use crate::admin::{Live, Status, WalkView, problems, status_json};
use crate::domain::{UnixMs, WalkKind, time_for};
use crate::store::{self, SinkView};
use crate::time::Clock;

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);

/// The cursor to the upper left, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn status(flags: &Flags, how: &StatusFlags) -> Exit {
    let dir = match directory(flags) {
        Ok(dir) => dir,
        Err(exit) => return exit,
    };
    let clock = Clock::system();
    if how.watch {
        return watch(&dir, how, &clock);
    }
    let status = match look(&dir, &clock) {
        Ok(status) => status,
        // A health check knows two answers.
        Err((_, said)) if how.check => return answer_with(Exit::Failure, &format!("unhealthy: {said}\n")),
        Err((exit, said)) => return complain(exit, &said),
    };
    let problems = problems(&status);
    let exit = if how.check && !problems.is_empty() { Exit::Failure } else { Exit::Done };
    let text = match (how.json, how.check) {
        (true, _) => json(&status_json(&status)),
        (false, false) => text(&status),
        (false, true) if problems.is_empty() => "healthy\n".to_owned(),
        (false, true) => format!("unhealthy: {}\n", harmless(&problems.join("; "))),
    };
    answer_with(exit, &text)
}

fn answer_with(exit: Exit, text: &str) -> Exit {
    match answer(text) {
        Exit::Done => exit,
        failed => failed,
    }
}

/// The status, or how the command ends and why.
fn look(dir: &Path, clock: &Clock) -> Result<Status, (Exit, String)> {
    match Status::of(dir, clock) {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err((Exit::Failure, Absent(dir).to_string())),
        Err(error) => Err((store_exit(&error), explained(&error))),
    }
}

fn explained(error: &store::Error) -> String {
    match error {
        store::Error::Database(_) => format!(
            "{error}; whoever may not write to the state can read it only while a relay runs, or after one has ended \
             as it should"
        ),
        _ => error.to_string(),
    }
}

/// On a terminal in place; elsewhere one after the other. Ctrl-C ends it as it ends anything.
fn watch(dir: &Path, how: &StatusFlags, clock: &Clock) -> Exit {
    let on_terminal = std::io::stdout().is_terminal();
    loop {
        let shown = match look(dir, clock) {
            Ok(status) if how.json => format!("{}\n", status_json(&status)),
            Ok(status) => text(&status),
            // It may come, or come back.
            Err((Exit::Failure | Exit::Temporary, said)) => format!("{said}\n"),
            Err((exit, said)) => return complain(exit, &said),
        };
        let shown = match (on_terminal, how.json) {
            (true, false) => format!("{CLEAR}{shown}"),
            (_, true) => shown,
            (false, false) => format!("{shown}\n"),
        };
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => std::thread::park_timeout(EVERY),
            Err(error) => return unwritten(&error),
        }
    }
}

/// For people.
fn text(status: &Status) -> String {
    let mut lines = vec![
        line("relay", &relay(status)),
        line("state", &format!("{}, {}", harmless(&status.dir.display().to_string()), bytes(status.bytes))),
    ];
    let held = status.live.as_ref().filter(|_| status.running).and_then(|live| live.journal_held);
    if let Some(held) = held {
        let why = "another program holds the state open for reading, and it grows until that ends (fuser -v state.db)";
        lines.push(line("journal", &format!("{}: {why}", bytes(held))));
    }
    if let Some(live) = &status.live {
        lines.push(line("polling", &polling(status, live)));
    }
    match &status.marks {
        Some(marks) => {
            let (frontier, anchor) =
                (status.age_of_server_time(marks.frontier), status.age_of_server_time(marks.anchor));
            let newest = format!("newest message {} ago ({})", span(frontier), marks.frontier);
            lines.push(line("read", &format!("{newest}; late ones were looked for {} ago", span(anchor))));
        }
        None => lines.push(line("read", "nothing yet")),
    }
    lines.extend(status.walks.iter().map(|view| line("reading", &walk(status, view))));
    if let Some(budget) = status.budget {
        let left = budget.limit.saturating_sub(budget.used);
        let foreign = match status.live.as_ref().filter(|live| status.running && live.foreign > 0) {
            Some(live) => format!("; other programs used {}", grouped(live.foreign.into())),
            None => String::new(),
        };
        lines.push(line(
            "budget",
            &format!("{} of {} requests left this minute{foreign}", grouped(left), grouped(budget.limit)),
        ));
    }
    lines.extend(problems(status).iter().map(|problem| line("problem", &harmless(problem))));
    let mut text = lines.concat();
    if !status.sinks.is_empty() {
        text.push('\n');
        text += &sinks_table(&status.sinks, status.now, |sink| doing(status, sink));
    }
    text
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<8} {value}\n")
}

fn relay(status: &Status) -> String {
    let ago = |at: i64| span(status.now.since(UnixMs(at)));
    match &status.live {
        None if status.running => "running".to_owned(),
        None => "not running".to_owned(),
        Some(live) if status.running => {
            let version = harmless(&live.version);
            format!("running for {} (version {version}, process {})", ago(live.started_at), live.pid)
        }
        Some(live) => match live.stopped_at {
            Some(at) => format!("not running; it was stopped {} ago", ago(at)),
            None => {
                format!("not running; it was last heard of {} ago, and did not end as it should", ago(live.written_at))
            }
        },
    }
}

fn polling(status: &Status, live: &Live) -> String {
    let last = match live.last_poll {
        Some(at) => format!("last answered {} ago", span(status.now.since(UnixMs(at)))),
        None => "not answered yet".to_owned(),
    };
    if !status.running {
        return last;
    }
    let every = span(Duration::from_millis(live.interval_ms));
    match live.why.as_deref() {
        Some(why) => {
            let since = live.condition_since.map_or(Duration::ZERO, |at| status.now.since(UnixMs(at)));
            format!("{last}; for {}: {}", span(since), harmless(why))
        }
        None => format!("every {every}, {last}"),
    }
}

fn walk(status: &Status, view: &WalkView) -> String {
    let WalkView { walk, held, pages_left } = view;
    let what = match walk.kind {
        WalkKind::Gap { .. } => "missed messages",
        WalkKind::Sweep => "late messages, once more",
        WalkKind::Seed => "what was there before",
    };
    let mut text = format!("{what}, back to {}", walk.lowest);
    if let Some(pages) = pages_left {
        text += &format!(", about {} left", count(*pages, "page"));
        let pace = status.live.as_ref().filter(|_| status.running).and_then(|live| live.pages_per_minute);
        if let Some(left) = pace.and_then(|pace| time_for(*pages, pace)) {
            text += &format!(" ({})", span(left));
        }
    }
    if *held > 0 {
        text += &format!("; {} wait until all are read", count(*held, "message"));
    }
    if walk.progress.failures > 0 {
        text += &format!("; {} in a row", count(walk.progress.failures.into(), "failure"));
    }
    text
}

fn doing(status: &Status, sink: &SinkView) -> Option<String> {
    let live = status.live_sink(&sink.name)?;
    let mut parts = Vec::new();
    if let Some(since) = live.failing_since {
        // A receiver that sets the pace does not fail.
        let what = if live.held.as_deref() == Some("busy") { "nothing taken" } else { "failing" };
        parts.push(format!("{what} for {}", span(status.now.since(UnixMs(since)))));
    }
    let until =
        live.held_until.map(|until| format!(" in {}", span(UnixMs(until).since(status.now)))).unwrap_or_default();
    match live.held.as_deref() {
        Some("busy") => parts.push(format!("the receiver wants silence, tried again{until}")),
        Some("probing") => parts.push(format!("one message is tried{until}")),
        _ => {}
    }
    parts.extend(learned_pace(live));
    if live.in_flight > 0 {
        parts.push(format!("{} under way", live.in_flight));
    }
    Some(parts.join("; ")).filter(|text| !text.is_empty())
}
