//! The first page of a first run: where coverage begins.

use super::memory::Memory;
use super::page::FeedPage;
use super::rules::{Now, Rules};
use super::{CoverageState, Draft, NextAction, Step, if_it_holds};
use crate::domain::{Coverage, DeliveryClass, Lags, Marks, More, PollChange, Seq, Start, UnixMs, WalkId, WalkKind};

impl CoverageState {
    pub(super) fn first_page(&mut self, rules: &Rules, mut page: FeedPage, now: Now, rows_now: UnixMs) -> Step {
        if let (true, More::Cursor(cursor)) = (page.is_ahead_of(rows_now), page.more().clone())
            && self.memory.may_pass_over(rules)
        {
            self.memory.keep_future_rows(page);
            return Step::without_changes(NextAction::Follow(cursor));
        }
        page.prepend(self.memory.take_future_rows());
        // If an earlier poll got an empty answer, the feed was empty then. So every message that has come since counts
        // as received after the start of the first run, although the relay believes an empty feed only after several
        // successive empty answers.
        let first_empty_poll = self.memory.take_first_empty_poll_at().unwrap_or(UnixMs::MAX);
        let mut coverage = begin(rules, &page, now, rows_now, first_empty_poll);
        let step = relay_from(rules, page, now, &mut coverage, &mut self.memory);
        self.coverage = Some(coverage);
        step
    }
}

/// Makes the coverage with which a first run begins. Its marks come from the page and from the API's clock, not from
/// the relay's own clock. With marks from a wrong clock, the relay could miss rows, or deliver old ones.
fn begin(rules: &Rules, page: &FeedPage, now: Now, rows_now: UnixMs, first_empty_poll: UnixMs) -> Coverage {
    let frontier = page.newest_time(rows_now).unwrap_or(rows_now);
    let watermark = match rules.start {
        // The page is empty. So no row shows by how much time rows are out of order (at most the margin), or by how
        // much the clock of the rows is wrong (at most `clocks_apart`). Both limits are subtracted, to be safe.
        Start::Now if page.is_empty() => {
            frontier.before(rules.lookback).before(rules.margin).before(rules.clocks_apart)
        }
        // The newest row may have a wrong date. The median of the page's times is unlikely to be wrong.
        Start::Now => frontier.min(first_empty_poll).min(page.middle_time()).before(rules.lookback),
        Start::Beginning => UnixMs::MIN,
        Start::At(instant) => instant,
        Start::Back(span) => rows_now.before(span),
    };
    let start_instant = page.newest_ingested().unwrap_or(now.server).min(first_empty_poll);
    let (anchor, next_seq, next_walk) = (now.server, Seq(1), WalkId(1));
    let marks = Marks { frontier, watermark, anchor, start_instant, next_seq, next_walk };
    Coverage { marks, walks: Vec::new(), lags: Lags::default() }
}

/// Stores the first page. If the page does not reach down to the watermark, opens a walk that does.
fn relay_from(rules: &Rules, page: FeedPage, now: Now, coverage: &mut Coverage, memory: &mut Memory) -> Step {
    let opened = coverage.marks.next_seq;
    let mut draft = Draft::new(rules, now, coverage, memory, None);
    draft.changes.push(PollChange::Begin { start: rules.start.to_string() });
    draft.note_lags(&page);
    let floor = draft.coverage.marks.watermark;
    let has_arrived = rules.has_arrived(&page, floor, opened, draft.rows_now());
    let kind = match rules.start {
        Start::Now => WalkKind::Seed,
        _ => rules.new_gap(None),
    };
    let walk = (!has_arrived).then(|| draft.open(kind, floor, opened, now.server, &page));
    if kind == WalkKind::Seed {
        let free = draft.store_at_start(page);
        draft.release(free, DeliveryClass::Live);
    } else {
        let free = draft.store(page, |_, walks| walk.and_then(|gap| if_it_holds(gap, walks)));
        draft.release(free, DeliveryClass::Backfill);
    }
    draft.finish(walk.map_or(NextAction::Idle, NextAction::FollowWalk))
}
