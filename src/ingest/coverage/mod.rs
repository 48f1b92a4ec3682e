//! What is new on a feed that is newest first, and how nothing of it is missed. Pure: no IO, no clock.
//!
//! The feed only offers pages that walk into the past. Rows come late, tie, lie in the future and vanish; cursors are
//! refused; the process can die between any two steps. So there is no "last message" to remember. Instead:
//!
//! - A **head poll** reads the first page. If it reaches what is known already, its unknown rows are news. If not, a
//!   **gap** is opened: a walk from this page down to the old frontier, which holds its rows until it arrives.
//! - A **sweep** reads the lookback again and again, since a row may show up behind newer ones. The **anchor** is the
//!   time at which the last one that was *completed* was opened; the next must reach `anchor - lookback - margin`.
//! - A **seed** walk, on a first run that starts now, gets to know what was there before.
//! - The **watermark** is the time below which nothing is news; only below it may an id be forgotten.
//!
//! Every step takes plain values and returns the changes of one transaction. [`CoverageState`] mirrors what is on disk, plus
//! [`Memory`], which may be lost at any moment without harm: after a failed commit, throw the state away and load it.
//!
//! Invariants (checked after every step by the worlds of the property test): see [`Coverage`].

mod clocks;
mod first;
mod forget;
mod head;
mod memory;
mod no_room;
mod page;
mod rules;
#[cfg(any(test, fuzzing))]
pub mod testbed;
#[cfg(test)]
mod tests;
mod trouble;
mod walk;
#[cfg(test)]
mod worlds;

use std::collections::HashMap;

pub use memory::Memory;
pub use page::FeedPage;
pub use rules::{Now, Rules};
pub use trouble::Setback;

use clocks::below_anchor;
use rules::Broken;

use crate::domain::{
    Anomaly, Class, Coverage, Cursor, Insert, Lags, Marks, More, Row, RowStanding, Seq, StoreOp, UnixMs, Walk, WalkId,
    WalkKind, WalkProgress,
};

/// Coverage as it stands on disk, and what helps for as long as the process lives.
#[derive(Clone, Debug, Default)]
pub struct CoverageState {
    /// `None` before the first page.
    pub coverage: Option<Coverage>,
    /// May be lost.
    pub memory: Memory,
}

/// What a step changes, and what the poller does next.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// One transaction. Empty = nothing to write.
    pub ops: Vec<StoreOp>,
    /// What follows.
    pub next: Next,
}

/// What the poller does after a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This request is done with.
    Idle,
    /// The head poll goes on behind this cursor: a block of rows dated ahead, or an empty page that leads on.
    Follow(Cursor),
    /// The head page opened this gap; up to [`Rules::head_pages`] of it may be read at once in the head lane.
    FollowWalk(WalkId),
    /// The answer is not believed yet: ask again.
    AskAgain,
    /// This walk waits before its next page, longer with each failure in a row.
    Wait(WalkId, u32),
}

impl CoverageState {
    /// The state as the store has it; `held` tells how many rows each open gap holds.
    pub fn load(coverage: Option<Coverage>, held: HashMap<WalkId, u64>) -> Self {
        Self { coverage, memory: Memory::with_held(held) }
    }

    /// Where a head poll reads: the head, or behind a block of known rows dated ahead.
    pub fn head_cursor(&mut self, rules: &Rules, now: Now) -> Option<Cursor> {
        let rows_now = self.rows_now(rules, now);
        self.memory.skip_cursor(rules, now, rows_now)
    }

    /// The open walks, oldest first.
    pub fn walks(&self) -> impl Iterator<Item = &Walk> {
        self.coverage.iter().flat_map(|coverage| &coverage.walks)
    }

    /// Which walk the background lane reads next: two times of three the newest gap, else the oldest walk, of those
    /// that are `ready`. `turn` counts background requests.
    pub fn background_walk(&self, turn: u64, ready: impl Fn(WalkId) -> bool) -> Option<&Walk> {
        let walks = &self.coverage.as_ref()?.walks;
        let open = || walks.iter().filter(|walk| ready(walk.id));
        let newest_gap = open().rfind(|walk| matches!(walk.kind, WalkKind::Gap { .. }));
        if turn.is_multiple_of(3) { open().next() } else { newest_gap.or_else(|| open().next()) }
    }

    /// How often a walk was set back since it was opened or loaded.
    pub fn setbacks(&self, walk: WalkId) -> u32 {
        self.memory.setbacks(walk)
    }

    /// The cursor of a head poll was refused: the next one reads from the head.
    pub fn head_refused(&mut self) {
        self.memory.forget_skip();
    }
}

/// The changes of one step, collected while a copy of coverage moves on.
struct Draft<'a> {
    rules: &'a Rules,
    now: Now,
    coverage: &'a mut Coverage,
    memory: &'a mut Memory,
    /// As it is on disk.
    before: Option<Marks>,
    lags_before: Lags,
    ops: Vec<StoreOp>,
}

impl<'a> Draft<'a> {
    fn new(
        rules: &'a Rules,
        now: Now,
        coverage: &'a mut Coverage,
        memory: &'a mut Memory,
        before: Option<Marks>,
    ) -> Self {
        let lags_before = coverage.lags.clone();
        Self { rules, now, coverage, memory, before, lags_before, ops: Vec::new() }
    }

    /// Adds what changed in frontier, watermark, anchor, counters and lags, if anything did.
    fn finish(mut self, next: Next) -> Step {
        if self.coverage.lags != self.lags_before {
            self.ops.push(StoreOp::PutLags(self.coverage.lags.clone()));
        }
        if self.before != Some(self.coverage.marks) {
            self.ops.push(StoreOp::Advance(self.coverage.marks));
        }
        Step { ops: self.ops, next }
    }

