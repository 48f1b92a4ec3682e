//! Coverage: these rules decide which rows of the feed are new, so that the relay misses no row. They are pure: no I/O,
//! no clock. `docs/internals/coverage.md` explains them with a picture and an example.
//!
//! The feed lists the newest row first, and can only be read page by page, towards older rows. Rows come late, share a
//! time, are dated in the future or vanish. The API may refuse a cursor. The process may die between any two steps. So
//! it is not enough to remember the last message that was seen. Instead:
//!
//! - A **head poll** reads the first page. If the page reaches down to known rows, its new rows are released at once.
//!   If not, there may be more new rows below the page. So the relay opens a **gap**: a walk from this page down to the
//!   frontier as it was before this poll. The gap holds the new rows until it has arrived at that frontier. In three
//!   cases it releases them earlier and streams from then on: it holds too many rows, it has been failing for too long,
//!   or the state must not grow any more (for example because the disk is almost full).
//! - **Sweeps** read the newest part of the feed again and again, as far back as the lookback, because a row that comes
//!   late appears below newer rows. The **anchor** is the time at which the last *completed* sweep was opened. The next
//!   sweep reads down to `anchor - lag - lookback - margin`. (The margin is a minute.)
//! - A **seed** is a walk of a first run with `poll.start = "now"`. It reads rows that were in the feed before this
//!   run, so that they become known. They are not delivered.
//! - Rows that are dated before the **watermark** are never news. The relay may forget the ids of these rows, and of no
//!   others.
//!
//! Every step takes plain values, changes the [`CoverageState`], and returns the same changes for one transaction. If
//! this transaction fails, the caller throws the `CoverageState` away and loads coverage from the disk again. The part
//! that is not on disk ([`Memory`]) may be lost at any moment without harm.
//!
//! The invariants are listed at [`Coverage`]. The worlds test (`worlds`) checks the marks after every step. After every
//! run, it checks that no row was lost, delivered twice, or overtaken by a newer row.

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
    Anomaly, Coverage, Cursor, DeliveryClass, Insert, Lags, Marks, More, PollChange, Row, RowStanding, Seq, UnixMs,
    Walk, WalkId, WalkKind, WalkProgress,
};

/// Coverage, and the values that are kept in memory only.
#[derive(Clone, Debug, Default)]
pub struct CoverageState {
    /// Coverage as it is on disk once the last step is committed; `None` before the first page.
    pub coverage: Option<Coverage>,
    /// The values that are kept in memory only.
    pub memory: Memory,
}

/// The result of one step: the changes to store, and the next action of the poller.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The changes of one transaction. If there are none, nothing has to be written.
    pub changes: Vec<PollChange>,
    /// The next action of the poller.
    pub next: NextAction,
}

/// The action of the poller after a step.
#[derive(Clone, Debug, PartialEq)]
pub enum NextAction {
    /// Nothing has to be read immediately.
    Idle,
    /// The head poll goes on with the page to which this cursor leads. The page that it has just read was empty but had
    /// a cursor, or all rows of that page are dated *ahead*: after the present time.
    Follow(Cursor),
    /// The head lane goes on with the next page of this walk, which was opened by the head page of this poll. The head
    /// lane reads at most [`Rules::head_pages`] pages of the walk. The background lane reads the other pages.
    FollowWalk(WalkId),
    /// The head page was empty, and the relay does not believe yet that the feed is empty. The next head poll asks
    /// again.
    AskAgain,
    /// This walk waits before its next page. The number is the walk's `WalkProgress::failures`; the length of the wait
    /// depends on it.
    Wait(WalkId, u32),
}

impl Step {
    /// Returns how many rows the step stores as news.
    pub fn news(&self) -> u64 {
        self.news_before(UnixMs::MAX)
    }

    /// Counts as [`Self::news`] does, but only the rows that are dated before `time`.
    pub fn news_before(&self, time: UnixMs) -> u64 {
        let is_news = |change: &&PollChange| match change {
            PollChange::Insert(insert) => insert.standing == RowStanding::News && insert.row.time < time,
            _ => false,
        };
        self.changes.iter().filter(is_news).map(|_| 1).sum()
    }

    /// Returns the anomalies that the step counts.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let counted = |change: &PollChange| match change {
            PollChange::Count(anomaly) => Some(*anomaly),
            _ => None,
        };
        self.changes.iter().filter_map(counted).collect()
    }

    /// A step that changes nothing and needs no further action.
    const NOTHING: Self = Self::without_changes(NextAction::Idle);

    const fn without_changes(next: NextAction) -> Self {
        Self { changes: Vec::new(), next }
    }
}

