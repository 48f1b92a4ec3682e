//! The values that coverage keeps in memory only. If they are lost, the relay sends more requests, but misses no row.
//! The section "Rows that are dated ahead" of `docs/internals/coverage.md` explains blocks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Now, Rules};
use crate::domain::{Cursor, Lags, Row, Seq, UnixMs, WalkId};

/// The part of [`CoverageState`](super::CoverageState) that is not stored.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    skip: Option<SkippedBlock>,
    /// If the head poll under way began below a block: the time, by the API's clock, at which the relay found the
    /// block. The poll does not see rows that have appeared above the block after this time.
    unseen_since: Option<UnixMs>,
    /// If the head poll under way only looks for new rows above a block: the time, by the API's clock, at which the
    /// relay found the block. Such a poll ends when it meets the block, because the next poll begins below the block.
    peeks_since: Option<UnixMs>,
    /// The time, by the API's clock, of the last answer to the head poll under way. If the poll reads only the rows
    /// above a block, or only the rows below it: the time at which the relay found the block and saw the rows above and
    /// below it.
    this_poll_at: Option<UnixMs>,
    /// The value of `this_poll_at` for the last answered poll before the one under way.
    last_poll_at: Option<UnixMs>,
    /// How many pages the head poll under way has passed over, because they were empty or all their rows are dated
    /// ahead.
    pages_passed_over: u32,
    /// On a first run: the rows of the pages that the head poll has passed over. They are stored together with the page
    /// after them.
    future_rows: Vec<(Row, Option<Seq>)>,
    /// How many empty head pages came since the last head page with rows.
    empty_heads: u32,
    /// The time of the first empty answer before coverage began, by the API's clock.
    first_empty_poll_at: Option<UnixMs>,
    /// By how much the third-latest `ingestedAt` of the last head page was later than the API's present time. Zero if
    /// the difference was at most the margin, or more than a day. (The first comment of `clocks` says why it is the
    /// third-latest.)
    ingested_ahead: Duration,
    walks: HashMap<WalkId, WalkMemory>,
}

/// A block: known rows at the top of the feed that are dated ahead (after the present time). Head polls need not read
/// them again.
#[derive(Clone, Debug)]
struct SkippedBlock {
    /// The cursor with which head polls begin. It leads to the page below the block.
    cursor: Cursor,
    /// The time of the block's last row. Once that time has come, the block counts as ordinary rows.
    until: UnixMs,
    /// The time, by the API's clock, at which a poll that began at the head found the block.
    set_at: UnixMs,
    /// Whether the last head poll began below the block.
    skipped_by_last_poll: bool,
}

/// The memory of one walk since it was opened or loaded. The reading of a walk consists of *passes*. The first pass
/// begins when the walk is opened or loaded. Another pass begins each time the walk goes back to an earlier cursor or
/// to the head.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkMemory {
    /// The cursors to which the pages of this pass have led. If a page leads to one of them again, the walk goes round
    /// in a circle.
    pub(super) seen: HashSet<Cursor>,
    /// How many successive pages had no unknown row, and reached no older time than the earlier pages of this pass.
    pub(super) idle_pages: u32,
    /// The oldest time that this pass has reached.
    pub(super) lowest_of_pass: Option<UnixMs>,
    /// How many rows the walk holds.
    pub(super) held: u64,
    pub(super) setbacks: u32,
}

impl Memory {
    pub(super) fn with_held(held: HashMap<WalkId, u64>) -> Self {
        let walks = held.into_iter().map(|(walk, held)| (walk, WalkMemory { held, ..WalkMemory::default() })).collect();
        Self { walks, ..Self::default() }
    }

    /// Begins a head poll. Returns `None` if the poll begins at the head, or the cursor that leads to the page below a
    /// block. `rows_now` is the API's present time, or the present time by the rows' clock if that clock is ahead.
    pub(super) fn begin_poll(&mut self, rules: &Rules, now: Now, rows_now: UnixMs) -> Option<Cursor> {
        self.pages_passed_over = 0;
        // Rows are left over here if the previous poll ended early. This poll reads them again.
        self.future_rows.clear();
        (self.unseen_since, self.peeks_since) = (None, None);
        self.last_poll_at = self.this_poll_at.take().or(self.last_poll_at);
        let skip = self.skip.as_mut()?;
        // New rows may also appear above the block, for example because they are dated ahead themselves. So once in
        // every sweep interval a poll begins at the head.
        if skip.until <= rows_now || now.server.since(skip.set_at) >= rules.sweep_interval {
            self.skip = None;
            return None;
        }
        // If the block is dated at most one day ahead, the API's clock may simply be behind. Then every new row is
        // dated ahead, and appears above the block. So every second poll looks above the block.
        if skip.skipped_by_last_poll && skip.until.since(rows_now) <= rules.clocks_apart {
            skip.skipped_by_last_poll = false;
            self.peeks_since = Some(skip.set_at);
            return None;
        }
        skip.skipped_by_last_poll = true;
        self.unseen_since = Some(skip.set_at);
        Some(skip.cursor.clone())
    }

