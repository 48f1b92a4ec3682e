//! The command `replay`: delivers stored messages once more.

use std::time::Duration;

use super::commands::{ReplayChoice, ReplayFlags};
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::{answer, progress};
use super::relay::complain;
use super::screen::Screen;
use super::state_access::{CommandRefusal, fails, look, open, relay_clock, state_config};
use crate::config::StateConfig;
use crate::domain::UnixMs;
use crate::humanize::{grouped, span, table};
use crate::operator::{ReplayRequest, ReplayTally, choose, count_portion, each_portion, replayed};
use crate::store::{Error, ReplaySelection, Spool, StateLocation, is_running};
use crate::time::{Clock, Instant};

/// The time between two reports of progress with `--rate`.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) fn replay(flags: &Flags, how: &ReplayFlags) -> Exit {
    let done = if how.dry_run { dry_run(flags, how) } else { begin(flags, how) };
    done.unwrap_or_else(|exit| exit)
}

fn dry_run(flags: &Flags, how: &ReplayFlags) -> Result<Exit, Exit> {
    let config = state_config(flags)?;
    let state = config.options.location();
    let (choice, mut tallies, last) = look(&state, |spool| {
        let (choice, tallies) = choose(spool, &request(spool, &how.choice, &config)?)?;
        Ok((choice, tallies, spool.last_released()?))
    })?;
    let mut after = Some(0);
    while let Some(from) = after {
        let portion = look(&state, |spool| Ok(spool.replayable(&choice, from, last)?))?;
        count_portion(&mut tallies, &portion);
        after = portion.next;
    }
    if tallies.iter().all(|tally| tally.found() + tally.waiting == 0) {
        return Err(nothing(&how.choice));
    }
    let rows: Vec<Vec<String>> = tallies.iter().map(row).collect();
    let wide = table(&["SINK", "DELIVERED", "DEAD", "NEW", "WAITING", "OLDEST", "NEWEST"], &rows);
    let screen = Screen::stdout(flags);
    let mut shown =
        if screen.holds(&wide) { wide } else { screen.folded(&tallies.iter().map(block).collect::<String>()) };
    if let Some(rate) = how.rate {
        let all = tallies.iter().map(ReplayTally::found).fold(0, u64::saturating_add);
        shown += &format!("{}\n", takes(all, rate));
    }
    Ok(answer(&shown))
}

/// Describes how long the deliveries take with `--rate`.
fn takes(all: u64, rate: u32) -> String {
    let deliveries = if all == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", grouped(all)) };
    format!("{deliveries}, {rate} a minute: about {}", span(due(all, rate)))
}

