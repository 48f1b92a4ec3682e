//! The eight safeguards of coverage. If one of them were missing, rows would be lost, delivered twice, or overtaken by
//! newer rows.
//!
//! The functions here are the safeguards; the other files of coverage call them. The worlds test leaves out one
//! safeguard at a time ([`Safeguard`]), and must then find a fault. Only this file asks which safeguard is left out.

use std::time::Duration;

use super::page::FeedPage;
use super::rules::{Rules, Safeguard};
use super::setbacks::EMPTY_TRIES;
use crate::domain::{Coverage, Lags, Marks, More, Seq, UnixMs, Walk, WalkKind, WalkProgress};

impl Rules {
    /// Returns the latest time that the frontier may take: `rows_now`, which is the API's present time, or the present
    /// time by the rows' clock if that clock is ahead. If the frontier were in the year 2099, the relay would open no
    /// gap before 2099, and would miss rows.
    pub(super) fn frontier_cap(&self, rows_now: UnixMs) -> UnixMs {
        if self.leaves_out(Safeguard::FrontierCap) { UnixMs::MAX } else { rows_now }
    }

    /// Whether a row dated `time` lies below the watermark and is therefore never news. Ids below the watermark may
    /// have been forgotten, so an unknown row there may be a row that was delivered long ago.
    pub(super) fn is_settled(&self, time: UnixMs, marks: &Marks) -> bool {
        time < marks.watermark && !self.leaves_out(Safeguard::Watermark)
    }

    /// Returns the time down to which the next sweep must read: `A - lag - L - m`. `A` is the anchor, `L` the lookback
    /// and `m` the margin. The lag says how far the rows' clock is behind the API's clock. Of the present lag and the
    /// lag that was kept with `A`, the greater one counts.
    pub(super) fn sweep_depth(&self, coverage: &Coverage) -> UnixMs {
        let Coverage { marks, lags, .. } = coverage;
        let anchor_less = |lag: i64| UnixMs(marks.anchor.0.saturating_sub(lag));
        let by_rows = match lags.behind() {
            _ if self.leaves_out(Safeguard::Anchor) => marks.frontier,
            _ if self.leaves_out(Safeguard::Clocks) => marks.anchor,
            Some(behind) => anchor_less(behind.max(lags.anchor())),
            // The lag is unknown. At worst the newest row, which is dated `F` (the frontier), came at `A`. Then the lag
            // is `A - F`, and `A` minus the lag is `F`.
            None => anchor_less(lags.anchor()).min(marks.frontier),
        };
        by_rows.before(self.lookback).before(self.margin)
    }

    /// Whether most of the last new rows were dated more than the margin after the API's present time.
    pub(super) fn rows_are_ahead(&self, lags: &Lags) -> bool {
        let ahead = UnixMs(lags.ahead()).since(UnixMs(0));
        ahead > self.margin && !self.leaves_out(Safeguard::Clocks)
    }

    /// Whether `page` shows that all rows at or above `floor` were read: the feed ends with this page, or the rows of
    /// the page are evidence ([`FeedPage::is_evidence_of`]). Rows with a sequence number below `opened` were stored
    /// before the walk or the head poll began.
    pub(super) fn has_arrived(&self, page: &FeedPage, floor: UnixMs, opened: Seq, now: UnixMs) -> bool {
        if *page.more() == More::End {
            return true;
        }
        if self.leaves_out(Safeguard::EndTest) {
            return page.times().any(|time| time <= floor);
        }
        page.is_evidence_of(floor, opened, now)
    }

    /// Returns the [`WalkKind`] of a gap that is opened now. The gap holds its rows until it arrives, so that older
    /// rows are released before newer ones. If there is a `sweep_floor`, the gap then goes on as a sweep down to this
    /// time.
    pub(super) fn new_gap(&self, sweep_floor: Option<UnixMs>) -> WalkKind {
        WalkKind::Gap { sweep_floor, streaming: self.leaves_out(Safeguard::Hold) }
    }

    /// Whether a walk believes the empty answer that has just come. It does if three conditions hold: this answer
    /// completes a round of [`EMPTY_TRIES`] successive empty answers; it is at least the second such round; the walk
    /// has begun again at the head.
    pub(super) fn believes_empty_answer(&self, progress: &WalkProgress) -> bool {
        let answers = progress.empty_answers + 1;
        let is_confirmed = progress.restarts > 0 && answers > EMPTY_TRIES && answers.is_multiple_of(EMPTY_TRIES);
        is_confirmed || self.leaves_out(Safeguard::EmptyPage)
    }

    /// Returns the latest time that the watermark may take. The watermark never passes a row that the next sweep or an
    /// open walk still has to read.
    pub(super) fn watermark_cap(&self, coverage: &Coverage) -> UnixMs {
        if self.leaves_out(Safeguard::Forgetting) {
            return UnixMs::MAX;
        }
        let depth: Duration = self.lookback.saturating_add(self.margin);
        let floors = coverage.walks.iter().map(|walk| walk.floor.min(Walk::deepest_floor(walk))).min();
        let below_frontier = coverage.marks.frontier.before(depth);
        self.sweep_depth(coverage).min(below_frontier).min(floors.unwrap_or(UnixMs::MAX))
    }
}