    /// `A - L - m` by the clock of the rows, or the watermark where that is higher: how deep the next sweep must read.
    fn sweep_floor(&self) -> UnixMs {
        below_anchor(self.rules, self.coverage).max(self.coverage.marks.watermark)
    }

    /// The rows of a page that are news: unknown, readable, not below the watermark, and not there before a first run
    /// that is still getting to know what was.
    fn is_news(&self, row: &Row) -> bool {
        let seeding = self.coverage.walks.iter().any(|walk| walk.kind == WalkKind::Seed);
        let seed = seeding && row.ingested.is_some_and(|at| at <= self.coverage.marks.start_instant);
        row.readable && !seed && (row.time >= self.coverage.marks.watermark || self.rules.breaks(Broken::Watermark))
    }

    /// Stores the unknown rows of a page. `holder` says which gap holds a piece of news, if any; the others are
    /// returned, to be released.
    fn store(&mut self, page: FeedPage, mut holder: impl FnMut(&Row, &[Walk]) -> Option<WalkId>) -> Vec<Seq> {
        let mut loose = Vec::new();
        for row in page.into_unknown() {
            let seq = self.next_seq();
            let standing = if row.spoiled.is_some() {
                self.ops.push(StoreOp::Count(Anomaly::SpoiledRow));
                RowStanding::Unreadable
            } else if !row.readable {
                self.ops.push(StoreOp::Count(Anomaly::UnreadableRow));
                RowStanding::Unreadable
            } else if self.is_news(&row) {
                RowStanding::News
            } else if row.ingested.is_none_or(|at| at <= self.coverage.marks.start_instant) {
                RowStanding::Seed
            } else {
                self.ops.push(StoreOp::Count(Anomaly::BelowWatermark));
                RowStanding::BelowWatermark
            };
            let mut held_by = None;
            if standing == RowStanding::News {
                held_by = holder(&row, &self.coverage.walks);
                match held_by {
                    Some(walk) => self.memory.add_held(walk),
                    None => loose.push(seq),
                }
            }
            self.ops.push(StoreOp::Insert(Box::new(Insert { seq, row, standing, held_by })));
        }
        loose
    }

    /// Stores the unknown rows of a first page: those that were there at the start are not to be delivered, the others
    /// are returned.
    fn store_seeds(&mut self, page: FeedPage) -> Vec<Seq> {
        let mut loose = Vec::new();
        for row in page.into_unknown() {
            let seq = self.next_seq();
            let marks = &self.coverage.marks;
            let standing = if !row.readable {
                RowStanding::Unreadable
            } else if row.ingested.is_none_or(|at| at <= marks.start_instant) || row.time < marks.watermark {
                RowStanding::Seed
            } else {
                loose.push(seq);
                RowStanding::News
            };
            self.ops.push(StoreOp::Insert(Box::new(Insert { seq, row, standing, held_by: None })));
        }
        loose
    }

    fn next_seq(&mut self) -> Seq {
        let seq = self.coverage.marks.next_seq;
        self.coverage.marks.next_seq = Seq(seq.0 + 1);
        seq
    }

    /// Opens a walk from the end of `page` down to `floor`. It vouches for what was in the list at `opened_at`: then what
    /// lies above the page was known.
    fn open(&mut self, kind: WalkKind, floor: UnixMs, opened_seq: Seq, opened_at: UnixMs, page: &FeedPage) -> WalkId {
        let id = self.coverage.marks.next_walk;
        self.coverage.marks.next_walk = WalkId(id.0 + 1);
        let cursor = match page.more() {
            More::Cursor(cursor) => Some(cursor.clone()),
            More::End | More::Lost => None,
        };
        let lowest = page.last_time().unwrap_or(UnixMs::MAX);
        self.memory.walk(id).seen.extend(cursor.clone());
        let (trail, progress) = (Vec::new(), WalkProgress::default());
        self.coverage.walks.push(Walk { id, kind, cursor, trail, floor, opened_seq, opened_at, lowest, progress });
        self.put(self.coverage.walks.len() - 1);
        id
    }

    /// Hands rows that no gap holds to the sinks.
    fn release(&mut self, rows: Vec<Seq>, class: Class) {
        if !rows.is_empty() {
            self.ops.push(StoreOp::Release { rows, class });
        }
    }

    fn put(&mut self, place: usize) {
        let walk = self.coverage.walks[place].clone();
        self.ops.push(StoreOp::PutWalk(Box::new(walk)));
    }

    /// Hands on all that a gap holds, and lets it hold no more.
    fn release_held(&mut self, walk: WalkId, class: Class) {
        self.memory.walk(walk).held = 0;
        self.ops.push(StoreOp::ReleaseHeld { walk, class });
    }

    /// `F` rises to the newest time of the page, but never past the server's now by the clock of the rows. While that may be
    /// behind, a row that is dated ahead does not even raise it up to then.
    fn raise_frontier(&mut self, page: &FeedPage) {
        let cap = if self.rules.breaks(Broken::FrontierCap) { UnixMs::MAX } else { self.rows_now() };
        let reached = if self.may_be_behind() { page.newest_time(cap) } else { page.newest_time(UnixMs::MAX) };
        if let Some(newest) = reached {
            self.coverage.marks.frontier = self.coverage.marks.frontier.max(newest.min(cap));
        }
    }
}

/// The gap whose unread part `row` lies in: it came late, and that gap hands it on in its place.
fn gap_around(row: &Row, walks: &[Walk]) -> Option<WalkId> {
    walks.iter().find(|walk| walk.holds() && walk.has_unread(row.time)).map(|walk| walk.id)
}
