//! The first page of a first run: where coverage begins.

use super::memory::Memory;
use super::page::FeedPage;
use super::rules::{Now, Rules};
use super::{CoverageState, Draft, Next, Step};
use crate::domain::{Class, Coverage, Lags, Marks, More, Seq, Start, StoreOp, UnixMs, WalkId, WalkKind};

impl CoverageState {
    pub(super) fn first_page(&mut self, rules: &Rules, mut page: FeedPage, now: Now, rows_now: UnixMs) -> Step {
        if let (true, More::Cursor(cursor)) = (page.is_ahead_of(rows_now), page.more().clone())
            && self.memory.may_pass_over(rules)
        {
            self.memory.keep_prelude(page);
            return Step { ops: Vec::new(), next: Next::Follow(cursor) };
        }
        page.prepend(self.memory.take_prelude());
        // A message that came while an empty list was not believed yet came after the start.
        let asked = self.memory.take_asked_in_vain().unwrap_or(UnixMs::MAX);
        let mut coverage = begin(rules, &page, now, rows_now, asked);
        let step = relay_from(rules, page, now, &mut coverage, &mut self.memory);
        self.coverage = Some(coverage);
        step
    }
}

/// Taking our clock instead of what the server says would lose or repeat rows whenever the two differ.
fn begin(rules: &Rules, page: &FeedPage, now: Now, rows_now: UnixMs, asked: UnixMs) -> Coverage {
    let frontier = page.newest_time(rows_now).unwrap_or(rows_now);
    let watermark = match rules.start {
        // With nothing to go by, the order of the feed may be off by the margin too.
        // Nor is there one to tell by which clock rows are dated.
        Start::Now if page.is_empty() => {
            frontier.before(rules.lookback).before(rules.margin).before(rules.clocks_apart)
        }
        // Of a few rows that are dated wrongly the newest may be one.
        Start::Now => frontier.min(asked).min(page.middle_time()).before(rules.lookback),
        Start::Beginning => UnixMs::MIN,
        Start::At(instant) => instant,
        Start::Back(span) => rows_now.before(span),
    };
    let start_instant = page.newest_ingested().unwrap_or(now.server).min(asked);
    let (anchor, next_seq, next_walk) = (now.server, Seq(1), WalkId(1));
    let marks = Marks { frontier, watermark, anchor, start_instant, next_seq, next_walk };
    Coverage { marks, walks: Vec::new(), lags: Lags::default() }
}

fn relay_from(rules: &Rules, page: FeedPage, now: Now, coverage: &mut Coverage, memory: &mut Memory) -> Step {
    let opened = coverage.marks.next_seq;
    let mut draft = Draft::new(rules, now, coverage, memory, None);
    draft.ops.push(StoreOp::Begin { start: rules.start.to_string() });
    draft.note_lags(&page);
    let ended = page.ends(rules, draft.coverage.marks.watermark, opened, draft.rows_now());
    let kind = match rules.start {
        Start::Now => WalkKind::Seed,
        _ => WalkKind::Gap { sweep_floor: None, streaming: false },
    };
    let floor = draft.coverage.marks.watermark;
    let walk = (!ended).then(|| draft.open(kind, floor, opened, now.server, &page));
    if kind == WalkKind::Seed {
        let loose = draft.store_seeds(page);
        draft.release(loose, Class::Live);
    } else {
        let loose = draft.store(page, |_, _| walk);
        draft.release(loose, Class::Backfill);
    }
    draft.finish(walk.map_or(Next::Idle, Next::FollowWalk))
}
