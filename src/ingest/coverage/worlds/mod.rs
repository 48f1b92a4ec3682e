//! The property test of coverage: the real rules on a real SQLite file, in random worlds, with all memory dropped at
//! random step boundaries.
//!
//! A failure prints world and seed. Replay: `JOLTSMS_RELAY_WORLD='late, down' JOLTSMS_RELAY_SEED=17 cargo test worlds`.
//! Many more: `JOLTSMS_RELAY_SEEDS=200 cargo test --release --lib worlds`.

mod catalogue;
mod feed;
mod random;
mod relay;

use std::collections::HashSet;
use std::fmt;

use super::rules::Broken;
use catalogue::worlds;
use feed::{Feed, World};
use random::Random;
use relay::Relay;

use crate::domain::UnixMs;

/// Where a run begins, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begin {
    Now,
    Beginning,
    Back(u64),
    At(i64),
}

pub(super) const LOOKBACK: u64 = 30;
pub(super) const SWEEP: u64 = 8;
pub(super) const MARGIN: u64 = 5;
const STEPS: i64 = 260;

/// How a run ended. All zero = well.
#[derive(Clone, Debug, Default, PartialEq)]
struct Verdict {
    lost: usize,
    old: usize,
    doubled: usize,
    disordered: usize,
    /// Counted in worlds where nothing comes late.
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

/// One run: a feed that goes on for a while, then calms down, and a relay on it.
fn run(world: &World, seed: u64, broken: Option<Broken>) -> Verdict {
    let mut random = Random::seeded(seed);
    let random = &mut random;
    let mut feed = Feed::new(world.clone());
    for _ in 0..random.below(25) + world.before as u64 {
        feed.now = 1000 - random.between(0, 400);
        feed.add(random, feed.now);
    }
    feed.now = 1000;
    for _ in 0..world.ahead_before {
        let ahead = feed.now + 100_000 + random.between(0, 50);
        feed.add(random, ahead);
    }
    let mut before: HashSet<u64> = feed.entries.iter().map(|entry| entry.number).collect();
    let mut relay = Relay::new(world, broken);
    let rate = random.pick(&[0.05, 0.3, 1.0, 2.0]);
    let tail = i64::try_from(LOOKBACK + 6 * SWEEP).unwrap() + 120;
    for step in 0..STEPS + tail {
        feed.now += 1;
        if step < STEPS {
            arrivals(&mut feed, random, rate);
        }
        if world.down && (step / 40) % 3 == 1 {
            relay.crash(random);
            continue;
        }
        if random.chance(world.crash) {
            relay.crash(random);
        }
        let begun = relay.has_begun();
        let asked = relay.asked_in_vain().unwrap_or(UnixMs::MAX);
        let crashes = random.chance(world.crash);
        relay.head_poll(&feed, random, crashes);
        if !begun && relay.has_begun() {
            let there = feed.entries.iter().filter(|entry| world.no_ingested || UnixMs(entry.ingested) <= asked);
            before = there.map(|entry| entry.number).collect();
        }
        if random.below(world.starve) == 0 {
            for _ in 0..random.below(world.background + 1) {
                let crashes = random.chance(world.crash);
                relay.background(&feed, random, crashes);
            }
        }
        if world.forget {
            relay.forget(&feed);
        }
    }
    feed.calm = true;
    for _ in 0..60 {
        feed.now += 1;
        relay.head_poll(&feed, random, false);
        for _ in 0..3 {
            relay.background(&feed, random, false);
        }
    }
    let stuck = !(0..3000).any(|_| !relay.background(&feed, random, false));
    judge(&feed, &relay, &before, world, stuck)
}

fn arrivals(feed: &mut Feed, random: &mut Random, rate: f64) {
    let mut count = if random.chance(rate * 0.5) { random.between(1, 3) } else { 0 };
    if random.chance(0.02) {
        count += random.between(5, 40);
    }
    let world = feed.world.clone();
    for _ in 0..count {
        let mut time = if world.ties { feed.now - feed.now % 5 } else { feed.now };
        if random.chance(world.late) {
            time = feed.now - random.between(0, i64::try_from(LOOKBACK).unwrap() - 1);
        } else if random.chance(world.ahead) {
            time = feed.now + random.pick(&[5, 50, 100_000]);
        }
        feed.add(random, time);
    }
    if random.chance(world.ahead_at_once) {
        for _ in 0..random.between(5, 14) {
            let ahead = feed.now + random.pick(&[30, 100_000]);
            feed.add(random, ahead);
        }
    }
    if random.chance(world.vanish) {
        feed.vanish(random.pick(&[1, 2, 8]));
    }
}

fn judge(feed: &Feed, relay: &Relay, before: &HashSet<u64>, world: &World, stuck: bool) -> Verdict {
    let mut verdict = Verdict {
        doubled: relay.doubled,
        disordered: relay.disordered,
        overtaken: if world.is_punctual() { relay.overtaken } else { 0 },
        stuck,
        rows: feed.entries.len(),
        ..Verdict::default()
    };
    for entry in &feed.entries {
        let released = relay.released.contains(&entry.id());
        let wanted = match world.start {
            Begin::Now => !before.contains(&entry.number),
            Begin::Beginning => true,
            Begin::Back(_) | Begin::At(_) => entry.time >= relay.begun_at.0,
        };
        if wanted && !released && !entry.gone && entry.readable {
            verdict.lost += 1;
        }
        // Without ingestedAt a first run that starts now cannot tell what was there: it repeats rather than loses.
        if !wanted && released && !world.no_ingested {
            verdict.old += 1;
        }
    }
    verdict
}

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs every `of`-th world from the `part`-th on, in as many random cases as the environment asks for.
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
                // What was wrong stands above, where the panic was.
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

/// Which seed shows which rule to be needed.
const NEEDED: [(Broken, &str, u64); 8] = [
    (Broken::FrontierCap, "a few ahead", 0),
    (Broken::Watermark, "a duration back", 0),
    (Broken::Anchor, "late", 0),
    (Broken::Clocks, "late, server far ahead", 0),
    (Broken::EndTest, "ties", 0),
    (Broken::Hold, "ties, lower id first", 0),
    (Broken::EmptyPage, "many empty pages", 0),
    (Broken::Forgetting, "forgetting, starved", 0),
];

#[test]
fn the_test_sees_every_rule_that_is_left_out() {
    for (broken, name, seed) in NEEDED {
        let worlds = worlds();
        let world = worlds.iter().find(|world| world.name == name).unwrap();
        assert!(run(world, seed, None).is_well(), "{name} {seed} is well with all rules");
        let verdict = run(world, seed, Some(broken));
        assert!(!verdict.is_well(), "{broken:?} left out in '{name}', seed {seed}, was not noticed");
        println!("{broken:?}: '{name}', seed {seed}: {verdict}");
    }
}

/// Finds seeds for [`NEEDED`]: `JOLTSMS_RELAY_FIND=1 cargo test --release --lib find_seeds -- --nocapture`.
#[test]
fn find_seeds() {
    if std::env::var_os("JOLTSMS_RELAY_FIND").is_none() {
        return;
    }
    use Broken::{Anchor, Clocks, EmptyPage, EndTest, Forgetting, FrontierCap, Hold, Watermark};
    for broken in [FrontierCap, Watermark, Anchor, Clocks, EndTest, Hold, EmptyPage, Forgetting] {
        let mut found = 0;
        'search: for seed in 0..4 {
            for world in &worlds() {
                let verdict = run(world, seed, Some(broken));
                if !verdict.is_well() {
                    println!("(Broken::{broken:?}, \"{}\", {seed}), // {verdict}", world.name);
                    found += 1;
                    if found == 2 {
                        break 'search;
                    }
                }
            }
        }
    }
}
