//! The numbers that the rules of coverage work with.

use std::time::Duration;

use crate::domain::{Start, UnixMs};

/// What time it is, as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the server's clock. It caps marks and places floors; it never decides what is new.
    pub server: UnixMs,
    /// By the relay's clock. It tells for how long a walk has been failing.
    pub local: UnixMs,
}

/// The settings of `[poll]` and the limits of coverage.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where a first run begins.
    pub start: Start,
    /// `L`: how late a row may show up behind newer ones.
    pub lookback: Duration,
    /// A sweep is due when the anchor is this old.
    pub sweep_interval: Duration,
    /// `m`: how far the order of the feed may be off.
    pub margin: Duration,
    /// The most by which the clocks of the API may differ. Larger differences are ignored as wrong times.
    pub clocks_apart: Duration,
    /// Ids are remembered at least this long.
    pub remember_ids: Duration,
    /// How many of the newest ids are never forgotten, whatever their age. Otherwise the rows of a quiet account would
    /// be unknown again at every poll.
    pub keep_newest: u32,
    /// The most rows that a gap holds. A gap with more hands them on and holds no further rows.
    pub hold_limit: u64,
    /// The most pages of rows dated ahead that one head poll passes over.
    pub pages_ahead: u32,
    /// The most pages of a new gap that are read at once behind its head page.
    pub head_pages: u32,
    /// After this many pages in a row with nothing new and no older time a walk is standing still.
    pub idle_pages: u32,
    /// After this many failures in a row a walk is stalled.
    pub patience_failures: u32,
    /// After failing for this long a walk is stalled.
    pub patience: Duration,
    /// Which safeguard a test leaves out, to see that it is needed.
    #[cfg(test)]
    pub(crate) broken: Option<Broken>,
}

impl Rules {
    /// The rules with the limits of a real feed.
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
            broken: None,
        }
    }

    /// Whether a test leaves out this safeguard; never outside of tests. Only `safeguards` asks.
    #[cfg(test)]
    pub(super) fn breaks(&self, safeguard: Broken) -> bool {
        self.broken == Some(safeguard)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call as in tests")]
    pub(super) const fn breaks(&self, _: Broken) -> bool {
        false
    }
}

/// A safeguard that the worlds test leaves out to prove that it would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The frontier may pass the server's now.
    FrontierCap,
    /// Rows below the watermark are news.
    Watermark,
    /// Sweeps go down from the frontier instead of from the last completed sweep.
    Anchor,
    /// The clock of the rows is taken to agree with that of the server.
    Clocks,
    /// Any row at or below the floor ends a walk.
    EndTest,
    /// News is handed on at once, and a late row in the unread part of a gap overtakes older ones.
    Hold,
    /// An empty page is believed at once.
    EmptyPage,
    /// The watermark rises without regard to open walks and to the anchor.
    Forgetting,
}
