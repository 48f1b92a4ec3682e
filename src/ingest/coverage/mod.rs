//! The rules by which the relay decides which rows of the feed are new, without missing a row. The feed lists the
//! newest row first. The rules are pure: no I/O, no clock.
//!
//! The feed can only be read page by page, towards older rows. Rows come late, share a time, are dated in the future
//! and vanish; cursors are refused; the process can die between any two steps. So the relay remembers no "last
//! message". Instead:
//!
//! - A **head poll** reads the first page. If the page reaches down to rows that are known, its unknown rows are news.
//!   If not, the relay opens a **gap**: a walk from this page down to the old frontier. A gap holds its rows until it
//!   has arrived there. If the gap holds too many rows, or is stalled, it releases them and streams from then on.
//! - **Sweeps** read the newest part of the feed again and again, as far back as the lookback, since a row may come
//!   late and show up below newer rows. The **anchor** is the time at which the last *completed* sweep was opened; the
//!   next sweep must reach `anchor - lag - lookback - margin`. (The margin is a minute.)
//! - A **seed** is a walk of a first run with `poll.start = "now"`. It reads the messages that were in the feed before
//!   this run, so that they become known.
//! - Rows that are dated before the **watermark** are never news. The relay may forget the ids of these rows, and of no
//!   others.
//!
//! Every step takes plain values and returns the changes of one transaction. [`CoverageState`] mirrors what is on disk
//! and adds [`Memory`], which may be lost at any moment without harm. After a failed commit the caller throws this
//! value away and loads coverage from the disk again.
//!
//! The invariants are listed at [`Coverage`]; the property test (`worlds`) checks them after every step.

mod clocks;
mod first_page;
mod head_page;
mod memory;
mod page;
mod raise_watermark;
mod release_held_rows;
mod rules;
mod safeguards;
mod setbacks;
#[cfg(any(test, fuzzing))]
pub mod testbed;
#[cfg(test)]
mod tests;
mod walk;
mod what_is_new;
#[cfg(test)]
mod worlds;

use std::collections::HashMap;

pub use memory::Memory;
pub use page::FeedPage;
pub use rules::{Now, Rules};
pub use setbacks::Setback;

use crate::domain::{
    Anomaly, Coverage, Cursor, DeliveryClass, Insert, Lags, Marks, More, Row, RowStanding, Seq, StoreOp, UnixMs, Walk,
    WalkId, WalkKind, WalkProgress,
};

/// Coverage as it is on disk, and the values that are kept in memory only.
#[derive(Clone, Debug, Default)]
pub struct CoverageState {
    /// Coverage as it is on disk; `None` before the first page.
    pub coverage: Option<Coverage>,
    /// The values that are kept in memory only. They may be lost.
    pub memory: Memory,
}

/// The result of one step: the changes to store, and the next action of the poller.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The changes of one transaction. If there are none, nothing has to be written.
    pub ops: Vec<StoreOp>,
    /// The next action of the poller.
    pub next: NextAction,
}

/// The action of the poller after a step.
#[derive(Clone, Debug, PartialEq)]
pub enum NextAction {
    /// Nothing has to be read immediately.
    Idle,
    /// The head poll goes on with the page to which this cursor leads. The page that it has just read was empty but had
    /// a cursor, or all rows of that page are dated ahead.
    Follow(Cursor),
    /// The head page opened this gap. The head lane may read up to [`Rules::head_pages`] pages of the gap directly
    /// after the head page.
    FollowWalk(WalkId),
    /// The answer is not believed yet. The next head poll asks again.
    AskAgain,
    /// This walk waits before its next page. The number counts the walk's failures in a row; the length of the wait
    /// depends on it.
    Wait(WalkId, u32),
}

impl Step {
    /// Returns how many rows the step stores as news.
    pub fn news(&self) -> u64 {
        self.news_before(UnixMs::MAX)
    }

    /// Returns how many of the rows that the step stores as news are dated before `time`.
    pub fn news_before(&self, time: UnixMs) -> u64 {
        let is_news = |op: &&StoreOp| match op {
            StoreOp::Insert(insert) => insert.standing == RowStanding::News && insert.row.time < time,
            _ => false,
        };
        self.ops.iter().filter(is_news).map(|_| 1).sum()
    }

