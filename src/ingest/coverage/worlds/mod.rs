//! The property test of coverage: the real rules on a real SQLite file or PostgreSQL database, in random worlds. At
//! random moments between two steps the process dies, and all values in memory are lost.
//!
//! A failure prints the world and the seed. These commands replay one failure, and run many more seeds:
//!
//! - `JOLTSMS_RELAY_WORLD='late, down' JOLTSMS_RELAY_SEED=17 cargo test --lib worlds`
//! - `JOLTSMS_RELAY_SEEDS=200 cargo test --release --lib worlds`

mod catalogue;
mod feed;
mod seeded;
mod store;

use std::collections::HashSet;
use std::fmt;

use super::Rules;
use super::rules::Safeguard;
use super::testbed::{Beginning, Choices, Entry, LOOKBACK, Relay, Release, SWEEP, short_rules};
use catalogue::worlds;
use feed::{World, WorldFeed};
use seeded::Seeded;
use store::StateStore;

use crate::domain::{Start, UnixMs};

/// For how many ticks messages appear.
const STEPS: i64 = 260;

/// The faults of a run, and how many rows the feed had.
#[derive(Clone, Debug, Default, PartialEq)]
struct Verdict {
    lost: usize,
    old: usize,
    doubled: usize,
    disordered: usize,
    /// How many messages were overtaken. Counted only in worlds that are punctual ([`World::is_punctual`]).
    overtaken: usize,
    stuck: bool,
    rows: usize,
}

impl Verdict {
    fn is_well(&self) -> bool {
        self.lost == 0
            && self.old == 0
            && self.doubled == 0
            && self.disordered == 0
            && self.overtaken == 0
            && !self.stuck
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, old, doubled, disordered, overtaken, stuck, rows } = self;
        write!(
            out,
            "of {rows} rows: {lost} lost, {old} old ones sent, {doubled} doubled, {disordered} out of order, {overtaken} overtaken, stuck: {stuck}"
        )
    }
}

/// The messages that the sink got, and how many faults there were.
#[derive(Default)]
struct Sink {
    ids: HashSet<String>,
    doubled: usize,
    /// How often a transaction released messages to a queue, and a newer message came before an older one.
    disordered: usize,
    /// How many messages were overtaken: a newer message was released first. A message that lies in an open gap may be
    /// overtaken, but not by a message that this gap has released.
    overtaken: usize,
}

impl Sink {
    /// Takes the messages that the relay has released since the last call. The feed must still be as it was when they
    /// were released.
    fn take(&mut self, relay: &mut Relay<StateStore>, feed: &WorldFeed) {
        for release in relay.take_releases() {
            let mut newest = None;
            for ids in &release.queues {
                let times = ids.iter().map(|id| feed.list.time_of(id));
                // A row dated ahead does not count as overtaking others: its right place in the order is not known
                // before its time has come.
                newest = newest.max(times.clone().filter(|time| *time <= feed.list.now).max());
                self.disordered += usize::from(!times.is_sorted());
                self.doubled += ids.iter().filter(|id| !self.ids.insert((*id).clone())).count();
            }
            if let (Some(newest), Some(beginning)) = (newest, relay.beginning()) {
                let overtaken = |entry: &&Entry| self.is_overtaken(entry, newest, feed, &release, beginning);
                self.overtaken += feed.list.entries.iter().filter(overtaken).count();
            }
        }
    }

    /// Returns whether `entry` was overtaken by the message of the time `newest`, which `release` has released.
    fn is_overtaken(
        &self,
        entry: &Entry,
        newest: i64,
        feed: &WorldFeed,
        release: &Release,
        beginning: Beginning,
    ) -> bool {
        let wanted = match feed.world.start {
            Start::Now => entry.ingested > beginning.tick,
            _ => entry.time >= beginning.watermark.0,
        };
        let waits = wanted && entry.readable && !entry.gone && entry.time < newest;
        let in_gap = |(gap, floor): &(_, UnixMs)| Some(*gap) != release.by && *floor <= UnixMs(entry.time);
        waits && !self.ids.contains(&entry.id()) && !release.open_gaps.iter().any(in_gap)
    }
}

