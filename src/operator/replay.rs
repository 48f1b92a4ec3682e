//! Replays: delivering stored messages once more.

use super::refusal::OperatorRefusal;
use crate::domain::filter::{Clause, Filter, Globs};
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{count, grouped};
use crate::store::{Error, PastDelivery, ReplayPortion, ReplaySelection, SinkView, Spool};

/// Which messages an operator wants to be delivered again, and to which sinks. A delivery must meet all of these
/// conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The names of the sinks. A sink that is named here also gets messages that it never had, if its filter wants
    /// them. If no sink is named, all configured sinks are meant, each with the messages that it had.
    pub sinks: Vec<String>,
    /// The names of sinks that take no events of numbers.
    pub without_events: Vec<String>,
    /// The ids of the messages; if empty, all messages.
    pub ids: Vec<String>,
    /// Only messages received at this time or later, by the clock that dates messages.
    pub since: Option<UnixMs>,
    /// Only messages received before this time, by the clock that dates messages.
    pub until: Option<UnixMs>,
    /// Patterns of the receiving number. One of them has to match, if there are any.
    pub to: Vec<String>,
    /// Patterns of the sender. One of them has to match, if there are any.
    pub from: Vec<String>,
    /// Whether only dead letters are selected, including those that an operator gave up.
    pub failed: bool,
}

/// One sink, and the deliveries that were found for it.
#[derive(Clone, Debug)]
pub struct ReplayTally {
    /// The sink.
    pub sink: SinkView,
    /// How many of the found messages were delivered to the sink before.
    pub delivered: u64,
    /// For how many of the found messages the delivery to the sink ended as a dead letter.
    pub dead: u64,
    /// How many of the found messages had no delivery to the sink before.
    pub new: u64,
    /// How many messages match, but wait for the sink already. They do not count as found.
    pub waiting: u64,
    /// When the oldest found message was received.
    pub oldest: UnixMs,
    /// When the newest found message was received.
    pub newest: UnixMs,
}

impl ReplayTally {
    fn new(sink: SinkView) -> Self {
        let (oldest, newest) = (UnixMs::MAX, UnixMs::MIN);
        Self { sink, delivered: 0, dead: 0, new: 0, waiting: 0, oldest, newest }
    }

    /// Returns how many deliveries are repeated.
    pub fn again(&self) -> u64 {
        self.delivered + self.dead
    }

    /// Returns how many deliveries were found.
    pub fn found(&self) -> u64 {
        self.again() + self.new
    }
}

/// Returns the selection of deliveries, and an empty tally for each of its sinks.
///
/// # Errors
/// [`OperatorRefusal`] says which selector is wrong.
pub fn choose(spool: &Spool, which: &ReplayRequest) -> Result<(ReplaySelection, Vec<ReplayTally>), OperatorRefusal> {
    let known = spool.sinks()?;
    let mut sinks = Vec::new();
    for name in &which.sinks {
        match known.iter().find(|sink| sink.name == *name) {
            None => return Err(OperatorRefusal::unknown_sink(spool, name)),
            Some(sink) if !sink.configured => return Err(OperatorRefusal::NotConfigured(name.clone())),
            Some(sink) if sinks.contains(sink) => {}
            Some(sink) => sinks.push(sink.clone()),
        }
    }
    if which.sinks.is_empty() {
        sinks = known.into_iter().filter(|sink| sink.configured).collect();
    }
    let mut ids = which.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let takes_no_events = |sink: &&SinkView| which.without_events.contains(&sink.name);
    let choice = ReplaySelection {
        sinks: sinks.iter().map(|sink| sink.id).collect(),
        without_events: sinks.iter().filter(takes_no_events).map(|sink| sink.id).collect(),
        new: !which.sinks.is_empty(),
        ids,
        since: which.since.unwrap_or(UnixMs::MIN),
        until: which.until.unwrap_or(UnixMs::MAX),
        filter: filter_of(&which.to, &which.from)?,
        failed: which.failed,
    };
    Ok((choice, sinks.into_iter().map(ReplayTally::new).collect()))
}

