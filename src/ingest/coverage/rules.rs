//! The numbers that the rules of coverage work with.

use std::time::Duration;

use crate::domain::{Start, UnixMs};

/// What time it is, as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the server's clock: for caps and floors, never to decide what is new.
    pub server: UnixMs,
    /// By ours: for how long something has been going wrong.
    pub local: UnixMs,
}

/// Settings and limits.
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
    /// By no more than this the clocks of the API are taken to differ.
    pub clocks_apart: Duration,
    /// Ids are remembered at least this long.
    pub remember_ids: Duration,
    /// So many of the newest ids are never forgotten: several first pages, or those of a quiet account would be
    /// unknown again at every poll.
    pub keep_newest: u32,
    /// A gap that holds more rows than this streams from there on.
    pub hold_limit: u64,
    /// So many pages of rows dated ahead are passed over in one head poll.
    pub pages_ahead: u32,
    /// So many pages of a new gap may follow its head page at once.
    pub head_pages: u32,
    /// So many pages with nothing new and no older time are taken for standing still.
    pub idle_pages: u32,
    /// After so many failures in a row a walk is stalled.
    pub patience_failures: u32,
    /// After failing for so long a walk is stalled.
    pub patience: Duration,
    /// Which rule a test leaves out, to see that it is needed.
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

    /// Whether a test leaves this rule out. Never, outside tests.
    #[cfg(test)]
    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call as in tests")]
    pub(crate) const fn breaks(&self, _: Broken) -> bool {
        false
    }
}

/// A rule that the property test leaves out to prove that it would notice.
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
    /// News is handed on at once, and a late row in the unread part of a gap overtakes it.
    Hold,
    /// An empty page is believed at once.
    EmptyPage,
    /// The watermark rises without regard to open walks and to the anchor.
    Forgetting,
}