    /// If the head poll under way began below a block, returns the time at which the relay found this block. The poll
    /// does not see rows that have appeared above the block after this time.
    pub(super) fn unseen_since(&self) -> Option<UnixMs> {
        self.unseen_since
    }

    /// Records that the head poll under way was answered.
    pub(super) fn note_answer(&mut self, now: Now) {
        self.this_poll_at = Some(self.unseen_since.or(self.peeks_since).unwrap_or(now.server));
    }

    /// Returns the time, by the API's clock, of the last answered head poll before the one under way. If that poll read
    /// only the rows above a block, or only the rows below it, returns the time at which the relay found the block.
    /// `None` if no head poll of this process was answered before.
    pub(super) fn last_poll_at(&self) -> Option<UnixMs> {
        self.last_poll_at
    }

    pub(super) fn forget_skip(&mut self) {
        self.skip = None;
    }

    pub(super) fn has_skip(&self) -> bool {
        self.skip.is_some()
    }

    /// Records that the head poll under way found a page of known rows dated ahead. `until` is the time of the last row
    /// of this page, and `cursor` leads to the page below. Returns whether the poll goes on with the page below. It
    /// does not if it only looks for new rows above the block.
    pub(super) fn skip_to(&mut self, cursor: Cursor, until: UnixMs, now: Now) -> bool {
        if self.peeks_since.is_some() && self.skip.is_some() {
            return false;
        }
        let set_at = self.skip.as_ref().map_or(now.server, |skip| skip.set_at);
        self.skip = Some(SkippedBlock { cursor, until, set_at, skipped_by_last_poll: false });
        true
    }

    /// Counts a page that the head poll under way passes over; returns whether the poll may read on.
    pub(super) fn may_pass_over(&mut self, rules: &Rules) -> bool {
        self.pages_passed_over += 1;
        self.pages_passed_over < rules.pages_ahead
    }

    pub(super) fn keep_future_rows(&mut self, page: FeedPage) {
        self.future_rows.extend(page.into_rows());
    }

    pub(super) fn take_future_rows(&mut self) -> Vec<(Row, Option<Seq>)> {
        std::mem::take(&mut self.future_rows)
    }

    /// Counts a head page that is empty. A head page with rows sets the count back to 0. Returns the count.
    pub(super) fn count_empty_heads(&mut self, is_empty: bool) -> u32 {
        self.empty_heads = if is_empty { self.empty_heads.saturating_add(1) } else { 0 };
        self.empty_heads
    }

    /// Records that the feed was empty at `now`, before coverage begins. Only the first such time is kept.
    pub(super) fn note_empty_poll(&mut self, now: UnixMs) {
        self.first_empty_poll_at.get_or_insert(now);
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn first_empty_poll_at(&self) -> Option<UnixMs> {
        self.first_empty_poll_at
    }

    pub(super) fn take_first_empty_poll_at(&mut self) -> Option<UnixMs> {
        self.first_empty_poll_at.take()
    }

    pub(super) fn set_ingested_ahead(&mut self, ahead: Duration) {
        self.ingested_ahead = ahead;
    }

    /// Returns how far the clock of the rows is ahead of the API's clock. The result is zero unless most new rows are
    /// dated ahead.
    pub(super) fn rows_ahead(&self, rules: &Rules, lags: &Lags) -> Duration {
        if rules.rows_are_ahead(lags) { self.ingested_ahead } else { Duration::ZERO }
    }

    pub(super) fn walk(&mut self, walk: WalkId) -> &mut WalkMemory {
        self.walks.entry(walk).or_default()
    }

    pub(super) fn setbacks(&self, walk: WalkId) -> u32 {
        self.walks.get(&walk).map_or(0, |walk| walk.setbacks)
    }

    pub(super) fn drop_walk(&mut self, walk: WalkId) {
        self.walks.remove(&walk);
    }

    pub(super) fn add_held(&mut self, walk: WalkId) {
        self.walk(walk).held += 1;
    }
}

impl WalkMemory {
    pub(super) fn begin_pass(&mut self) {
        self.seen.clear();
        self.idle_pages = 0;
        self.lowest_of_pass = None;
    }
}