/// Makes a filter from patterns of the receiving number (`to`) and of the sender (`from`); `None` if there are no
/// patterns.
///
/// # Errors
/// [`OperatorRefusal::InvalidPattern`] names the selector of the invalid pattern.
pub fn filter_of(to: &[String], from: &[String]) -> Result<Option<Filter>, OperatorRefusal> {
    let globs = |selector: &'static str, patterns: &[String]| {
        if patterns.is_empty() {
            return Ok(None);
        }
        let globs = Globs::new(patterns.iter().map(String::as_str));
        globs.map(Some).map_err(|error| OperatorRefusal::InvalidPattern(selector, error))
    };
    let clause = Clause { to: globs("to", to)?, from: globs("from", from)?, ..Clause::default() };
    Ok(if clause.is_empty() { None } else { Some(Filter::any_of(vec![clause])) })
}

/// Calls `work` for all selected deliveries, one portion after the other.
///
/// # Errors
/// The errors of `work` and of the store.
pub fn each_portion<E: From<Error>>(
    spool: &mut Spool,
    choice: &ReplaySelection,
    mut work: impl FnMut(&mut Spool, &ReplayPortion) -> Result<(), E>,
) -> Result<(), E> {
    let (mut after, last) = (Some(0), spool.last_released()?);
    while let Some(from) = after {
        let portion = spool.replayable(choice, from, last)?;
        work(spool, &portion)?;
        after = portion.next;
    }
    Ok(())
}

/// Adds the deliveries of a portion to the tallies of their sinks.
pub fn count_portion(tallies: &mut [ReplayTally], portion: &ReplayPortion) {
    for found in &portion.found {
        let Some(tally) = tallies.iter_mut().find(|tally| tally.sink.id == found.sink) else { continue };
        match found.before {
            PastDelivery::Delivered => tally.delivered += 1,
            PastDelivery::Dead => tally.dead += 1,
            PastDelivery::Never => tally.new += 1,
        }
        tally.oldest = tally.oldest.min(found.received);
        tally.newest = tally.newest.max(found.received);
    }
    for sink in &portion.waiting {
        if let Some(tally) = tallies.iter_mut().find(|tally| tally.sink.id == *sink) {
            tally.waiting += 1;
        }
    }
}

/// Describes the result of a replay, with one line for each sink. `left`: how many of the found deliveries had changed
/// before they could be repeated, and so were not repeated. `running`: whether a relay runs, if that is known.
/// `to_resume` gets the name of a paused sink, and returns words that tell the operator to resume the sink.
pub fn replayed(
    tallies: &[ReplayTally],
    left: usize,
    running: Option<bool>,
    to_resume: &dyn Fn(&str) -> String,
) -> String {
    let told = tallies.iter().filter(|tally| tally.found() + tally.waiting > 0);
    let mut lines: Vec<String> = told.map(|tally| sentence(tally, to_resume)).collect();
    if left > 0 {
        let left = grouped(u64::try_from(left).unwrap_or(0));
        lines.push(format!("of these {left} had changed meanwhile, and stay as they are"));
    }
    if tallies.iter().any(|tally| tally.found() > 0) {
        lines.push(match running {
            Some(false) => "no relay runs: the next start begins with them".to_owned(),
            _ => "a running relay begins within 5 s".to_owned(),
        });
    }
    lines.join("\n")
}

fn sentence(tally: &ReplayTally, to_resume: &dyn Fn(&str) -> String) -> String {
    let mut parts = Vec::new();
    if tally.again() > 0 {
        let dead = match tally.dead {
            0 => String::new(),
            1 => ", of which 1 was a dead letter".to_owned(),
            dead => format!(", of which {} were dead letters", grouped(dead)),
        };
        parts.push(format!("{} again{dead}", count(tally.again(), "message")));
    }
    if tally.new > 0 {
        parts.push(format!("{} that it never had, if its filter wants them", count(tally.new, "message")));
    }
    match tally.waiting {
        0 => {}
        1 => parts.push("1 waits for it already".to_owned()),
        waiting => parts.push(format!("{} wait for it already", grouped(waiting))),
    }
    let name = &tally.sink.name;
    let paused = match tally.sink.pause.map(|pause| pause.reason) {
        None => String::new(),
        Some(PauseReason::Disabled) => " (it is switched off: enabled = false in the configuration)".to_owned(),
        Some(_) => format!(" (it is paused: {})", to_resume(name)),
    };
    format!("{name}: {}{paused}", parts.join("; "))
}