/// Returns the time from the start of the command until the next delivery may be requested. `asked` deliveries were
/// requested before.
fn due(asked: u64, rate: u32) -> Duration {
    let millis = u128::from(asked).saturating_mul(60_000) / u128::from(rate);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn row(tally: &ReplayTally) -> Vec<String> {
    let time = |time: UnixMs| if tally.found() > 0 { time.to_string() } else { "-".to_owned() };
    let numbers = [tally.delivered, tally.dead, tally.new, tally.waiting].map(grouped);
    let times = [time(tally.oldest), time(tally.newest)];
    [tally.sink.name.clone()].into_iter().chain(numbers).chain(times).collect()
}

/// Describes the deliveries of a sink in a few short lines, for a terminal that is too narrow for a table.
fn block(tally: &ReplayTally) -> String {
    let ReplayTally { sink, delivered, dead, new, waiting, oldest, newest } = tally;
    let [delivered, dead, new, waiting] = [delivered, dead, new, waiting].map(|count| grouped(*count));
    let counts = format!("{}\n  {delivered} delivered, {dead} dead, {new} new, {waiting} waiting\n", sink.name);
    let times = if tally.found() > 0 { format!("  oldest {oldest}, newest {newest}\n") } else { String::new() };
    counts + &times
}

fn begin(flags: &Flags, how: &ReplayFlags) -> Result<Exit, Exit> {
    let config = state_config(flags)?;
    let state = config.options.location();
    let spool = &mut *open(flags)?;
    let request = request(spool, &how.choice, &config).map_err(|error| fails(&error))?;
    let (choice, mut tallies) = choose(spool, &request).map_err(|refusal| CommandRefusal::from(refusal).say())?;
    let mut pace = match how.rate {
        Some(rate) => Some(Paced::begin(&state, rate, spool, &choice)?),
        None => None,
    };
    let (mut found, mut changed) = (0_usize, 0_usize);
    each_portion(spool, &choice, |spool, portion| {
        count_portion(&mut tallies, portion);
        found += portion.found.len();
        let at_once = pace.as_ref().map_or(usize::MAX, Paced::at_once);
        for slice in portion.found.chunks(at_once) {
            if let Some(pace) = &mut pace {
                pace.wait(changed).map_err(Interrupted::Said)?;
            }
            changed += spool.replay(slice)?;
        }
        Ok(())
    })
    .map_err(Interrupted::exit)?;
    if tallies.iter().all(|tally| tally.found() + tally.waiting == 0) {
        return Err(nothing(&how.choice));
    }
    let running = is_running(&state).map_err(|error| fails(&error))?;
    let program = flags.invocation();
    let to_resume = |name: &str| format!("{program} sinks resume {name}");
    Ok(answer(&(replayed(&tallies, found - changed, running, &to_resume) + "\n")))
}

/// Why a replay has ended early.
enum Interrupted {
    /// The store failed.
    Store(Error),
    /// There was another reason, which was printed already.
    Said(Exit),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Interrupted {
    fn exit(self) -> Exit {
        match self {
            Self::Store(error) => fails(&error),
            Self::Said(exit) => exit,
        }
    }
}

/// Reads the flags. `--since` and `--until` are compared with the times of messages, so a duration counts back from the
/// present time by the clock that dates the messages.
fn request(spool: &Spool, which: &ReplayChoice, config: &StateConfig) -> Result<ReplayRequest, Error> {
    let now = relay_clock(spool)?.likely_message_time();
    Ok(ReplayRequest {
        sinks: which.sinks.clone(),
        without_events: config.without_events.iter().map(ToString::to_string).collect(),
        ids: which.ids.clone(),
        since: which.since.map(|when| when.resolve(now)),
        until: which.until.map(|when| when.resolve(now)),
        to: which.to.clone(),
        from: which.from.clone(),
        failed: which.failed,
    })
}

/// Says that nothing was selected. This is a failure only if the command named a message.
fn nothing(which: &ReplayChoice) -> Exit {
    let said = "nothing selected: no stored message fits (state.keep_delivered says how long messages are stored)";
    complain(if which.ids.is_empty() { Exit::Done } else { Exit::Failure }, &said)
}

/// A replay with `--rate`, which requests the deliveries in small portions over time.
struct Paced<'s> {
    state: &'s StateLocation,
    rate: u32,
    clock: Clock,
    began: Instant,
    told: Instant,
    all: u64,
}

impl<'s> Paced<'s> {
    fn begin(state: &'s StateLocation, rate: u32, spool: &mut Spool, choice: &ReplaySelection) -> Result<Self, Exit> {
        let mut all = 0;
        each_portion(spool, choice, |_, portion| {
            all += u64::try_from(portion.found.len()).unwrap_or(0);
            Ok(())
        })
        .map_err(|error: Error| fails(&error))?;
        let clock = Clock::system();
        let began = clock.monotonic();
        let pace = Self { state, rate, clock, began, told: began, all };
        pace.needs_a_relay("nothing was changed")?;
        if all > u64::from(rate) {
            let takes = takes(all, rate);
            complain(
                Exit::Done,
                &format_args!("{takes}; Ctrl-C ends the command, and the remaining messages are not sent again"),
            );
        }
        Ok(pace)
    }

    /// Returns the number of deliveries that are requested in one portion: as many as the rate allows in a second, but
    /// at least one.
    fn at_once(&self) -> usize {
        usize::try_from(self.rate / 60).unwrap_or(1).max(1)
    }

    /// Like the function [`due`], with the rate of this replay.
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
        self.needs_a_relay(&format!("{} of {} were requested", grouped(asked), grouped(self.all)))
    }

    /// Fails if no relay runs: the deliveries would only gather in the state, and the next relay would send all of them
    /// at once.
    fn needs_a_relay(&self, so_far: &str) -> Result<(), Exit> {
        match is_running(self.state) {
            Ok(Some(false)) => Err(complain(
                Exit::Temporary,
                &format_args!(
                    "--rate needs a running relay, and none runs; {so_far}: start the relay first, or leave --rate out"
                ),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(fails(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SinkView;

    #[test]
    fn a_dry_run_fits_a_narrow_terminal() {
        let newest = UnixMs::parse("2026-11-29T01:40:00.123Z").unwrap();
        let sink = SinkView { name: "helpdesk-eu".to_owned(), ..SinkView::default() };
        let (oldest, newest, waiting) = (newest, newest, 2);
        let tally = ReplayTally { sink, delivered: 1_234_567, dead: 89, new: 1_000, waiting, oldest, newest };
        let expected = "helpdesk-eu\n  1,234,567 delivered, 89 dead, 1,000 new, 2 waiting\n  \
                        oldest 2026-11-29T01:40:00.123Z, newest 2026-11-29T01:40:00.123Z\n";
        assert_eq!(block(&tally), expected);
        assert!(Screen { columns: Some(80), colored: false }.holds(expected));
        let waits = ReplayTally { delivered: 0, dead: 0, new: 0, ..tally };
        assert_eq!(block(&waits), "helpdesk-eu\n  0 delivered, 0 dead, 0 new, 2 waiting\n", "no delivery, so no times");
    }

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
            let state = StateLocation::from(std::path::Path::new(""));
            let pace = Paced { state: &state, rate, clock: clock.clone(), began, told: began, all: 0 };
            assert_eq!(pace.at_once(), at_once, "{rate}");
            for (asked, millis) in due_after {
                assert_eq!(pace.due(asked), Duration::from_millis(millis), "{rate} {asked}");
            }
        }
    }
}
