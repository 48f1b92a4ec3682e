//! The commands `sinks list | pause | resume | rename | create-table | drop`.

use std::path::Path;

use super::commands::SinksCommand;
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, json};
use super::relay::complain;
use super::screen::Screen;
use super::sink_table::sinks_table;
use super::state_access::{CommandRefusal, fails, location, look, open, relay_clock};
use crate::config::{self, Sources};
use crate::delivery::SinkStatus;
use crate::domain::{Invocation, Seq, SinkName, UnixMs};
use crate::humanize::count;
use crate::operator::{pause_sink, resume_sink, sink_named};
use crate::status::{ListedSink, Live, StoredSink};
use crate::store::{CommandRole, DropPermission, DropProgress, Error, SinkId, SinkView, Spool};

pub(super) fn sinks(flags: &Flags, command: &SinksCommand) -> Exit {
    let done = match command {
        SinksCommand::List { json } => list(flags, *json),
        SinksCommand::Pause { names } => change(flags, names, pause),
        SinksCommand::Resume { names } => change(flags, names, resume),
        SinksCommand::Rename { name, to } => rename(flags, name, to),
        SinksCommand::CreateTable { name } => create_table(flags, name),
        SinksCommand::Drop { name, discard_messages } => drop_sink(flags, name, *discard_messages),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(flags: &Flags, as_json: bool) -> Result<Exit, Exit> {
    let state = location(flags)?;
    let (sinks, now) = look(&state, |spool| Ok((spool.sinks()?, relay_clock(spool)?.relay_time())))?;
    let live = running(state.dir(), now);
    let live_sink = |sink: &SinkView| live.as_ref().and_then(|live| live.sinks.get(&sink.name));
    if as_json {
        let pace = |sink: &SinkView| live_sink(sink).and_then(|live| live.learned_per_minute);
        let list: Vec<ListedSink> = sinks
            .into_iter()
            .map(|sink| ListedSink { learned_requests_per_minute: pace(&sink), stored: StoredSink::at(now, sink) })
            .collect();
        return Ok(answer(&json(&list)));
    }
    let sinks = sinks.iter().map(|sink| (sink, live_sink(sink)));
    Ok(answer(&sinks_table(sinks, true, now, &Screen::stdout(flags))))
}

/// Returns the report of the running relay about itself; `None` if no relay runs.
fn running(dir: &Path, now: UnixMs) -> Option<Live> {
    Live::read(dir).filter(|live| live.is_recent(now))
}

/// A function that changes a sink and returns one sentence about the change. The function gets the sink's status if a
/// running relay has reported a status.
type Change = fn(&mut Spool, &ChangedSink<'_>, Option<&SinkStatus>, UnixMs) -> Result<String, Error>;

/// The sink that a change concerns.
struct ChangedSink<'n> {
    id: SinkId,
    name: &'n str,
    /// The beginning of a command line for this configuration and state, for hints.
    program: &'n Invocation,
}

/// Applies a change to the sinks with these names. If one of the names does not exist, nothing is changed.
fn change(flags: &Flags, names: &[String], change: Change) -> Result<Exit, Exit> {
    let spool = &mut *open(flags)?;
    let mut sinks = Vec::new();
    for name in names {
        sinks.push((name, named(spool, name)?));
    }
    let now = relay_clock(spool).map_err(|error| fails(&error))?.relay_time();
    let live = running(location(flags)?.dir(), now);
    let (mut said, program) = (String::new(), &flags.invocation());
    for (name, id) in sinks {
        let live = live.as_ref().and_then(|live| live.sinks.get(name));
        let sentence = change(spool, &ChangedSink { id, name, program }, live, now).map_err(|error| fails(&error))?;
        said += &sentence;
        said.push('\n');
    }
    Ok(answer(&said))
}

fn pause(spool: &mut Spool, sink: &ChangedSink<'_>, _: Option<&SinkStatus>, now: UnixMs) -> Result<String, Error> {
    let ChangedSink { id, name, program } = sink;
    let (said, is_changed) = pause_sink(spool, *id, name, now)?;
    Ok(if is_changed { format!("{said}; `{program} sinks resume {name}` ends the pause") } else { said })
}

fn resume(spool: &mut Spool, sink: &ChangedSink<'_>, live: Option<&SinkStatus>, now: UnixMs) -> Result<String, Error> {
    resume_sink(spool, sink.id, sink.name, live, now)
}

fn rename(flags: &Flags, name: &str, to: &SinkName) -> Result<Exit, Exit> {
    let spool = &mut *open(flags)?;
    let sink = named(spool, name)?;
    if name == to.as_str() {
        return Ok(answer(&format!("{name} has this name already\n")));
    }
    if spool.rename_sink(sink, to).map_err(|error| fails(&error))? {
        return Ok(answer(&format!(
            "{name} is called {to} now and keeps its waiting messages; the configuration must have [sinks.{to}] \
             instead of [sinks.{name}] at the next reload or start\n"
        )));
    }
    Err(complain(
        Exit::Failure,
        &format_args!(
            "there is a sink named {to} already, with its own queue; if you do not need that queue, stop the relay, \
             run `{} sinks drop {to}`, and then rename again",
            flags.invocation()
        ),
    ))
}

/// Makes the database table for a sink of the configuration. Does not need the state.
fn create_table(flags: &Flags, name: &SinkName) -> Result<Exit, Exit> {
    let config = config::load(&Sources::from_process(flags.overrides()));
    let config = config.map_err(|errors| complain(Exit::Configuration, &errors))?;
    let fails = |why: &dyn std::fmt::Display| complain(Exit::Failure, &why);
    let sink = config.sinks.iter().find(|sink| sink.name == *name);
    let sink = sink.ok_or_else(|| fails(&format_args!("there is no sink named {name} in the configuration")))?;
    let none = || fails(&format_args!("{name} needs no table: it is no sink of type postgres"));
    let creation = sink.target.create_table().ok_or_else(none)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let said = runtime.map_err(|error| fails(&error))?.block_on(creation);
    Ok(answer(&format!("{}\n", said.map_err(|why| fails(&format_args!("{}: {why}", sink.target.describe())))?)))
}

fn drop_sink(flags: &Flags, name: &str, discard: bool) -> Result<Exit, Exit> {
    let state = location(flags)?;
    let spool = &mut *open(flags)?;
    let sink = named(spool, name)?;
    // While this process has the role, no relay can start and send to the sink. The messages of the sink are counted
    // after this process has taken the role, because a relay that is just ending may store further messages until
    // it gives up the role.
    let role = match CommandRole::take(&state) {
        Ok(lock) => Some(lock),
        Err(Error::InUse { .. } | Error::HasActiveRelay { .. }) => None,
        Err(error) => return Err(fails(&error)),
    };
    let views = spool.sinks().map_err(|error| fails(&error))?;
    let Some(view) = views.into_iter().find(|view| view.id == sink) else {
        return Err(gone(spool, name));
    };
    let lost = [(view.waiting, "waiting message"), (view.dead, "dead letter")];
    let lost: Vec<String> =
        lost.into_iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(number, noun)).collect();
    let lost = lost.join(" and ");
    let may = DropPermission { configured: role.is_some(), messages: discard };
    let mut after = Seq::default();
    let dropping = loop {
        match spool.drop_sink(sink, after, may).map_err(|error| fails(&error))? {
            DropProgress::MoreToRemove(from) => after = from,
            dropping => break dropping,
        }
    };
    // The role is released before printing. Printing blocks if nobody reads the output, and the role would then keep a
    // relay from starting.
    drop(role);
    match dropping {
        DropProgress::MoreToRemove(_) | DropProgress::Removed => {}
        DropProgress::SinkIsConfigured => return Err(is_sent_to(name)),
        DropProgress::SinkHasMessages => {
            let lost = if lost.is_empty() { "messages now" } else { &lost };
            return Err(complain(
                Exit::Failure,
                &format_args!(
                    "{name} still has {lost}, so nothing was changed. To remove the sink and lose them, add --discard-messages"
                ),
            ));
        }
    }
    let with = if lost.is_empty() { String::new() } else { format!(" with {lost}") };
    let warning =
        if view.configured { "; if it is still configured at the next start, it begins as a new sink" } else { "" };
    Ok(answer(&format!("{name} is gone{with}{warning}\n")))
}

fn is_sent_to(name: &str) -> Exit {
    complain(
        Exit::Temporary,
        &format_args!(
            "a relay runs that sends to {name}: remove it from the configuration and restart the relay first"
        ),
    )
}

fn named(spool: &Spool, name: &str) -> Result<SinkId, Exit> {
    sink_named(spool, name).map_err(|refusal| CommandRefusal::from(refusal).say())
}

/// Reports that the sink with this name has disappeared since this command found it. If another sink has the name now,
/// the command must be run again.
fn gone(spool: &Spool, name: &str) -> Exit {
    match named(spool, name) {
        Err(exit) => exit,
        Ok(_) => complain(Exit::Temporary, &format_args!("{name} has just been replaced; try again")),
    }
}
