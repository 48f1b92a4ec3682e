//! `sinks list | pause | resume`.

use serde_json::Value;

use super::exit::Exit;
use super::flags::{Flags, SinksCommand};
use super::output::answer;
use super::relay::complain;
use super::state::{fails, look, open};
use super::words::{grouped, span, table};
use crate::admin::sink_json;
use crate::domain::{PauseReason, UnixMs};
use crate::store::{Error, Pause, SinkId, SinkView, Spool};
use crate::time::Clock;

pub(super) fn sinks(flags: &Flags, command: &SinksCommand) -> Exit {
    let done = match command {
        SinksCommand::List { json } => list(flags, *json),
        SinksCommand::Pause { names } => change(flags, names, pause),
        SinksCommand::Resume { names } => change(flags, names, resume),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(flags: &Flags, as_json: bool) -> Result<Exit, Exit> {
    let look = look(flags)?;
    let sinks = look.spool.sinks().map_err(|error| fails(&error))?;
    let now = Clock::system().wall();
    if as_json {
        let list: Vec<Value> = sinks.iter().map(|sink| sink_json(sink, now)).collect();
        return Ok(answer(&format!("{:#}\n", Value::Array(list))));
    }
    Ok(answer(&sinks_table(&sinks, now, |_| None)))
}

/// The sinks for people; `doing` says more of one than the state does.
pub(super) fn sinks_table(sinks: &[SinkView], now: UnixMs, doing: impl Fn(&SinkView) -> Option<String>) -> String {
    let row = |sink: &SinkView| {
        let mut state = match sink.pause {
            Some(pause) => {
                let why = match pause.reason {
                    PauseReason::Operator => "paused",
                    PauseReason::Gone => "paused: the receiver is gone (410)",
                    PauseReason::Closed => "paused: nobody reads the output",
                    PauseReason::Disabled => "paused: enabled = false in the configuration",
                };
                format!("{why}, since {}", span(now.since(pause.since)))
            }
            None => doing(sink).unwrap_or_default(),
        };
        if !sink.configured {
            state = ["not configured any more", state.as_str()].join(if state.is_empty() { "" } else { "; " });
        }
        let oldest = sink.oldest.map_or_else(|| "-".to_owned(), |oldest| span(now.since(oldest)));
        vec![sink.name.clone(), grouped(sink.waiting), grouped(sink.retrying), grouped(sink.dead), oldest, state]
    };
    let rows: Vec<Vec<String>> = sinks.iter().map(row).collect();
    table(&["SINK", "WAITING", "RETRYING", "DEAD", "OLDEST", "STATE"], &rows)
}

/// One sentence about what was done to the sink.
type Change = fn(&mut Spool, SinkId, &str, UnixMs) -> Result<String, Error>;

/// All names are looked up before anything is changed.
fn change(flags: &Flags, names: &[String], change: Change) -> Result<Exit, Exit> {
    let mut spool = open(flags)?;
    let mut sinks = Vec::new();
    for name in names {
        match spool.sink_named(name) {
            Ok(Some(id)) => sinks.push((name, id)),
            Ok(None) => return Err(no_such_sink(&spool, name)),
            Err(error) => return Err(fails(&error)),
        }
    }
    let now = Clock::system().wall();
    let mut said = String::new();
    for (name, id) in sinks {
        let sentence = change(&mut spool, id, name, now).map_err(|error| fails(&error))?;
        said += &sentence;
        said.push('\n');
    }
    Ok(answer(&said))
}

fn pause(spool: &mut Spool, id: SinkId, name: &str, now: UnixMs) -> Result<String, Error> {
    let before = spool.pause(id, PauseReason::Operator, now)?;
    Ok(match before.map(|pause| pause.reason) {
        Some(PauseReason::Operator) => format!("{name} is paused already"),
        _ => format!("{name} is paused, a running relay hears of it within 5 s; joltsms-relay sinks resume {name}"),
    })
}

fn resume(spool: &mut Spool, id: SinkId, name: &str, now: UnixMs) -> Result<String, Error> {
    if let Some(Pause { reason: PauseReason::Disabled, .. }) = spool.pause_of(id)? {
        return Ok(format!(
            "{name} is switched off in the configuration: set enabled = true there and restart the relay"
        ));
    }
    Ok(match spool.resume(id, now)? {
        Some(pause) => {
            let paused = span(now.since(pause.since));
            format!("{name} goes on after {paused}, within 5 s if a relay runs")
        }
        None => format!("{name} is not paused"),
    })
}

/// Says which there are.
pub(super) fn no_such_sink(spool: &Spool, name: &str) -> Exit {
    match spool.sink_names() {
        Ok(names) if names.is_empty() => {
            complain(Exit::Failure, &format_args!("the state knows no sinks yet, so none named {name:?}"))
        }
        Ok(names) => {
            let known = names.join(", ");
            complain(Exit::Failure, &format_args!("the state knows no sink named {name:?}; it knows {known}"))
        }
        Err(error) => fails(&error),
    }
}