impl CoverageState {
    /// Makes the value from the coverage that the store has loaded. `held` says how many rows each open gap holds.
    pub fn load(coverage: Option<Coverage>, held: HashMap<WalkId, u64>) -> Self {
        Self { coverage, memory: Memory::with_held(held) }
    }

    /// Begins a head poll. Returns `None` if the poll begins at the head. But it may begin below a *block*: known rows
    /// at the top of the feed that are dated ahead. Then returns the cursor that leads to the page below the block.
    pub fn head_cursor(&mut self, rules: &Rules, now: Now) -> Option<Cursor> {
        let rows_now = self.rows_now(rules, now);
        self.memory.begin_poll(rules, now, rows_now)
    }

    /// The open walks, oldest first.
    pub fn walks(&self) -> impl Iterator<Item = &Walk> {
        self.coverage.iter().flat_map(|coverage| &coverage.walks)
    }

    /// Returns the walk that the background lane reads next. Only walks that are `ready` are chosen. `turn` counts the
    /// requests of the lane: every third request reads the oldest walk. The other requests read the newest gap, or the
    /// oldest walk if there is no gap.
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

    /// Records that the cursor of a head poll was refused. The next head poll begins at the head.
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
    changes: Vec<PollChange>,
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
        Self { rules, now, coverage, memory, marks_on_disk, lags_on_disk, changes: Vec::new() }
    }

    /// Ends the step. If the marks or the lags have changed, adds them to the changes of the step.
    fn finish(mut self, next: NextAction) -> Step {
        if self.coverage.lags != self.lags_on_disk {
            self.changes.push(PollChange::PutLags(self.coverage.lags.clone()));
        }
        if self.marks_on_disk != Some(self.coverage.marks) {
            self.changes.push(PollChange::Advance(self.coverage.marks));
        }
        Step { changes: self.changes, next }
    }

    /// Returns the time down to which the next sweep must read: anchor - lag - lookback - margin, or the watermark if
    /// that is later.
    fn sweep_floor(&self) -> UnixMs {
        self.rules.sweep_depth(self.coverage).max(self.coverage.marks.watermark)
    }

    fn is_news(&self, row: &Row) -> bool {
        what_is_new::is_news(row, self.coverage, self.rules)
    }

    /// Stores the unknown rows of a page. `holder` returns the gap that holds a new row; `None` if no gap holds it.
    /// Returns the new rows that no gap holds; the caller releases them.
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
                RowStanding::BelowWatermark => self.changes.push(PollChange::Count(Anomaly::BelowWatermark)),
                RowStanding::Unreadable if row.spoiled.is_some() => {
                    self.changes.push(PollChange::Count(Anomaly::SpoiledRow));
                }
                RowStanding::Unreadable => self.changes.push(PollChange::Count(Anomaly::UnreadableRow)),
            }
            self.changes.push(PollChange::Insert(Box::new(Insert { seq, row, standing, held_by })));
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
            self.changes.push(PollChange::Insert(Box::new(Insert { seq, row, standing, held_by: None })));
        }
        free
    }

    fn next_seq(&mut self) -> Seq {
        let seq = self.coverage.marks.next_seq;
        self.coverage.marks.next_seq = Seq(seq.0 + 1);
        seq
    }

    /// Opens a walk from the end of `page` down to `floor`. When the walk is complete, the relay knows every row down
    /// to `floor` that was in the feed at `opened_at`: the rows above `page` were known at that time, the caller stores
    /// the rows of `page`, and the walk reads the rows below it.
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
            self.changes.push(PollChange::Release { rows, class });
        }
    }

    /// Adds the change that stores the open walk with the index `place` in `coverage.walks`.
    fn put(&mut self, place: usize) {
        let walk = self.coverage.walks[place].clone();
        self.changes.push(PollChange::PutWalk(Box::new(walk)));
    }

    /// Releases all rows that a gap holds.
    fn release_held(&mut self, walk: WalkId, class: DeliveryClass) {
        self.memory.walk(walk).held = 0;
        self.changes.push(PollChange::ReleaseHeld { walk, class });
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

/// Returns the gap that holds its rows, and in whose unread part `row` lies; `None` if there is no such gap. The row
/// came in a head poll or in another walk. The caller lets the gap hold the row, so that the gap releases older rows
/// before it.
fn gap_around(row: &Row, walks: &[Walk]) -> Option<WalkId> {
    walks.iter().find(|walk| walk.holds() && walk.has_unread(row.time)).map(|walk| walk.id)
}