/// Makes one run. Messages appear for [`STEPS`] ticks. Some time after that, the feed has no more troubles, and the
/// relay reads what it has not read yet.
fn run(world: &World, seed: u64, left_out: Option<Safeguard>) -> Verdict {
    let choices = &mut Seeded::new(seed);
    let feed = &mut WorldFeed::new(world.clone());
    for _ in 0..choices.below(25) + world.before as u64 {
        feed.list.now = 1000 - choices.between(0, 400);
        feed.add(choices, feed.list.now);
    }
    feed.list.now = 1000;
    for _ in 0..world.ahead_before {
        let ahead = feed.list.now + 100_000 + choices.between(0, 50);
        feed.add(choices, ahead);
    }
    let rules = Rules { left_out, ..short_rules(world.start, world.hold_limit) };
    let relay = &mut Relay::new(rules, left_out.is_none(), StateStore::new());
    let mut sink = Sink::default();
    let rate = choices.pick(&[0.05, 0.3, 1.0, 2.0]);
    let tail = i64::from(LOOKBACK + 6 * SWEEP) + 120;
    for step in 0..STEPS + tail {
        feed.list.now += 1;
        if step < STEPS {
            arrivals(feed, choices, rate);
        }
        if world.down && (step / 40) % 3 == 1 {
            relay.crash(choices);
            continue;
        }
        if choices.chance(world.crash) {
            relay.crash(choices);
        }
        let crashes = choices.chance(world.crash);
        relay.head_poll(feed, choices, crashes);
        if choices.below(world.starve) == 0 {
            for _ in 0..choices.below(world.background + 1) {
                let crashes = choices.chance(world.crash);
                relay.background(feed, choices, crashes);
            }
        }
        if world.forget {
            relay.forget(feed);
        }
        sink.take(relay, feed);
    }
    feed.calm = true;
    for _ in 0..60 {
        feed.list.now += 1;
        relay.head_poll(feed, choices, false);
        for _ in 0..3 {
            relay.background(feed, choices, false);
        }
        sink.take(relay, feed);
    }
    let stuck = !(0..3000).any(|_| !relay.background(feed, choices, false));
    sink.take(relay, feed);
    judge(feed, relay.beginning(), &sink, stuck)
}

fn arrivals(feed: &mut WorldFeed, choices: &mut Seeded, rate: f64) {
    let mut count = if choices.chance(rate * 0.5) { choices.between(1, 3) } else { 0 };
    if choices.chance(0.02) {
        count += choices.between(5, 40);
    }
    let (world, now) = (feed.world.clone(), feed.list.now);
    for _ in 0..count {
        let mut time = if world.ties { now - now % 5 } else { now };
        if choices.chance(world.late) {
            time = now - choices.between(0, i64::from(LOOKBACK) - 1);
        } else if choices.chance(world.ahead) {
            time = now + choices.pick(&[5, 50, 100_000]);
        }
        feed.add(choices, time);
    }
    if choices.chance(world.ahead_at_once) {
        for _ in 0..choices.between(5, 14) {
            let ahead = now + choices.pick(&[30, 100_000]);
            feed.add(choices, ahead);
        }
    }
    if choices.chance(world.vanish) {
        feed.list.vanish(choices.pick(&[1, 2, 8]));
    }
}

