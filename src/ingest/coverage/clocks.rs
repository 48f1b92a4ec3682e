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

use super::page::Page;
use super::rules::{Broken, Now, Rules};
use super::{Draft, Memory, State};
use crate::domain::{Coverage, Lags, UnixMs};

/// So many rows of one page must say that they were ingested after what the server calls now.
const CONVINCING: usize = 3;

impl State {
    /// Looks at the times of a head page; returns the server's now by the clock of the rows.
    pub(super) fn compare_clocks(&mut self, rules: &Rules, page: &Page, now: Now) -> UnixMs {
        self.memory.note_ingested(rules, page, now.server);
        let first = Lags::new(seen_lags(rules, page, None, now.server));
        let lags = self.coverage.as_ref().map_or(&first, |coverage| &coverage.lags);
        now.server.after(self.memory.ahead(rules, lags))
    }
}

impl Memory {
    /// A time that enough rows of a page have seen has come, however far that is ahead of the server's now.
    fn note_ingested(&mut self, rules: &Rules, page: &Page, server: UnixMs) {
        let mut ingested: Vec<UnixMs> = page.ingested().collect();
        ingested.sort_unstable_by(|left, right| right.cmp(left));
        let Some(come) = ingested.get(CONVINCING - 1) else { return };
        let ahead = come.since(server);
        if rules.margin < ahead && ahead <= rules.clocks_apart {
            self.note_ahead(ahead);
        }
    }
}

impl Draft<'_> {
    /// The server's now by the clock of the rows: up to here the frontier may rise.
    pub(super) fn rows_now(&self) -> UnixMs {
        self.now.server.after(self.memory.ahead(self.rules, &self.coverage.lags))
    }

    /// Notes how far the new rows of a head page are behind the server's clock. The first page of all has none that are
    /// known to be new.
    pub(super) fn note_lags(&mut self, page: &Page) {
        let polled = self.before.map(|marks| self.memory.polled().unwrap_or(marks.anchor));
        let before = self.coverage.lags.clone();
        self.coverage.lags.extend(seen_lags(self.rules, page, polled, self.now.server));
        self.lags_changed |= self.coverage.lags != before;
    }

    /// `time` of the server's clock less what a sweep reads: lookback, margin, and what the rows are behind.
    pub(super) fn depth_below(&self, time: UnixMs) -> UnixMs {
        below(self.rules, self.memory, self.coverage, time)
    }
}

/// See [`Draft::depth_below`].
pub(super) fn below(rules: &Rules, memory: &Memory, coverage: &Coverage, time: UnixMs) -> UnixMs {
    let Coverage { marks, lags, .. } = coverage;
    let by_rows = if rules.breaks(Broken::Clocks) {
        time
    } else if lags.as_slice().is_empty() {
        // Nothing new came yet: the rows may be as far behind as the newest of them is old.
        time.min(marks.frontier)
    } else {
        let ahead = whole_ms(memory.ahead(rules, lags));
        UnixMs(time.0.saturating_sub(lags.median().max(-ahead)))
    };
    by_rows.before(rules.lookback).before(rules.margin)
}

/// Of the rows of a page that are not stored, the newest last: 0 where the time may be right.
///
/// It cannot be right where a row was not in the list at `polled`, the poll before, though it is dated earlier by more than
/// the margin; nor where it is dated ahead. A time that is off by more than clocks can be apart says nothing of them.
fn seen_lags(rules: &Rules, page: &Page, polled: Option<UnixMs>, server: UnixMs) -> Vec<i64> {
    let lag = |time: UnixMs| {
        let behind = polled.is_some_and(|polled| polled.since(time) > rules.margin);
        if behind || time.since(server) > rules.margin { server.0.saturating_sub(time.0) } else { 0 }
    };
    let apart = whole_ms(rules.clocks_apart);
    // Before there was a poll no time is wrong, nor shown to be right.
    let tells = |lag: &i64| (-apart..=apart).contains(lag) && (polled.is_some() || *lag != 0);
    let mut lags: Vec<i64> = page.unknown().map(|row| lag(row.time)).filter(tells).collect();
    lags.reverse();
    lags
}

fn whole_ms(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
