//! A test of everything at once, in random order: late, tied and future messages, faults of the API and of receivers,
//! kills, stops and commands. In the end every sink must have every message that it wants, and no message more often
//! than was asked for.
//!
//! The variable `JOLTSMS_RELAY_SEEDS` says how many lives are played, one after the other. A failure names its seed.

mod judge;
mod life;

use life::Life;

/// The number of seeds that `cargo test` plays.
const SEEDS: u64 = 1;

/// The number of steps in a life.
const TURNS: usize = 80;

#[test]
fn nothing_is_lost_whatever_happens_at_once() {
    let seeds = std::env::var("JOLTSMS_RELAY_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut sums = judge::Figures::default();
    for seed in 0..seeds {
        let mut life = Life::begin(seed);
        for _ in 0..TURNS {
            life.turn();
        }
        life.let_all_be_well();
        sums += judge::judge(&life);
    }
    println!("{seeds} lives of {TURNS} turns: {sums}");
}