fn judge(feed: &WorldFeed, beginning: Option<Beginning>, sink: &Sink, stuck: bool) -> Verdict {
    let (world, rows) = (&feed.world, feed.list.entries.len());
    let Some(beginning) = beginning else { return Verdict { stuck: true, rows, ..Verdict::default() } };
    let mut verdict = Verdict {
        doubled: sink.doubled,
        disordered: sink.disordered,
        overtaken: if world.is_punctual() { sink.overtaken } else { 0 },
        stuck,
        rows,
        ..Verdict::default()
    };
    for (place, entry) in feed.list.entries.iter().enumerate() {
        let released = sink.ids.contains(&entry.id());
        let wanted = match world.start {
            Start::Now => !beginning.found(place, entry, &feed.list),
            Start::Beginning => true,
            Start::Back(_) | Start::At(_) => entry.time >= beginning.watermark.0,
        };
        if wanted && !released && !entry.gone && entry.readable {
            verdict.lost += 1;
        }
        // Without `ingestedAt`, a first run with `poll.start = "now"` cannot find out which messages are older than the
        // run. It delivers old messages, because otherwise it would lose new ones.
        if !wanted && released && !world.no_ingested {
            verdict.old += 1;
        }
    }
    verdict
}

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Checks a part of the worlds: one of every `of` worlds, beginning with the world at the index `part`. The environment
/// chooses the seeds.
fn check_worlds(part: usize, of: usize) {
    let only = std::env::var("JOLTSMS_RELAY_WORLD").ok();
    let seeds = env_number("JOLTSMS_RELAY_SEEDS").unwrap_or(3);
    let first = env_number("JOLTSMS_RELAY_SEED");
    let from = first.unwrap_or(0);
    let seeds = if first.is_some() { from..from + 1 } else { from..from + seeds };
    let (mut cases, mut rows) = (0, 0);
    let mut failures = Vec::new();
    for world in worlds().iter().skip(part).step_by(of) {
        if only.as_ref().is_some_and(|only| only != world.name) {
            continue;
        }
        for seed in seeds.clone() {
            let name = format!("JOLTSMS_RELAY_WORLD='{}' JOLTSMS_RELAY_SEED={seed}", world.name);
            cases += 1;
            match std::panic::catch_unwind(|| run(world, seed, None)) {
                Ok(verdict) => {
                    rows += verdict.rows;
                    if !verdict.is_well() {
                        failures.push(format!("{name}: {verdict}"));
                    }
                }
                // The panic has printed which invariant was broken.
                Err(_) => failures.push(format!("{name}: an invariant was broken")),
            }
        }
    }
    println!("{cases} cases with {rows} rows; seeds {seeds:?} of {} worlds", worlds().len());
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn nothing_is_lost_doubled_or_disordered_in_half_the_worlds() {
    check_worlds(0, 2);
}

#[test]
fn nothing_is_lost_doubled_or_disordered_in_the_other_half() {
    check_worlds(1, 2);
}

/// For each safeguard, a world and a seed: the run fails if the safeguard is left out.
const NEEDED: [(Safeguard, &str, u64); 8] = [
    (Safeguard::FrontierCap, "a few ahead", 0),
    (Safeguard::Watermark, "a duration back", 0),
    (Safeguard::Anchor, "late", 0),
    (Safeguard::Clocks, "late, server far ahead", 0),
    (Safeguard::EndTest, "ties", 0),
    (Safeguard::Hold, "ties, lower id first", 0),
    (Safeguard::EmptyPage, "many empty pages", 0),
    (Safeguard::Forgetting, "forgetting, starved", 0),
];

#[test]
fn without_any_one_safeguard_a_run_fails() {
    for (left_out, name, seed) in NEEDED {
        let worlds = worlds();
        let world = worlds.iter().find(|world| world.name == name).unwrap();
        assert!(run(world, seed, None).is_well(), "{name} {seed} fails with all safeguards");
        let verdict = run(world, seed, Some(left_out));
        assert!(!verdict.is_well(), "{left_out:?} left out in '{name}', seed {seed}, was not noticed");
        println!("{left_out:?}: '{name}', seed {seed}: {verdict}");
    }
}

/// Finds worlds and seeds for [`NEEDED`]: `JOLTSMS_RELAY_FIND=1 cargo test --release --lib find_seeds -- --nocapture`.
#[test]
fn find_seeds() {
    if std::env::var_os("JOLTSMS_RELAY_FIND").is_none() {
        return;
    }
    use Safeguard::{Anchor, Clocks, EmptyPage, EndTest, Forgetting, FrontierCap, Hold, Watermark};
    for left_out in [FrontierCap, Watermark, Anchor, Clocks, EndTest, Hold, EmptyPage, Forgetting] {
        let mut found = 0;
        'search: for seed in 0..4 {
            for world in &worlds() {
                let verdict = run(world, seed, Some(left_out));
                if !verdict.is_well() {
                    println!("(Safeguard::{left_out:?}, \"{}\", {seed}), // {verdict}", world.name);
                    found += 1;
                    if found == 2 {
                        break 'search;
                    }
                }
            }
        }
    }
}
