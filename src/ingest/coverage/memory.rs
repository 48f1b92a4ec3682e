//! What helps coverage along while the process lives. Losing it costs requests, never rows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Now, Rules};
use crate::domain::{Cursor, Lags, Row, Seq, UnixMs, WalkId};

/// Helpful, but not needed.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    skip: Option<Skip>,
    /// Where the head poll under way began behind a block of rows dated ahead: since when rows above that block would not
    /// have been seen, by the server's clock.
    unseen_since: Option<UnixMs>,
    /// When the block was met, if the head poll under way only looks whether something new stands above the block: it does
    /// not read on behind a first page of the block, because the next poll begins there.
    peeks_since: Option<UnixMs>,
    /// Up to when the head poll under way has seen everything new in the list, by the server's clock.
    this_poll_at: Option<UnixMs>,
    /// Up to when the head poll before that one had.
    last_poll_at: Option<UnixMs>,
    /// Pages that the head poll under way has passed over.
    pages_passed_over: u32,
    /// Rows dated ahead that stood in front of the first page of a first run.
    future_rows: Vec<(Row, Option<Seq>)>,
    /// Empty head pages in a row.
    empty_heads: u32,
    /// Before coverage begins: when the API first answered with an empty list, by the server's clock.
    first_empty_poll_at: Option<UnixMs>,
    /// How far ahead of the server's clock several rows of the last head page were ingested.
    ingested_ahead: Duration,
    walks: HashMap<WalkId, WalkMemory>,
}

/// A block of known rows dated ahead, which head polls need not read again.
#[derive(Clone, Debug)]
struct Skip {
    /// Head polls read from here on.
    cursor: Cursor,
    /// The time of the block's last row. When that time has come, the block is ordinary.
    until: UnixMs,
    /// When the block was met, from the head on and without a gap. Rows that came above it since then are not known.
    set_at: UnixMs,
    /// Whether the last head poll began behind it.
    was_passed: bool,
}

/// What is remembered of one walk since it was opened, restarted or loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkMemory {
    /// The cursors that this pass has been given.
    pub(super) seen: HashSet<Cursor>,
    /// Pages in a row with nothing new and no older time.
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

    /// A head poll begins. Returns the cursor behind a block of rows dated ahead, or `None` for the head. `rows_now` is
    /// the server's now by the clock of the rows.
    pub(super) fn begin_poll(&mut self, rules: &Rules, now: Now, rows_now: UnixMs) -> Option<Cursor> {
        self.pages_passed_over = 0;
        (self.unseen_since, self.peeks_since) = (None, None);
        self.last_poll_at = self.this_poll_at.take().or(self.last_poll_at);
        let skip = self.skip.as_mut()?;
        // New rows may be dated ahead as well, so the block itself is read again once in every sweep interval.
        if skip.until <= rows_now || now.server.since(skip.set_at) >= rules.sweep_interval {
            self.skip = None;
            return None;
        }
        // If the server's clock is behind, new rows are dated ahead, too, and stand above the block. Every other poll looks
        // there.
        if skip.was_passed && skip.until.since(rows_now) <= rules.clocks_apart {
            skip.was_passed = false;
            self.peeks_since = Some(skip.set_at);
            return None;
        }
        skip.was_passed = true;
        self.unseen_since = Some(skip.set_at);
        Some(skip.cursor.clone())
    }

    /// Since when the list may have rows that the head poll under way does not see; `None` if that poll began at the head.
    pub(super) fn unseen_since(&self) -> Option<UnixMs> {
        self.unseen_since
    }

    /// The head poll under way was answered.
    pub(super) fn note_answer(&mut self, now: Now) {
        self.this_poll_at = Some(self.unseen_since.or(self.peeks_since).unwrap_or(now.server));
    }

    /// Up to when the head poll before the one under way had seen everything new in the list; `None` if there was no such
    /// poll in this process.
    pub(super) fn last_poll_at(&self) -> Option<UnixMs> {
        self.last_poll_at
    }

    pub(super) fn forget_skip(&mut self) {
        self.skip = None;
    }

    pub(super) fn has_skip(&self) -> bool {
        self.skip.is_some()
    }

    /// The head poll under way met a page of known rows dated ahead. Returns whether it reads on behind that page.
    pub(super) fn skip_to(&mut self, cursor: Cursor, until: UnixMs, now: Now) -> bool {
        if self.peeks_since.is_some() && self.skip.is_some() {
            return false;
        }
        let set_at = self.skip.as_ref().map_or(now.server, |skip| skip.set_at);
        self.skip = Some(Skip { cursor, until, set_at, was_passed: false });
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

    /// Counts empty head pages in a row; returns how many there are by now.
    pub(super) fn count_empty_heads(&mut self, is_empty: bool) -> u32 {
        self.empty_heads = if is_empty { self.empty_heads.saturating_add(1) } else { 0 };
        self.empty_heads
    }

    /// Before coverage begins: the list was empty at `now`.
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

    /// How far the clock of the rows is ahead of the server's: zero, unless most new rows are dated ahead as well.
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
    /// The walk reads from another place: what this pass has seen no longer counts.
    pub(super) fn begin_pass(&mut self) {
        self.seen.clear();
        self.idle_pages = 0;
        self.lowest_of_pass = None;
    }
}
