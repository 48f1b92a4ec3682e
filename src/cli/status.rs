//! The command `status`: shows how polling and the sinks are doing. The command reads the state on disk, whether a
//! relay runs or not.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::commands::StatusFlags;
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, json, json_line, unwritten};
use super::relay::{complain, store_exit};
use super::screen::{Screen, Tone};
use super::sink_table::sinks_table;
use super::state_access::{Absent, explained, location};
use crate::domain::UnixMs;
use crate::humanize::{bytes, count, grouped, harmless, span};
use crate::ingest::PollReport;
use crate::status::{ReadingKind, ReplicasStatus, Status, WalkStatus, next_poll_in, stands_by};
use crate::store::{self, StateLocation};
use crate::time::Clock;

/// The time between two readings of the status with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// The text that moves the terminal's cursor to the upper left and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The width of the names at the beginning of the lines, with the space after them.
const NAME_WIDTH: usize = 9;

/// The width of the output in columns, if the output is no terminal.
const USUAL_WIDTH: usize = 80;

pub(super) fn status(flags: &Flags, how: &StatusFlags) -> Exit {
    let state = match location(flags) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    let clock = Clock::system();
    let once_within = how.once_within;
    if how.watch {
        return watch(&state, flags, how, &clock);
    }
    let status = match look(&state, &clock, once_within) {
        Ok(status) => status,
        // A health check has only two results, healthy and unhealthy.
        Err((_, said)) if how.check => return answer_with(Exit::Failure, &format!("unhealthy: {said}\n")),
        Err((exit, said)) => return complain(exit, &said),
    };
    let exit = match &status.relay.report {
        _ if how.check && !status.healthy => Exit::Failure,
        // This command does not read the texts of messages. Only the report of the relay says whether a text is
        // damaged.
        Some(report) if !status.relay.running && report.damaged => Exit::Damaged,
        _ => Exit::Done,
    };
    let text = match (how.json, how.check) {
        (true, _) => json(&status),
        (false, false) => text(&status, &screen(flags)),
        (false, true) if status.healthy => "healthy\n".to_owned(),
        (false, true) => format!("unhealthy: {}\n", harmless(&status.problems.join("; "))),
    };
    answer_with(exit, &text)
}

/// Returns the screen of stdout. A pipe or a file counts as wide as a usual terminal.
fn screen(flags: &Flags) -> Screen {
    let screen = Screen::stdout(flags);
    Screen { columns: screen.columns.or(Some(USUAL_WIDTH)), ..screen }
}

fn answer_with(exit: Exit, text: &str) -> Exit {
    match answer(text) {
        Exit::Done => exit,
        failed => failed,
    }
}

/// Reads the status. Fails with the exit code and the message for stderr.
fn look(state: &StateLocation, clock: &Clock, once_within: Option<Duration>) -> Result<Status, (Exit, String)> {
    match Status::of(state, clock, once_within) {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err((Exit::Failure, Absent(state).to_string())),
        Err(error) => Err((store_exit(&error), unreadable(&error))),
    }
}

fn unreadable(error: &store::Error) -> String {
    match error {
        store::Error::Database(_) => format!(
            "{error}; a user who may not write to the state can read it only while a relay runs, or after the relay \
             was stopped normally"
        ),
        _ => explained(error),
    }
}