    /// Returns the anomalies that the step counts.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let counted = |op: &StoreOp| match op {
            StoreOp::Count(anomaly) => Some(*anomaly),
            _ => None,
        };
        self.ops.iter().filter_map(counted).collect()
    }

    /// A step that changes nothing and needs no further action.
    const NOTHING: Self = Self::without_changes(NextAction::Idle);

    const fn without_changes(next: NextAction) -> Self {
        Self { ops: Vec::new(), next }
    }
}

impl CoverageState {
    /// Makes the value from the coverage that the store has loaded. `held` has the number of rows that each open gap
    /// holds.
    pub fn load(coverage: Option<Coverage>, held: HashMap<WalkId, u64>) -> Self {
        Self { coverage, memory: Memory::with_held(held) }
    }

    /// Begins a head poll. Returns the cursor with which the poll begins: `None` for the head, or the cursor of the
    /// page below a *block*, that is, below known rows that are dated ahead and stay at the top of the feed.
    pub fn head_cursor(&mut self, rules: &Rules, now: Now) -> Option<Cursor> {
        let rows_now = self.rows_now(rules, now);
        self.memory.begin_poll(rules, now, rows_now)
    }

    /// The open walks, oldest first.
    pub fn walks(&self) -> impl Iterator<Item = &Walk> {
        self.coverage.iter().flat_map(|coverage| &coverage.walks)
    }

    /// Chooses the walk that the background lane reads next, among the walks that are `ready`: at two of three requests
    /// the newest gap, or the oldest walk if there is no gap; at the third request the oldest walk. `turn` counts
    /// background requests.
    pub fn background_walk(&self, turn: u64, ready: impl Fn(WalkId) -> bool) -> Option<&Walk> {
        let walks = &self.coverage.as_ref()?.walks;
        let open = || walks.iter().filter(|walk| ready(walk.id));
        let newest_gap = open().rfind(|walk| matches!(walk.kind, WalkKind::Gap { .. }));
        if turn.is_multiple_of(3) { open().next() } else { newest_gap.or_else(|| open().next()) }
    }

    /// How often a walk made no progress (a [`Setback`]) since it was opened or loaded.
    pub fn setbacks(&self, walk: WalkId) -> u32 {
        self.memory.setbacks(walk)
    }

    /// Records that the cursor of a head poll was refused. The next head poll reads from the head.
    pub fn head_refused(&mut self) {
        self.memory.forget_skip();
    }
}

/// The changes of one step, while they are collected.
struct Draft<'a> {
    rules: &'a Rules,
    now: Now,
    coverage: &'a mut Coverage,
    memory: &'a mut Memory,
    /// The marks as they are on disk; `None` before the first page.
    marks_on_disk: Option<Marks>,
    /// The lags as they are on disk.
    lags_on_disk: Lags,
    ops: Vec<StoreOp>,
}

impl<'a> Draft<'a> {
    fn new(
        rules: &'a Rules,
        now: Now,
        coverage: &'a mut Coverage,
        memory: &'a mut Memory,
        marks_on_disk: Option<Marks>,
    ) -> Self {
        let lags_on_disk = coverage.lags.clone();
        Self { rules, now, coverage, memory, marks_on_disk, lags_on_disk, ops: Vec::new() }
    }

    /// Ends the step: adds the changes of frontier, watermark, anchor, counters and lags, if there are any.
    fn finish(mut self, next: NextAction) -> Step {
        if self.coverage.lags != self.lags_on_disk {
            self.ops.push(StoreOp::PutLags(self.coverage.lags.clone()));
        }
        if self.marks_on_disk != Some(self.coverage.marks) {
            self.ops.push(StoreOp::Advance(self.coverage.marks));
        }
        Step { ops: self.ops, next }
    }

    /// Returns the time down to which the next sweep must read: anchor - lag - lookback - margin, or the watermark if
    /// that is later.
    fn sweep_floor(&self) -> UnixMs {
        self.rules.sweep_depth(self.coverage).max(self.coverage.marks.watermark)
    }

    fn is_news(&self, row: &Row) -> bool {
        what_is_new::is_news(row, self.coverage, self.rules)
    }

