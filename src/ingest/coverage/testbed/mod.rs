//! A test bed for coverage: one relay, on any feed and any store.
//!
//! Two tests use it. The property test in [`super::worlds`] runs the relay on a real SQLite file and draws every choice
//! from a seed. The fuzz target `coverage` (`src/fuzzing/coverage/`) runs the relay on a store in memory and reads
//! every choice from the bytes of its input.
//!
//! Time passes in ticks of one millisecond, and most limits of the rules are a few ticks.

mod choices;
mod feed;
mod list;
mod relay;

use std::time::Duration;

pub use choices::Choices;
pub use feed::{Answer, Asker, Feed};
pub use list::{CursorKind, Entry, List, Sort, Tie};
pub use relay::{Beginning, Relay, Release, Store};

use super::Rules;
use crate::domain::Start;

/// How late a row may show up, below newer rows, and still be found; in ticks.
pub const LOOKBACK: u32 = 30;

/// A sweep is due when the anchor is this many ticks old.
pub const SWEEP: u32 = 8;

/// If the time of a row and the API's clock differ by more than this, the relay takes the time for a wrong one
/// ([`Rules::clocks_apart`]).
pub const CLOCKS_APART: Duration = ticks(150);

/// The rules with limits that a short run reaches.
pub fn short_rules(start: Start, hold_limit: u64) -> Rules {
    Rules {
        margin: ticks(5),
        clocks_apart: CLOCKS_APART,
        remember_ids: ticks(200),
        keep_newest: 3,
        hold_limit,
        idle_pages: 30,
        patience: ticks(100),
        ..Rules::new(start, ticks(LOOKBACK), ticks(SWEEP))
    }
}

/// This many ticks as a duration.
pub const fn ticks(count: u32) -> Duration {
    Duration::from_millis(count as u64)
}