/// Does the work of `--watch`: prints the status every second. On a terminal, each status replaces the previous one.
/// The function ends when it is interrupted, or when nobody reads the output any more.
fn watch(state: &StateLocation, flags: &Flags, how: &StatusFlags, clock: &Clock) -> Exit {
    let on_terminal = std::io::stdout().is_terminal();
    loop {
        let shown = match look(state, clock, how.once_within) {
            Ok(status) if how.json => format!("{}\n", json_line(&status)),
            Ok(status) => text(&status, &screen(flags)),
            // The state may appear later, or become free.
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

/// Formats the status as text for people.
fn text(status: &Status, screen: &Screen) -> String {
    let line = |name: &str, value: &str, tone: Option<Tone>| line(name, value, tone, screen);
    let plain = |name: &str, value: &str| line(name, value, None);
    let of_relay = match (status.relay.running, status.healthy) {
        (true, true) => Some(Tone::Good),
        (true, false) => None,
        (false, _) => Some(Tone::Warning),
    };
    let mut lines = vec![
        line("relay", &relay(status), of_relay),
        plain("state", &format!("{}, {}", harmless(&status.state.dir), bytes(status.state.bytes))),
    ];
    lines.extend(status.replicas.iter().map(|replicas| plain("replicas", &group(replicas))));
    if let Some(held) = status.state.storage.journal_held_bytes {
        let why = "another program holds the state open for reading, so the state grows until that program ends \
                   (fuser -v state.db)";
        lines.push(plain("journal", &format!("{}: {why}", bytes(held))));
    }
    if let Some(report) = status.polling.report.as_ref().filter(|_| !stands_by(status)) {
        let tone = report.condition.why().filter(|_| status.relay.running).map(|_| Tone::Warning);
        lines.push(line("polling", &polling(status, report), tone));
        lines.extend(key(status, report).map(|key| plain("key", &key)));
    }
    lines.extend(failed_reload(status).map(|failure| line("reload", &failure, Some(Tone::Bad))));
    match &status.coverage {
        Some(coverage) => {
            let newest =
                format!("newest message {} ago ({})", span(coverage.frontier_age_seconds.0), coverage.frontier);
            let sweep = span(coverage.last_sweep_age_seconds.0);
            lines.push(plain("read", &format!("{newest}; last search for late messages {sweep} ago")));
            lines.extend(coverage.walks.iter().map(|stretch| plain("reading", &walk(stretch))));
        }
        None => lines.push(plain("read", "nothing yet")),
    }
    if let Some(budget) = status.budget.own {
        let foreign = match status.budget.api.filter(|api| api.foreign > 0) {
            Some(api) => format!("; other programs used {}", grouped(api.foreign.into())),
            None => String::new(),
        };
        let (left, limit) = (grouped(budget.left), grouped(budget.limit));
        lines.push(plain("budget", &format!("{left} of {limit} requests left this minute{foreign}")));
    }
    lines.extend(status.problems.iter().map(|problem| line("problem", &harmless(problem), Some(Tone::Bad))));
    let mut text = lines.concat();
    if !status.sinks.is_empty() {
        text.push('\n');
        let sinks = status.sinks.iter().map(|sink| (&sink.stored.view, sink.live.as_ref()));
        text += &sinks_table(sinks, false, status.now, screen);
    }
    text
}

/// Formats a value after its name. The lines of a long value stand below each other.
fn line(name: &str, value: &str, tone: Option<Tone>, screen: &Screen) -> String {
    let mut text = screen.paint(Tone::Faint, &format!("{name:<NAME_WIDTH$}"));
    for (number, part) in screen.behind(NAME_WIDTH, value).iter().enumerate() {
        if number > 0 {
            text += &" ".repeat(NAME_WIDTH);
        }
        text += &tone.map_or_else(|| part.clone(), |tone| screen.paint(tone, part));
        text.push('\n');
    }
    text
}

fn relay(status: &Status) -> String {
    let ago = |at: UnixMs| span(status.now.since(at));
    match &status.relay.report {
        None if status.relay.running => "running".to_owned(),
        None => "not running".to_owned(),
        Some(report) if status.relay.running => {
            let (version, pid) = (harmless(&report.version), report.pid.unwrap_or_default());
            let does = if report.stands_by { "standing by" } else { "running" };
            format!("{does} for {} (version {version}, process {pid})", ago(report.started_at))
        }
        Some(report) => match report.stopped_at {
            Some(at) if report.caught_up_at.is_some() => format!("not running; `once` caught up {} ago", ago(at)),
            Some(at) if report.failure.is_some() => {
                let why = report.failure.as_deref().unwrap_or_default();
                let command = if report.once { "`once`" } else { "it" };
                format!("not running; {command} ended {} ago: {}", ago(at), harmless(why))
            }
            Some(at) => format!("not running; it was stopped {} ago", ago(at)),
            None => {
                let last_heard = ago(report.last_heard_at);
                format!("not running; it was last heard of {last_heard} ago, and did not end as it should")
            }
        },
    }
}

/// Describes the relays that share the state.
fn group(replicas: &ReplicasStatus) -> String {
    let active = match (&replicas.active, replicas.lease_seconds) {
        (Some(name), Some(left)) => format!("{} is active (its lease ends in {})", harmless(name), span(left.0)),
        _ => "none is active".to_owned(),
    };
    let others = replicas.replicas.iter().filter(|replica| !replica.active);
    let others: Vec<String> = others
        .map(|replica| format!("{} (seen {} ago)", harmless(&replica.name), span(replica.seen_age_seconds.0)))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!("; standing by: {}", others.join(", ")) };
    format!("{active}, epoch {}{others}", replicas.epoch)
}

fn polling(status: &Status, report: &PollReport) -> String {
    let last = match status.polling.last_poll_age_seconds {
        Some(age) => format!("last answered {} ago", span(age.0)),
        None => "not answered yet".to_owned(),
    };
    if !status.relay.running {
        // The silence also holds for the next relay, so it is shown although no relay runs.
        let silence = report.condition.silent_until().filter(|until| *until > status.now);
        return last + &silence.map(|until| format!("; the API wants silence until {until}")).unwrap_or_default();
    }
    match report.condition.why() {
        Some(why) => {
            let since = report.since.map_or(Duration::ZERO, |at| status.now.since(at));
            format!("{last}; for {}: {}", span(since), harmless(why))
        }
        None => {
            let interval = status.polling.interval_seconds.map_or(Duration::ZERO, |interval| interval.0);
            let next = match next_poll_in(status) {
                Some(left) if left.is_zero() => ", the next one is due",
                Some(left) => &format!(", next in {}", span(left)),
                None => "",
            };
            format!("every {}, {last}{next}", span(interval))
        }
    }
}

/// Describes the API key in use; `None` if no relay runs.
fn key(status: &Status, report: &PollReport) -> Option<String> {
    let since = report.key_since.filter(|_| status.relay.running)?;
    let ending = harmless(report.key_ending.as_deref()?);
    Some(format!("…{ending}, in use for {}", span(status.now.since(since))))
}

/// Describes the last reload, if it failed and the relay runs.
fn failed_reload(status: &Status) -> Option<String> {
    let reload = &status.relay.report.as_ref().filter(|_| status.relay.running)?.reload;
    let (at, why) = (reload.reload_failed_at?, reload.reload_error.as_deref().unwrap_or_default());
    let since = span(status.now.since(at));
    Some(format!("the last one failed {since} ago, and nothing has changed: {}", harmless(why)))
}

fn walk(walk: &WalkStatus) -> String {
    let what = match walk.kind {
        ReadingKind::Gap => "missed messages",
        ReadingKind::Sweep => "late messages, once more",
        ReadingKind::Seed => "what was there before",
    };
    let mut text = format!("{what}, back to {}", walk.reached);
    if let Some(pages) = walk.pages_left {
        text += &format!(", about {} left", count(pages, "page"));
        if let Some(left) = walk.seconds_left {
            text += &format!(" ({})", span(left));
        }
    }
    if walk.held_messages > 0 {
        text += &format!("; {} wait until all are read", count(walk.held_messages, "message"));
    }
    if walk.failures > 0 {
        text += &format!("; {} in a row", count(walk.failures.into(), "failure"));
    }
    text
}
