//! The comparison of the clock that dates the rows with the API's clock.
//!
//! `Date` and the times of rows may come from different clocks of the API. These clocks need not agree: one of them may
//! be off by minutes, or show the time of another time zone.
//!
//! - If the rows' clock is *behind*, a sweep that reads back from the API's time would end too early and lose rows that
//!   came late. So a sweep reads deeper by the lag: the time by which new rows usually are behind when the relay first
//!   sees them.
//! - If the rows' clock is *ahead*, every new row would seem to be dated in the future, and the frontier would stay
//!   behind all new rows. So if several rows of a page were ingested after the API's present time, the time of their
//!   ingestion counts as the present time. A single such row proves nothing.

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
    /// the rows' clock if that clock is ahead.
    pub(super) fn compare_clocks(&mut self, rules: &Rules, page: &FeedPage, now: Now) -> UnixMs {
        self.memory.set_ingested_ahead(ingested_ahead(rules, page, now.server));
        if self.coverage.is_some() {
            return self.rows_now(rules, now);
        }
        let lags = Lags::new(seen_lags(rules, page, UnixMs::MIN, None, now.server), 0);
        now.server.after(self.memory.rows_ahead(rules, &lags))
    }

    /// Returns the API's present time, or the present time by the rows' clock if that clock is known to be ahead.
    pub(super) fn rows_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let lags = self.coverage.as_ref().map(|coverage| &coverage.lags);
        now.server.after(lags.map_or(Duration::ZERO, |lags| self.memory.rows_ahead(rules, lags)))
    }

    /// Returns the time that a message would have if it arrived now: the present time by the clock of the messages, as
    /// far as the relay knows that clock.
    pub fn messages_now(&self, rules: &Rules, now: Now) -> UnixMs {
        let behind = self.coverage.as_ref().and_then(|coverage| coverage.lags.behind()).unwrap_or(0);
        UnixMs(self.rows_now(rules, now).0.saturating_sub(behind))
    }

    /// Corrects the times in memory, after the relay's time and the stored times were corrected.
    pub fn move_local_times(&mut self, moved: impl Fn(UnixMs) -> UnixMs) {
        for walk in self.coverage.iter_mut().flat_map(|coverage| &mut coverage.walks) {
            walk.progress.since = walk.progress.since.map(&moved);
        }
    }
}

impl Draft<'_> {
    /// Returns the API's present time, or the present time by the rows' clock if that clock is ahead. The frontier may
    /// rise up to this time.
    pub(super) fn rows_now(&self) -> UnixMs {
        self.now.server.after(self.memory.rows_ahead(self.rules, &self.coverage.lags))
    }

    /// Returns whether the clock of the rows may be behind the API's clock. If so, rows that are dated before the API's
    /// present time may still appear.
    pub(super) fn may_be_behind(&self) -> bool {
        self.coverage.lags.behind().is_none_or(|behind| behind > whole_ms(self.rules.margin))
    }

    /// Records how far the new rows of a head page are behind the API's clock. On the very first page no row is known
    /// to be new, so no row counts as behind.
    pub(super) fn note_lags(&mut self, page: &FeedPage) {
        let watermark = self.coverage.marks.watermark;
        let last_poll = self.marks_on_disk.map(|marks| self.memory.last_poll_at().unwrap_or(marks.anchor));
        self.coverage.lags.extend(seen_lags(self.rules, page, watermark, last_poll, self.now.server));
    }

    /// Completes a sweep and raises the anchor. The sweep has covered the list as it was at `opened_at`, by the
    /// API's clock.
    ///
    /// If the API's clock was set back, the anchor lies in the future and cannot rise. Then the lag that is kept with
    /// the anchor is lowered instead, so that the next sweep reads no deeper than it must. A sweep that was opened
    /// before the clock was set back changes nothing, because its opening time has no meaning any more.
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

/// Returns by how much the third-latest `ingestedAt` of a page is later than the API's present time; zero if the
/// difference is within the margin, or greater than clocks can be apart.
fn ingested_ahead(rules: &Rules, page: &FeedPage, server: UnixMs) -> Duration {
    let mut ingested: Vec<UnixMs> = page.ingested().collect();
    ingested.sort_unstable_by(|left, right| right.cmp(left));
    let ahead = ingested.get(CONVINCING - 1).map_or(Duration::ZERO, |at| at.since(server));
    if rules.margin < ahead && ahead <= rules.clocks_apart { ahead } else { Duration::ZERO }
}

/// Returns how far the new rows of a page are behind the API's clock, in milliseconds, the newest row last. A
/// negative number means that the row is ahead of the clock.
///
/// - A row is behind if its time is more than the margin before the previous poll (`last_poll`), although that poll did
///   not show the row.
/// - A row is ahead if it is dated more than the margin after the API's present time (`server`).
/// - A row that is dated within the margin of the API's present time counts as 0.
/// - All other rows are ignored, also rows whose time is further off than clocks can be apart.
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
