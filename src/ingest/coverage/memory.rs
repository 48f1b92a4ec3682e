//! The values that coverage keeps in memory only. If they are lost, the relay sends more requests, but misses no row.
//! The section "Rows that are dated ahead" of `docs/internals/coverage.md` explains blocks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Now, Rules};
use crate::domain::{Cursor, Lags, Row, Seq, UnixMs, WalkId};

/// The part of [`CoverageState`](super::CoverageState) that only saves requests. No row is missed without it, so it is
/// not stored.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    skip: Option<SkippedBlock>,
    /// Set if the head poll under way began behind a block of rows dated ahead. Since this time, by the API's clock,
    /// the relay has not looked for rows above the block.
    unseen_since: Option<UnixMs>,
    /// Set if the head poll under way only looks for new rows above the block: the time at which the block was found.
    /// Such a poll ends at the first page of the block, because the next poll begins behind the block.
    peeks_since: Option<UnixMs>,
    /// A time by the API's clock: the head poll under way has seen all new rows that were in the list at this time.
    this_poll_at: Option<UnixMs>,
    /// A time by the API's clock: the previous head poll has seen all new rows that were in the list at this time.
    last_poll_at: Option<UnixMs>,
    /// How many pages the head poll under way has passed over.
    pages_passed_over: u32,
    /// The rows of the first pages of a first run, if these pages have only rows dated ahead. Coverage begins with the
    /// page after them.
    future_rows: Vec<(Row, Option<Seq>)>,
    /// How many empty head pages came in a row.
    empty_heads: u32,
    /// The time of the first empty answer before coverage began, by the API's clock.
    first_empty_poll_at: Option<UnixMs>,
    /// By how much the third-latest `ingestedAt` of the last head page was later than the API's present time; zero if
    /// the rows' clock does not count as ahead.
    ingested_ahead: Duration,
    walks: HashMap<WalkId, WalkMemory>,
}

/// A block of known rows dated ahead, which head polls need not read again.
#[derive(Clone, Debug)]
struct SkippedBlock {
    /// The cursor with which head polls begin. It leads to the page after the block.
    cursor: Cursor,
    /// The time of the block's last row. Once that time has come, the block counts as ordinary rows.
    until: UnixMs,
    /// The time at which a poll that began at the head found the block. The relay may not have seen rows that appeared
    /// above the block since then.
    set_at: UnixMs,
    /// Whether the last head poll began behind the block.
    skipped_by_last_poll: bool,
}

/// The memory of one walk since it was opened or loaded. A *pass* is the part of the reading since the walk last jumped
/// to another place: to an earlier cursor or to the head.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkMemory {
    /// The cursors at which this pass has read.
    pub(super) seen: HashSet<Cursor>,
    /// How many pages in a row had no new row, and did not reach an older time than the pages of this pass before them.
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

    /// Begins a head poll. Returns the cursor behind a block of rows dated ahead, or `None` for the head. `rows_now` is
    /// the API's present time, or the present time by the rows' clock if that clock is ahead.
    pub(super) fn begin_poll(&mut self, rules: &Rules, now: Now, rows_now: UnixMs) -> Option<Cursor> {
        self.pages_passed_over = 0;
        (self.unseen_since, self.peeks_since) = (None, None);
        self.last_poll_at = self.this_poll_at.take().or(self.last_poll_at);
        let skip = self.skip.as_mut()?;
        // New rows may be dated ahead as well, and appear above the block. So once in every sweep interval a poll
        // begins at the head.
        if skip.until <= rows_now || now.server.since(skip.set_at) >= rules.sweep_interval {
            self.skip = None;
            return None;
        }
        // If the API's clock is behind, new rows are dated ahead too, and appear above the block. So every second
        // poll looks above the block.
        if skip.skipped_by_last_poll && skip.until.since(rows_now) <= rules.clocks_apart {
            skip.skipped_by_last_poll = false;
            self.peeks_since = Some(skip.set_at);
            return None;
        }
        skip.skipped_by_last_poll = true;
        self.unseen_since = Some(skip.set_at);
        Some(skip.cursor.clone())
    }

    /// If the head poll under way began behind a block, returns the time at which the relay found this block. The poll
    /// does not see the rows that have appeared above the block since then. Returns `None` if the poll began at the
    /// head.
    pub(super) fn unseen_since(&self) -> Option<UnixMs> {
        self.unseen_since
    }

    /// Records that the head poll under way was answered.
    pub(super) fn note_answer(&mut self, now: Now) {
        self.this_poll_at = Some(self.unseen_since.or(self.peeks_since).unwrap_or(now.server));
    }

    /// Returns a time: the previous head poll has seen all new rows that were in the list then. `None` if there was no
    /// previous head poll in this process.
    pub(super) fn last_poll_at(&self) -> Option<UnixMs> {
        self.last_poll_at
    }

    pub(super) fn forget_skip(&mut self) {
        self.skip = None;
    }

    pub(super) fn has_skip(&self) -> bool {
        self.skip.is_some()
    }

    /// Records that the head poll under way found a page of known rows dated ahead. Returns whether the poll reads on
    /// with the page after it.
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

    /// Counts empty head pages in a row. Returns how many there are by now.
    pub(super) fn count_empty_heads(&mut self, is_empty: bool) -> u32 {
        self.empty_heads = if is_empty { self.empty_heads.saturating_add(1) } else { 0 };
        self.empty_heads
    }

    /// Records that the list was empty at `now`, before coverage begins.
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
    /// Begins a new pass, because the walk reads from another place. The memory of the previous pass no longer counts.
    pub(super) fn begin_pass(&mut self) {
        self.seen.clear();
        self.idle_pages = 0;
        self.lowest_of_pass = None;
    }
}
