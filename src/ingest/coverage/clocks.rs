//! The clock of the rows beside that of the server.
//!
//! `Date` and the times of rows come from different clocks of the API, and nobody promises that they agree: one may be off
//! by minutes, or count in another time zone.
//!
//! - Where the rows are *behind*, a sweep that reads back from the server's time ends too early, and what came late is
//!   lost. So sweeps read deeper by as much as new rows usually are behind when they are met.
//! - Where the rows are *ahead*, every one of them seems to be dated in the future, and the frontier would never pass
//!   them. So the server's now is taken to be later, if enough rows say that they were ingested later. One row alone that
//!   says so proves nothing.

use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Broken, Now, Rules};
use super::{CoverageState, Draft};
use crate::domain::{Coverage, Lags, UnixMs, whole_ms};

/// So many rows of one page must say that they were ingested after what the server calls now.
const CONVINCING: usize = 3;

impl CoverageState {
    /// Looks at the times of a head page; returns the server's now by the clock of the rows.
    pub(super) fn compare_clocks(&mut self, rules: &Rules, page: &FeedPage, now: Now) -> UnixMs {
        self.memory.set_ahead(ingested_ahead(rules, page, now.server));
        if self.coverage.is_some() {
            return self.rows_now(rules, now);
        }
        let lags = Lags::new(seen_lags(rules, page, UnixMs::MIN, None, now.server), 0);
        now.server.after(self.memory.ahead(rules, &lags))
    }

    /// The server's now by the clock of the rows, as far as that is known.
    pub(super) fn rows_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let lags = self.coverage.as_ref().map(|coverage| &coverage.lags);
        now.server.after(lags.map_or(Duration::ZERO, |lags| self.memory.ahead(rules, lags)))
    }
}

impl CoverageState {
    /// What time it is by the clock that dates the messages, as far as that is known: a message of this moment has it.
    pub fn messages_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let behind = self.coverage.as_ref().and_then(|coverage| coverage.lags.behind()).unwrap_or(0);
        UnixMs(self.rows_now(rules, now).0.saturating_sub(behind))
    }

    /// Moves the local times in memory after the relay's time was put right and the stored times have followed.
    pub fn move_local_times(&mut self, moved: impl Fn(UnixMs) -> UnixMs) {
        for walk in self.coverage.iter_mut().flat_map(|coverage| &mut coverage.walks) {
            walk.progress.since = walk.progress.since.map(&moved);
        }
    }
}

impl Draft<'_> {
    /// The server's now by the clock of the rows: up to here the frontier may rise.
    pub(super) fn rows_now(&self) -> UnixMs {
        self.now.server.after(self.memory.ahead(self.rules, &self.coverage.lags))
    }

    /// Whether the rows' clock may be behind the server's. Then the server's now is no time up to which rows were met.
    pub(super) fn may_be_behind(&self) -> bool {
        self.coverage.lags.behind().is_none_or(|behind| behind > whole_ms(self.rules.margin))
    }

    /// Notes how far the new rows of a head page are behind the server's clock. The first page of all has none that are
    /// known to be new.
    pub(super) fn note_lags(&mut self, page: &FeedPage) {
        let watermark = self.coverage.marks.watermark;
        let polled = self.before.map(|marks| self.memory.polled().unwrap_or(marks.anchor));
        self.coverage.lags.extend(seen_lags(self.rules, page, watermark, polled, self.now.server));
    }

    /// A sweep is complete that vouches for what was in the list at `opened_at`, by the server's clock: the anchor rises.
    ///
    /// Where it cannot, since that clock was set back, the sweep still says by how much less the rows are behind it. One
    /// that was opened before the clock was set back says nothing: when that was is not known any more.
    pub(super) fn complete_sweep(&mut self, opened_at: UnixMs) {
        if opened_at > self.now.server {
            return;
        }
        let Coverage { marks, lags, .. } = &mut *self.coverage;
        let behind = lags.behind().unwrap_or_else(|| whole_ms(opened_at.since(marks.frontier)));
        let by_rows = opened_at.0.saturating_sub(behind);
        let anchor = marks.anchor.max(opened_at);
        let behind = if anchor == opened_at { behind } else { lags.anchor().min(anchor.0.saturating_sub(by_rows)) };
        marks.anchor = anchor;
        lags.set_anchor(behind);
    }
}

/// `A - L - m` by the clock of the rows: how deep the next sweep must read. By how much they are behind is what was taken
/// when the anchor was set, or what is seen now, whichever is more.
pub(super) fn below_anchor(rules: &Rules, coverage: &Coverage) -> UnixMs {
    let Coverage { marks, lags, .. } = coverage;
    let behind = |lag: i64| UnixMs(marks.anchor.0.saturating_sub(lag));
    let by_rows = match lags.behind() {
        _ if rules.breaks(Broken::Anchor) => marks.frontier,
        _ if rules.breaks(Broken::Clocks) => marks.anchor,
        Some(seen) => behind(seen.max(lags.anchor())),
        // Nothing new came yet: the rows may be as far behind as the newest of them is old.
        None => behind(lags.anchor()).min(marks.frontier),
    };
    by_rows.before(rules.lookback).before(rules.margin)
}

/// A time that enough rows of a page have seen has come, however far that is ahead of the server's now.
fn ingested_ahead(rules: &Rules, page: &FeedPage, server: UnixMs) -> Duration {
    let mut ingested: Vec<UnixMs> = page.ingested().collect();
    ingested.sort_unstable_by(|left, right| right.cmp(left));
    let ahead = ingested.get(CONVINCING - 1).map_or(Duration::ZERO, |come| come.since(server));
    if rules.margin < ahead && ahead <= rules.clocks_apart { ahead } else { Duration::ZERO }
}

/// What the news of a page says of the clocks, the newest last.
///
/// A row that was not in the list at `polled`, the poll before, though it is dated earlier by more than the margin, is
/// behind; one that is dated ahead is ahead; one that is dated now, within the margin, is neither. All others say nothing,
/// nor does a time that is off by more than clocks can be apart.
fn seen_lags(rules: &Rules, page: &FeedPage, watermark: UnixMs, polled: Option<UnixMs>, server: UnixMs) -> Vec<i64> {
    let (margin, apart) = (whole_ms(rules.margin), whole_ms(rules.clocks_apart));
    let lag = |time: UnixMs| {
        let lag = server.0.saturating_sub(time.0);
        let behind = polled.is_some_and(|polled| polled.since(time) > rules.margin);
        match lag {
            _ if lag < -apart || apart < lag => None,
            _ if behind || lag < -margin => Some(lag),
            _ if lag <= margin => Some(0),
            _ => None,
        }
    };
    let times = page.unknown().map(|row| row.time).filter(|time| *time >= watermark);
    let mut lags: Vec<i64> = times.filter_map(lag).collect();
    lags.reverse();
    lags
}
