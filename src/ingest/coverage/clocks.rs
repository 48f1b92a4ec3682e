//! The comparison of the clock that dates the rows (the *rows' clock*) with the API's clock.
//!
//! The API's clock is the header `Date`. The two clocks need not agree: one of them may be off by minutes, or show the
//! time of another time zone.
//!
//! - The rows' clock may be *behind*, for example by ten minutes. Then a sweep that reads one hour back from the API's
//!   time covers only the last fifty minutes of the rows' times, and may miss rows that came late. So a sweep reads
//!   deeper by the lag, here ten minutes. The relay takes the lag from the times of new rows.
//! - The rows' clock may be *ahead*. Then every new row is dated after the API's present time. The frontier never
//!   passes the present time, so it would stay earlier than all new rows. Therefore, if most new rows are dated ahead,
//!   and the third-latest `ingestedAt` of a page is later than the API's present time, this `ingestedAt` counts as the
//!   present time. One or two rows with such an `ingestedAt` prove nothing.

use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Now, Rules};
use super::{CoverageState, Draft};
use crate::domain::{Coverage, Lags, UnixMs, whole_ms};

/// How many rows of one page must have an `ingestedAt` after the API's present time before the rows' clock counts as
/// ahead.
const CONVINCING: usize = 3;

impl CoverageState {
    /// Compares the times of a head page with the API's clock. Returns the API's present time, or the present time by
    /// the rows' clock if that clock is known to be ahead.
    pub(super) fn compare_clocks(&mut self, rules: &Rules, page: &FeedPage, now: Now) -> UnixMs {
        self.memory.set_ingested_ahead(ingested_ahead(rules, page, now.server));
        if self.coverage.is_some() {
            return self.rows_now(rules, now);
        }
        // Before coverage begins, no lags are stored, so this page has to show them.
        let lags = Lags::new(seen_lags(rules, page, UnixMs::MIN, None, now.server), 0);
        now.server.after(self.memory.rows_ahead(rules, &lags))
    }

    /// Returns the API's present time, or the present time by the rows' clock if that clock is known to be ahead.
    pub(super) fn rows_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let lags = self.coverage.as_ref().map(|coverage| &coverage.lags);
        now.server.after(lags.map_or(Duration::ZERO, |lags| self.memory.rows_ahead(rules, lags)))
    }

    /// Returns the time with which a message would be dated if it arrived now: the present time by the rows' clock, as
    /// far as the relay knows that clock.
    pub fn messages_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let behind = self.coverage.as_ref().and_then(|coverage| coverage.lags.behind()).unwrap_or(0);
        UnixMs(self.rows_now(rules, now).0.saturating_sub(behind))
    }

    /// Corrects the time of each walk's first failure, after the relay's time was corrected. (The store corrects the
    /// times on disk.)
    pub fn move_local_times(&mut self, moved: impl Fn(UnixMs) -> UnixMs) {
        for walk in self.coverage.iter_mut().flat_map(|coverage| &mut coverage.walks) {
            walk.progress.since = walk.progress.since.map(&moved);
        }
    }
}

impl Draft<'_> {
    /// Returns the API's present time, or the present time by the rows' clock if that clock is known to be ahead. The
    /// frontier may rise up to this time.
    pub(super) fn rows_now(&self) -> UnixMs {
        self.now.server.after(self.memory.rows_ahead(self.rules, &self.coverage.lags))
    }

    /// Returns whether the rows' clock may be behind the API's clock: the lag is greater than the margin, or not known
    /// yet. If so, the next new rows may be dated before the API's present time by more than the margin.
    pub(super) fn may_be_behind(&self) -> bool {
        self.coverage.lags.behind().is_none_or(|behind| behind > whole_ms(self.rules.margin))
    }

    /// Records how far the new rows of a head page are behind the API's clock, or ahead of it. For this, new rows are
    /// compared with the time of the previous head poll. If this process has made no head poll before, the anchor takes
    /// the place of that time. On the first page of a first run no row counts as behind: no row is stored yet, so an
    /// old row cannot be told from a new row that is dated too early.
    pub(super) fn note_lags(&mut self, page: &FeedPage) {
        let watermark = self.coverage.marks.watermark;
        let last_poll = self.marks_on_disk.map(|marks| self.memory.last_poll_at().unwrap_or(marks.anchor));
        self.coverage.lags.extend(seen_lags(self.rules, page, watermark, last_poll, self.now.server));
    }

    /// Completes a sweep. The sweep has covered the feed as it was at `opened_at`, by the API's clock. So the anchor
    /// rises to this time, and the present lag is kept with the anchor. The depth of the next sweep is measured from
    /// the anchor minus the lag.
    ///
    /// If the API's clock was set back, the anchor is later than the API's time. A mark never goes back, so the lag is
    /// lowered instead. Example: the API's clock was an hour ahead of the rows' clock. The anchor is 12:00, and the lag
    /// that is kept with it is an hour. Then the API's clock is set right, and new rows show that the two clocks agree.
    /// When a sweep that was opened at 11:05 is completed, the kept lag becomes 55 minutes. So the depth of the next
    /// sweep is measured from 11:05 instead of 11:00.
    ///
    /// If a sweep was opened before the clock was set back, its `opened_at` may be later than the API's time. Such a
    /// sweep changes nothing, because that time has no meaning any more.
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

/// Returns by how much the third-latest `ingestedAt` of a page is later than the API's present time (`server`). Returns
/// zero if the difference is at most the margin, or greater than `clocks_apart`.
fn ingested_ahead(rules: &Rules, page: &FeedPage, server: UnixMs) -> Duration {
    let mut ingested: Vec<UnixMs> = page.ingested().collect();
    ingested.sort_unstable_by(|left, right| right.cmp(left));
    let ahead = ingested.get(CONVINCING - 1).map_or(Duration::ZERO, |at| at.since(server));
    if rules.margin < ahead && ahead <= rules.clocks_apart { ahead } else { Duration::ZERO }
}

/// Returns how far the new rows of a page are behind the API's clock, in milliseconds, the newest row last. A negative
/// number means that the row is ahead of the API's clock.
///
/// - A row is behind if its time is more than the margin before the previous poll (`last_poll`), although that poll did
///   not show the row.
/// - A row is ahead if it is dated more than the margin after the API's present time (`server`).
/// - A row that is neither behind nor ahead counts as 0 if its time and the API's present time differ by at most the
///   margin.
/// - The remaining rows are left out. Rows that are off by more than `clocks_apart` are left out in any case.
fn seen_lags(rules: &Rules, page: &FeedPage, watermark: UnixMs, last_poll: Option<UnixMs>, server: UnixMs) -> Vec<i64> {
    let (margin, apart) = (whole_ms(rules.margin), whole_ms(rules.clocks_apart));
    let lag = |time: UnixMs| {
        let lag = server.0.saturating_sub(time.0);
        let is_behind = last_poll.is_some_and(|last_poll| last_poll.since(time) > rules.margin);
        match lag {
            _ if lag < -apart || apart < lag => None,
            _ if is_behind || lag < -margin => Some(lag),
            _ if lag <= margin => Some(0),
            _ => None,
        }
    };
    let times = page.unknown().map(|row| row.time).filter(|time| *time >= watermark);
    let mut lags: Vec<i64> = times.filter_map(lag).collect();
    lags.reverse();
    lags
}
