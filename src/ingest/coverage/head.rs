//! A head poll: the newest page.

use super::page::FeedPage;
use super::rules::{Broken, Now, Rules};
use super::{CoverageState, Draft, Next, Step, gap_around};
use crate::domain::{Class, More, UnixMs, WalkKind};

/// An empty first page is believed when it was seen so often in a row.
const EMPTY_HEADS_BELIEVED: u32 = 3;

impl CoverageState {
    /// A head poll answered with `page`.
    pub fn head_page(&mut self, rules: &Rules, page: FeedPage, now: Now) -> Step {
        let idle = |next| Step { ops: Vec::new(), next };
        let empty = page.is_empty();
        if empty && self.memory.has_skip() {
            self.memory.forget_skip();
            return idle(Next::Idle);
        }
        let empty_heads = self.memory.count_head(empty);
        if empty && self.coverage.is_none() {
            self.memory.note_asked_in_vain(now.server);
        }
        if empty && (empty_heads < EMPTY_HEADS_BELIEVED || *page.more() == More::Lost) {
            return idle(Next::AskAgain);
        }
        if let (true, More::Cursor(cursor)) = (empty, page.more().clone()) {
            let on = self.memory.may_pass_over(rules);
            return idle(if on { Next::Follow(cursor) } else { Next::Idle });
        }
        self.memory.note_poll(now);
        let rows_now = self.compare_clocks(rules, &page, now);
        let Some(mut coverage) = self.coverage.take() else {
            return self.first_page(rules, page, now, rows_now);
        };
        // The frontier never passed the server's now: rows up to there are not dated ahead, even if that clock was set back.
        let ordinary = rows_now.max(coverage.marks.frontier);
        let step = if let (true, More::Cursor(cursor)) = (page.is_known() && page.is_ahead_of(ordinary), page.more()) {
            let goes_on = self.memory.skip_to(cursor.clone(), page.last_time().unwrap_or(UnixMs::MAX), now)
                && self.memory.may_pass_over(rules);
            idle(if goes_on { Next::Follow(cursor.clone()) } else { Next::Idle })
        } else {
            let before = Some(coverage.marks);
            Draft::new(rules, now, &mut coverage, &mut self.memory, before).head_page(page)
        };
        self.coverage = Some(coverage);
        step
    }
}

impl Draft<'_> {
    fn head_page(mut self, page: FeedPage) -> Step {
        self.note_lags(&page);
        let rows_now = self.rows_now();
        let opened = self.coverage.marks.next_seq;
        let seen_at = self.memory.blind_since().unwrap_or(self.now.server);
        let frontier = self.coverage.marks.gap_floor();
        let sweep_floor = self.sweep_floor();
        let sweep_due = self.sweep_is_due();
        let nothing_new = !page.unknown().any(|row| self.is_news(row));
        let arrived =
            page.ends(self.rules, frontier, opened, rows_now) || (nothing_new && page.reaches(frontier, rows_now));
        self.raise_frontier(&page);
        if arrived {
            if sweep_due {
                if page.ends(self.rules, sweep_floor, opened, rows_now) {
                    self.complete_sweep(seen_at);
                } else {
                    self.open(WalkKind::Sweep, sweep_floor, opened, seen_at, &page);
                }
            }
            let loose = self.store_in_place(page);
            self.release(loose, Class::Live);
            return self.finish(Next::Idle);
        }
        let sweep_floor = (sweep_due && sweep_floor < frontier).then_some(sweep_floor);
        let streaming = self.rules.breaks(Broken::Hold);
        let gap = self.open(WalkKind::Gap { sweep_floor, streaming }, frontier, opened, seen_at, &page);
        let loose = self.store(page, |_, _| (!streaming).then_some(gap));
        self.release(loose, Class::Live);
        self.finish(Next::FollowWalk(gap))
    }

    /// Stores the unknown rows of a page; news in the unread part of a gap waits for it, the rest is returned.
    pub(super) fn store_in_place(&mut self, page: FeedPage) -> Vec<crate::domain::Seq> {
        let hold = !self.rules.breaks(Broken::Hold);
        self.store(page, |row, walks| gap_around(row, walks).filter(|_| hold))
    }

    /// One sweep at a time, and none while a walk that counts as one is open.
    fn sweep_is_due(&self) -> bool {
        let open = self.coverage.walks.iter().any(|walk| match walk.kind {
            WalkKind::Gap { sweep_floor, .. } => sweep_floor.is_some(),
            WalkKind::Sweep | WalkKind::Seed => true,
        });
        let (now, anchor) = (self.now.server, self.coverage.marks.anchor);
        // A clock that was set back does not come to it for a long time.
        !open && (now.since(anchor) >= self.rules.sweep_interval || anchor.since(now) > self.rules.margin)
    }
}
