//! The command `replay`: delivers stored messages once more.

use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::flags::{Flags, ReplayChoice, ReplayFlags};
use super::humanize::{count, grouped, span, table};
use super::output::{answer, progress};
use super::relay::complain;
use super::sinks::no_such_sink;
use super::state::{CommandRefusal, directory, fails, filter, look, open, relay_clock};
use crate::domain::{Invocation, PauseReason, UnixMs};
use crate::store::{PastDelivery, ReplayPortion, ReplaySelection, SinkView, Spool, is_running};
use crate::time::{Clock, Instant};

/// The time between two reports of progress with `--rate`.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// One sink, and the deliveries that were found for it.
struct Tally {
    sink: SinkView,
    delivered: u64,
    dead: u64,
    new: u64,
    waiting: u64,
    oldest: UnixMs,
    newest: UnixMs,
}

impl Tally {
    fn new(sink: SinkView) -> Self {
        let (oldest, newest) = (UnixMs::MAX, UnixMs::MIN);
        Self { sink, delivered: 0, dead: 0, new: 0, waiting: 0, oldest, newest }
    }

    fn again(&self) -> u64 {
        self.delivered + self.dead
    }

    fn found(&self) -> u64 {
        self.again() + self.new
    }
}

pub(super) fn replay(flags: &Flags, how: &ReplayFlags) -> Exit {
    let done = if how.dry_run { dry_run(flags, how) } else { begin(flags, how) };
    done.unwrap_or_else(|exit| exit)
}

fn dry_run(flags: &Flags, how: &ReplayFlags) -> Result<Exit, Exit> {
    let dir = directory(flags)?;
    let (choice, mut tallies, last) = look(&dir, |spool| {
        let (choice, tallies) = choose(spool, &how.choice)?;
        Ok((choice, tallies, spool.last_released()?))
    })?;
    let mut after = Some(0);
    while let Some(from) = after {
        let portion = look(&dir, |spool| Ok(spool.replayable(&choice, from, last)?))?;
        note(&mut tallies, &portion);
        after = portion.next;
    }
    if tallies.iter().all(|tally| tally.found() + tally.waiting == 0) {
        return Err(nothing(&how.choice));
    }
    let rows: Vec<Vec<String>> = tallies.iter().map(row).collect();
    let mut shown = table(&["SINK", "DELIVERED", "DEAD", "NEW", "WAITING", "OLDEST", "NEWEST"], &rows);
    if let Some(rate) = how.rate {
        let all = tallies.iter().map(Tally::found).fold(0, u64::saturating_add);
        shown += &format!("{}\n", takes(all, rate));
    }
    Ok(answer(&shown))
}

/// Describes over how long a time `--rate` spreads the deliveries.
fn takes(all: u64, rate: u32) -> String {
    let deliveries = if all == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", grouped(all)) };
    format!("{deliveries}, {rate} a minute: about {}", span(due(all, rate)))
}