    /// Stores the unknown rows of a page. `holder` says which gap holds a new row, if any does. Returns the new rows
    /// that no gap holds; the caller releases them.
    fn store(&mut self, page: FeedPage, mut holder: impl FnMut(&Row, &[Walk]) -> Option<WalkId>) -> Vec<Seq> {
        let mut free = Vec::new();
        for row in page.into_unknown() {
            let seq = self.next_seq();
            let standing = what_is_new::standing(&row, self.coverage, self.rules);
            let mut held_by = None;
            match standing {
                RowStanding::News => {
                    held_by = holder(&row, &self.coverage.walks);
                    match held_by {
                        Some(walk) => self.memory.add_held(walk),
                        None => free.push(seq),
                    }
                }
                RowStanding::Seed | RowStanding::Event => {}
                RowStanding::BelowWatermark => self.ops.push(StoreOp::Count(Anomaly::BelowWatermark)),
                RowStanding::Unreadable if row.spoiled.is_some() => self.ops.push(StoreOp::Count(Anomaly::SpoiledRow)),
                RowStanding::Unreadable => self.ops.push(StoreOp::Count(Anomaly::UnreadableRow)),
            }
            self.ops.push(StoreOp::Insert(Box::new(Insert { seq, row, standing, held_by })));
        }
        free
    }

    /// Stores the unknown rows of the first page of a first run with `poll.start = "now"`. Returns the new rows; the
    /// caller releases them.
    fn store_at_start(&mut self, page: FeedPage) -> Vec<Seq> {
        let mut free = Vec::new();
        for row in page.into_unknown() {
            let seq = self.next_seq();
            let standing = what_is_new::standing_at_start(&row, &self.coverage.marks);
            if standing == RowStanding::News {
                free.push(seq);
            }
            self.ops.push(StoreOp::Insert(Box::new(Insert { seq, row, standing, held_by: None })));
        }
        free
    }

    fn next_seq(&mut self) -> Seq {
        let seq = self.coverage.marks.next_seq;
        self.coverage.marks.next_seq = Seq(seq.0 + 1);
        seq
    }

    /// Opens a walk from the end of `page` down to `floor`. When the walk is complete, the relay knows all rows, down
    /// to `floor`, that were in the feed at `opened_at`: the rows above `page` were known at that time, the caller
    /// stores the rows of `page`, and the walk reads the rest.
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

    /// Releases rows that no gap holds.
    fn release(&mut self, rows: Vec<Seq>, class: DeliveryClass) {
        if !rows.is_empty() {
            self.ops.push(StoreOp::Release { rows, class });
        }
    }

    /// Adds the change that stores one open walk: the walk with the index `place` in `coverage.walks`.
    fn put(&mut self, place: usize) {
        let walk = self.coverage.walks[place].clone();
        self.ops.push(StoreOp::PutWalk(Box::new(walk)));
    }

    /// Releases all rows that a gap holds.
    fn release_held(&mut self, walk: WalkId, class: DeliveryClass) {
        self.memory.walk(walk).held = 0;
        self.ops.push(StoreOp::ReleaseHeld { walk, class });
    }

    /// Raises the frontier to the newest time of the page. A row that is dated after the present time
    /// ([`Self::rows_now`]) raises the frontier to the present time only. While the rows' clock may be behind, such a
    /// row does not raise the frontier at all.
    fn raise_frontier(&mut self, page: &FeedPage) {
        let cap = self.rules.frontier_cap(self.rows_now());
        let newest = if self.may_be_behind() { page.newest_time(cap) } else { page.newest_time(UnixMs::MAX) };
        if let Some(newest) = newest {
            self.coverage.marks.frontier = self.coverage.marks.frontier.max(newest.min(cap));
        }
    }
}

/// Returns `gap` if this gap holds the rows that it reads.
fn if_it_holds(gap: WalkId, walks: &[Walk]) -> Option<WalkId> {
    walks.iter().find(|walk| walk.id == gap && walk.holds()).map(|walk| walk.id)
}

/// Returns the gap in whose unread part `row` lies, if this gap holds its rows. The head poll or another walk has read
/// the row first. The gap will release this row together with the rows that the gap holds, in the right order.
fn gap_around(row: &Row, walks: &[Walk]) -> Option<WalkId> {
    walks.iter().find(|walk| walk.holds() && walk.has_unread(row.time)).map(|walk| walk.id)
}
