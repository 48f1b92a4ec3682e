//! What helps coverage along while the process lives. Losing it costs requests, never rows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Broken, Now, Rules};
use crate::domain::{Cursor, Lags, Row, Seq, UnixMs, WalkId};

/// Helpful, but not needed.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    skip: Option<Skip>,
    /// Where the head poll under way began behind such a block: since when the rows above are not known.
    blind_since: Option<UnixMs>,
    /// When the block was met, if the head poll under way only looks whether something new stands above the block: it does
    /// not read on behind a first page of the block, because the next poll begins there.
    peeks_since: Option<UnixMs>,
    /// When the head poll under way, and the one before it, saw all that was new in the list.
    polling: Option<UnixMs>,
    polled: Option<UnixMs>,
    /// Pages passed over in the head poll under way.
    pages_ahead: u32,
    /// Rows dated ahead in front of the first page.
    prelude: Vec<(Row, Option<Seq>)>,
    /// Empty head pages in a row.
    empty_heads: u32,
    /// When the API was first asked, if its answer was empty and coverage has not begun.
    asked_in_vain: Option<UnixMs>,
    /// How far ahead of the server's clock the rows of the last head page say they were ingested, several together.
    ahead: Duration,
    walks: HashMap<WalkId, WalkMemory>,
}

/// A block of known rows dated ahead, which head polls need not read again.
#[derive(Clone, Debug)]
struct Skip {
    cursor: Cursor,
    /// The time of its last row: when that has come, the block has become ordinary.
    until: UnixMs,
    /// When it was met, from the head on and without a gap. What has come above it since then is not known.
    set_at: UnixMs,
    /// Whether the last head poll began behind it.
    was_passed: bool,
}

/// Of one walk, since it was opened, restarted or loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct WalkMemory {
    pub(super) seen: HashSet<Cursor>,
    pub(super) idle_pages: u32,
    /// The oldest time of this pass.
    pub(super) lowest: Option<UnixMs>,
    pub(super) held: u64,
    pub(super) setbacks: u32,
}

impl Memory {
    pub(super) fn with_held(held: HashMap<WalkId, u64>) -> Self {
        let walks = held.into_iter().map(|(walk, held)| (walk, WalkMemory { held, ..WalkMemory::default() })).collect();
        Self { walks, ..Self::default() }
    }

    /// `rows_now` is the server's now by the clock of the rows.
    pub(super) fn skip_cursor(&mut self, rules: &Rules, now: Now, rows_now: UnixMs) -> Option<Cursor> {
        self.pages_ahead = 0;
        (self.blind_since, self.peeks_since) = (None, None);
        self.polled = self.polling.take().or(self.polled);
        let skip = self.skip.as_mut()?;
        // Something new may be dated ahead as well, so the block itself is looked at now and then.
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
        self.blind_since = Some(skip.set_at);
        Some(skip.cursor.clone())
    }

    /// Since when the list may have rows that the head poll under way does not see, if it did not begin at the head.
    pub(super) fn blind_since(&self) -> Option<UnixMs> {
        self.blind_since
    }

    /// A head poll is answered.
    pub(super) fn note_poll(&mut self, now: Now) {
        self.polling = Some(self.blind_since.or(self.peeks_since).unwrap_or(now.server));
    }

    /// When the head poll before the one under way saw all that was new in the list, if there was one in this process.
    pub(super) fn polled(&self) -> Option<UnixMs> {
        self.polled
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

    /// Counts a page that the head poll under way passes over; whether it may read on.
    pub(super) fn may_pass_over(&mut self, rules: &Rules) -> bool {
        self.pages_ahead += 1;
        self.pages_ahead < rules.pages_ahead
    }

    pub(super) fn keep_prelude(&mut self, page: FeedPage) {
        self.prelude.extend(page.into_rows());
    }

    pub(super) fn take_prelude(&mut self) -> Vec<(Row, Option<Seq>)> {
        std::mem::take(&mut self.prelude)
    }

    /// Counts empty head pages in a row; how many it is by now.
    pub(super) fn count_head(&mut self, empty: bool) -> u32 {
        self.empty_heads = if empty { self.empty_heads.saturating_add(1) } else { 0 };
        self.empty_heads
    }

    /// Before coverage begins: there was nothing at `now`.
    pub(super) fn note_asked_in_vain(&mut self, now: UnixMs) {
        self.asked_in_vain.get_or_insert(now);
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn asked_in_vain(&self) -> Option<UnixMs> {
        self.asked_in_vain
    }

    pub(super) fn take_asked_in_vain(&mut self) -> Option<UnixMs> {
        self.asked_in_vain.take()
    }

    pub(super) fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = ahead;
    }

    /// How far the clock of the rows is ahead of the server's: nothing, unless most new rows are dated ahead as well.
    pub(super) fn ahead(&self, rules: &Rules, lags: &Lags) -> Duration {
        let dated = UnixMs(lags.ahead()).since(UnixMs(0));
        if dated > rules.margin && !rules.breaks(Broken::Clocks) { self.ahead } else { Duration::ZERO }
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
    /// The walk reads from another place: what it saw on its way no longer counts.
    pub(super) fn new_pass(&mut self) {
        self.seen.clear();
        self.idle_pages = 0;
        self.lowest = None;
    }
}