/// Returns how long after the start the next delivery after the first `asked` ones may be requested.
fn due(asked: u64, rate: u32) -> Duration {
    let millis = u128::from(asked).saturating_mul(60_000) / u128::from(rate);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn row(tally: &Tally) -> Vec<String> {
    let time = |time: UnixMs| if tally.found() > 0 { time.to_string() } else { "-".to_owned() };
    let numbers = [tally.delivered, tally.dead, tally.new, tally.waiting].map(grouped);
    let times = [time(tally.oldest), time(tally.newest)];
    [tally.sink.name.clone()].into_iter().chain(numbers).chain(times).collect()
}

fn begin(flags: &Flags, how: &ReplayFlags) -> Result<Exit, Exit> {
    let dir = directory(flags)?;
    let spool = &mut *open(flags)?;
    let (choice, mut tallies) = choose(spool, &how.choice).map_err(CommandRefusal::say)?;
    let mut pace = match how.rate {
        Some(rate) => Some(Paced::begin(&dir, rate, spool, &choice)?),
        None => None,
    };
    let (mut found, mut changed) = (0_usize, 0_usize);
    each(spool, &choice, |spool, portion| {
        note(&mut tallies, portion);
        found += portion.found.len();
        let at_once = pace.as_ref().map_or(usize::MAX, Paced::at_once);
        for slice in portion.found.chunks(at_once) {
            if let Some(pace) = &mut pace {
                pace.wait(changed)?;
            }
            changed += spool.replay(slice).map_err(|error| fails(&error))?;
        }
        Ok(())
    })?;
    if tallies.iter().all(|tally| tally.found() + tally.waiting == 0) {
        return Err(nothing(&how.choice));
    }
    let running = is_running(&dir).map_err(|error| fails(&error))?;
    Ok(answer(&outcome(&tallies, found - changed, running, &flags.invocation())))
}

/// Describes the result, with one line for each sink.
fn outcome(tallies: &[Tally], left: usize, running: Option<bool>, program: &Invocation) -> String {
    let told = tallies.iter().filter(|tally| tally.found() + tally.waiting > 0);
    let mut lines: Vec<String> = told.map(|tally| sentence(tally, program)).collect();
    if left > 0 {
        let left = grouped(u64::try_from(left).unwrap_or(0));
        lines.push(format!("of these {left} had changed meanwhile, and stay as they are"));
    }
    if tallies.iter().any(|tally| tally.found() > 0) {
        lines.push(match running {
            Some(false) => "no relay runs: it begins with them at its next start".to_owned(),
            _ => "a running relay begins within 5 s".to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

fn sentence(tally: &Tally, program: &Invocation) -> String {
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
        Some(_) => format!(" (it is paused: {program} sinks resume {name})"),
    };
    format!("{name}: {}{paused}", parts.join("; "))
}

/// Returns the selection of messages, and the sinks for which they are.
fn choose(spool: &Spool, which: &ReplayChoice) -> Result<(ReplaySelection, Vec<Tally>), CommandRefusal> {
    let known = spool.sinks()?;
    let mut sinks = Vec::new();
    for name in &which.sinks {
        match known.iter().find(|sink| sink.name == *name) {
            None => return Err(no_such_sink(spool, name)),
            Some(sink) if !sink.configured => {
                let said = format!("{name} is not configured any more, so nothing would be sent to it");
                return Err(CommandRefusal { exit: Exit::Failure, said });
            }
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
    // `--since` and `--until` are compared with the times of messages, so `now` is the time by the clock that dates
    // messages.
    let now = relay_clock(spool)?.likely_message_time();
    let choice = ReplaySelection {
        sinks: sinks.iter().map(|sink| sink.id).collect(),
        new: !which.sinks.is_empty(),
        ids,
        since: which.since.map_or(UnixMs::MIN, |when| when.resolve(now)),
        until: which.until.map_or(UnixMs::MAX, |when| when.resolve(now)),
        filter: filter(&which.to, &which.from)?,
        failed: which.failed,
    };
    Ok((choice, sinks.into_iter().map(Tally::new).collect()))
}

/// Handles all selected deliveries one after the other.
fn each(
    spool: &mut Spool,
    choice: &ReplaySelection,
    mut work: impl FnMut(&mut Spool, &ReplayPortion) -> Result<(), Exit>,
) -> Result<(), Exit> {
    let (mut after, last) = (Some(0), spool.last_released().map_err(|error| fails(&error))?);
    while let Some(from) = after {
        let portion = spool.replayable(choice, from, last).map_err(|error| fails(&error))?;
        work(spool, &portion)?;
        after = portion.next;
    }
    Ok(())
}

fn note(tallies: &mut [Tally], portion: &ReplayPortion) {
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

/// Says that nothing was selected. This is a failure only if the command named a message.
fn nothing(which: &ReplayChoice) -> Exit {
    let said = "nothing selected: no message that is kept fits (state.keep_delivered says how long they are)";
    complain(if which.ids.is_empty() { Exit::Done } else { Exit::Failure }, &said)
}

/// A replay with `--rate`, which requests the deliveries bit by bit.
struct Paced<'d> {
    dir: &'d Path,
    rate: u32,
    clock: Clock,
    began: Instant,
    told: Instant,
    all: u64,
}

impl<'d> Paced<'d> {
    fn begin(dir: &'d Path, rate: u32, spool: &mut Spool, choice: &ReplaySelection) -> Result<Self, Exit> {
        let mut all = 0;
        each(spool, choice, |_, portion| {
            all += u64::try_from(portion.found.len()).unwrap_or(0);
            Ok(())
        })?;
        let clock = Clock::system();
        let began = clock.monotonic();
        let pace = Self { dir, rate, clock, began, told: began, all };
        pace.needs_a_relay("nothing was changed")?;
        if all > u64::from(rate) {
            let takes = takes(all, rate);
            complain(Exit::Done, &format_args!("{takes}; Ctrl-C ends it, and what was not asked for by then stays"));
        }
        Ok(pace)
    }

    /// Returns the number of deliveries that are requested at once: about one second of the rate.
    fn at_once(&self) -> usize {
        usize::try_from(self.rate / 60).unwrap_or(1).max(1)
    }

    /// Returns when the next delivery may be requested.
    fn due(&self, asked: usize) -> Duration {
        due(u64::try_from(asked).unwrap_or(u64::MAX), self.rate)
    }

    /// Waits until the next deliveries may be requested.
    fn wait(&mut self, asked: usize) -> Result<(), Exit> {
        loop {
            let now = self.clock.monotonic();
            let left = self.due(asked).saturating_sub(now - self.began);
            if left.is_zero() {
                break;
            }
            if now - self.told >= TELL_EVERY {
                self.told = now;
                let asked = u64::try_from(asked).unwrap_or(0);
                progress(&format_args!("{} of {}", grouped(asked), grouped(self.all)));
            }
            std::thread::park_timeout(left.min(TELL_EVERY));
        }
        let asked = u64::try_from(asked).unwrap_or(0);
        self.needs_a_relay(&format!("{} of {} were asked for", grouped(asked), grouped(self.all)))
    }

    /// Fails unless a relay runs. If none runs, the next start would send all deliveries at once.
    fn needs_a_relay(&self, so_far: &str) -> Result<(), Exit> {
        match is_running(self.dir) {
            Ok(Some(false)) => Err(complain(
                Exit::Temporary,
                &format_args!("no relay runs that could keep to --rate; {so_far}: start it first, or leave --rate out"),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(fails(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_exceeded() {
        let clock = Clock::starting_at(UnixMs(0));
        let began = clock.monotonic();
        for (rate, at_once, due_after) in [
            (1, 1, [(1, 60_000), (10, 600_000)]),
            (60, 1, [(1, 1000), (60, 60_000)]),
            (90, 1, [(1, 666), (90, 60_000)]),
            (6000, 100, [(100, 1000), (6000, 60_000)]),
        ] {
            let pace = Paced { dir: Path::new(""), rate, clock: clock.clone(), began, told: began, all: 0 };
            assert_eq!(pace.at_once(), at_once, "{rate}");
            for (asked, millis) in due_after {
                assert_eq!(pace.due(asked), Duration::from_millis(millis), "{rate} {asked}");
            }
        }
    }
}
