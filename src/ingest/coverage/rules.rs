//! The settings and limits of the rules of coverage.

use std::time::Duration;

use crate::domain::{Start, UnixMs};

/// The present time, as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The API's time. It limits the marks (such as the frontier), and the floors of walks are computed from it.
    pub server: UnixMs,
    /// The relay's time. It shows for how long a walk has been failing.
    pub local: UnixMs,
}

/// The settings of `[poll]` and the limits of coverage. In formulas, `L`, `m` and `R` stand for three of these values.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where a first run begins.
    pub start: Start,
    /// `L`: if a row comes late by at most this time, it is still found.
    pub lookback: Duration,
    /// A sweep is due when the anchor is this old.
    pub sweep_interval: Duration,
    /// `m`: by how much time rows may be out of order.
    pub margin: Duration,
    /// The most by which the rows' clock and the API's clock may differ. If the time of a row is further off, it is
    /// taken for a wrong time, and shows nothing about the clocks.
    pub clocks_apart: Duration,
    /// `R`: ids are remembered at least for this long.
    pub remember_ids: Duration,
    /// How many of the newest ids are never forgotten, whatever their age. On a quiet account the same rows stay on the
    /// first page. If their ids were forgotten, every poll would find these rows unknown.
    pub keep_newest: u32,
    /// The most rows that a gap holds. A gap with more rows releases them and streams from then on.
    pub hold_limit: u64,
    /// The most pages that one head poll reads if each of them is empty, or has only rows dated ahead.
    pub pages_ahead: u32,
    /// The most pages of a new gap or seed that are read directly after the head page that opened it.
    pub head_pages: u32,
    /// A walk stands still if this many successive pages had no unknown row, and reached no older time than the pages
    /// before them.
    pub idle_pages: u32,
    /// A gap that holds its rows releases them after this many failures without progress (`WalkProgress::failures`),
    /// and streams from then on.
    pub patience_failures: u32,
    /// A gap that holds its rows releases them after it has been failing for this long, and streams from then on.
    pub patience: Duration,
    /// The safeguard that a test leaves out, to see that the safeguard is needed.
    #[cfg(test)]
    pub(crate) left_out: Option<Safeguard>,
}

impl Rules {
    /// Makes the rules, with the limits for a real feed. (Some tests shorten the limits.)
    pub fn new(start: Start, lookback: Duration, sweep_interval: Duration) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            start,
            lookback,
            sweep_interval,
            margin: Duration::from_secs(60),
            clocks_apart: DAY,
            remember_ids: (30 * DAY).max(2 * lookback),
            keep_newest: 200,
            hold_limit: 10_000,
            pages_ahead: 40,
            head_pages: 2,
            idle_pages: 100,
            patience_failures: 10,
            patience: Duration::from_secs(15 * 60),
            #[cfg(test)]
            left_out: None,
        }
    }

    /// Whether a test leaves out this safeguard; always false outside of tests. Only `safeguards` calls this function.
    #[cfg(test)]
    pub(super) fn leaves_out(&self, safeguard: Safeguard) -> bool {
        self.left_out == Some(safeguard)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call as in tests")]
    pub(super) const fn leaves_out(&self, _: Safeguard) -> bool {
        false
    }
}

/// A safeguard that the worlds test leaves out, to prove that the test then finds a fault. The comment of each variant
/// says what happens without the safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safeguard {
    /// The frontier may pass the API's present time.
    FrontierCap,
    /// Rows below the watermark are news.
    Watermark,
    /// The depth of a sweep is measured from the frontier instead of from the last completed sweep.
    Anchor,
    /// The rows' clock is taken to agree with the API's clock.
    Clocks,
    /// Any row at or below the floor ends a walk.
    EndTest,
    /// Gaps release rows as they read them, so newer rows are released before older ones.
    Hold,
    /// A walk believes the first empty page.
    EmptyPage,
    /// The watermark rises even above rows that the next sweep or an open walk still has to read.
    Forgetting,
}
