//! The settings and limits of the rules of coverage.

use std::time::Duration;

use crate::domain::{Start, UnixMs};

/// The present time, as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time by the API's clock. It limits the marks (such as the frontier), and the floors of walks are computed
    /// from it. It never decides which rows are new.
    pub server: UnixMs,
    /// The time by the relay's clock. It shows for how long a walk has been failing.
    pub local: UnixMs,
}

/// The settings of `[poll]` and the limits of coverage.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where a first run begins.
    pub start: Start,
    /// `L`: how late a row may show up, below newer rows, and still be found.
    pub lookback: Duration,
    /// A sweep is due when the anchor is this old.
    pub sweep_interval: Duration,
    /// `m`: by how much time rows may be out of order.
    pub margin: Duration,
    /// The most by which the clocks of the API may differ. Larger differences are ignored as wrong times.
    pub clocks_apart: Duration,
    /// The least time for which ids are remembered.
    pub remember_ids: Duration,
    /// How many of the newest ids are never forgotten, whatever their age. Otherwise the rows of a quiet account would
    /// be unknown again at every poll.
    pub keep_newest: u32,
    /// The most rows that a gap holds. A gap with more rows releases them and holds no further rows.
    pub hold_limit: u64,
    /// The most pages of rows dated ahead that one head poll passes over.
    pub pages_ahead: u32,
    /// The most pages of a new gap that are read directly after the head page that opened the gap.
    pub head_pages: u32,
    /// A walk counts as standing still after this many pages in a row that had no new row, and reached no older time
    /// than the pages before them.
    pub idle_pages: u32,
    /// A walk is stalled after this many failures in a row.
    pub patience_failures: u32,
    /// A walk is stalled after it has been failing for this long.
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

/// A safeguard that the worlds test leaves out, to prove that the test then finds a fault. Each variant says what
/// happens without the safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safeguard {
    /// The frontier may pass the API's present time.
    FrontierCap,
    /// Rows below the watermark are news.
    Watermark,
    /// The depth of a sweep is measured from the frontier instead of from the last completed sweep.
    Anchor,
    /// The clock of the rows is taken to agree with the API's clock.
    Clocks,
    /// Any row at or below the floor ends a walk.
    EndTest,
    /// News is released at once, and a late row in the unread part of a gap overtakes older rows.
    Hold,
    /// An empty page is believed at once.
    EmptyPage,
    /// The watermark rises without regard to open walks and to the anchor.
    Forgetting,
}
