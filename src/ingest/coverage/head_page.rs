//! A head poll: the step that follows from the newest page.

use super::page::FeedPage;
use super::rules::{Now, Rules};
use super::{CoverageState, Draft, NextAction, Step, gap_around, if_it_holds};
use crate::domain::{Cursor, DeliveryClass, More, Seq, UnixMs, WalkKind};

/// After this many successive empty first pages the relay believes that the feed is empty.
const EMPTY_HEADS_BELIEVED: u32 = 3;

impl CoverageState {
    /// Handles the page with which a head poll was answered.
    pub fn head_page(&mut self, rules: &Rules, page: FeedPage, now: Now) -> Step {
        let is_empty = page.is_empty();
        if is_empty && self.memory.has_skip() {
            self.memory.forget_skip();
            return Step::NOTHING;
        }
        let empty_heads = self.memory.count_empty_heads(is_empty);
        if is_empty && self.coverage.is_none() {
            self.memory.note_empty_poll(now.server);
        }
        if is_empty && (empty_heads < EMPTY_HEADS_BELIEVED || *page.more() == More::Lost) {
            return Step::without_changes(NextAction::AskAgain);
        }
        if let (true, More::Cursor(cursor)) = (is_empty, page.more()) {
            return Step::without_changes(self.pass_over(rules, cursor.clone()));
        }
        self.memory.note_answer(now);
        let rows_now = self.compare_clocks(rules, &page, now);
        let Some(mut coverage) = self.coverage.take() else {
            return self.first_page(rules, page, now, rows_now);
        };
        // Rows up to the frontier do not count as dated ahead. They were not dated ahead when the frontier rose, but
        // the present time may have gone back since, for example because the API's clock was set back.
        let ordinary = rows_now.max(coverage.marks.frontier);
        let step = if let (true, More::Cursor(cursor)) = (page.is_known() && page.is_ahead_of(ordinary), page.more()) {
            let reads_on = self.memory.skip_to(cursor.clone(), page.last_time().unwrap_or(UnixMs::MAX), now);
            Step::without_changes(if reads_on { self.pass_over(rules, cursor.clone()) } else { NextAction::Idle })
        } else {
            let before = Some(coverage.marks);
            Draft::new(rules, now, &mut coverage, &mut self.memory, before).head_page(page)
        };
        self.coverage = Some(coverage);
        step
    }

    /// Passes over an empty page or a page of a block. The head poll goes on with the page to which `cursor` leads,
    /// unless the poll has passed over too many pages.
    fn pass_over(&mut self, rules: &Rules, cursor: Cursor) -> NextAction {
        if self.memory.may_pass_over(rules) { NextAction::Follow(cursor) } else { NextAction::Idle }
    }
}

impl Draft<'_> {
    fn head_page(mut self, page: FeedPage) -> Step {
        self.note_lags(&page);
        let rows_now = self.rows_now();
        let opened = self.coverage.marks.next_seq;
        let seen_at = self.memory.unseen_since().unwrap_or(self.now.server);
        let frontier = self.coverage.marks.gap_floor();
        let sweep_floor = self.sweep_floor();
        let sweep_due = self.sweep_is_due();
        let nothing_new = !page.unknown().any(|row| self.is_news(row));
        let has_arrived = self.rules.has_arrived(&page, frontier, opened, rows_now)
            || (nothing_new && page.reaches(frontier, rows_now));
        self.raise_frontier(&page);
        if has_arrived {
            if sweep_due {
                if self.rules.has_arrived(&page, sweep_floor, opened, rows_now) {
                    self.complete_sweep(seen_at);
                } else {
                    self.open(WalkKind::Sweep, sweep_floor, opened, seen_at, &page);
                }
            }
            let free = self.store_in_place(page);
            self.release(free, DeliveryClass::Live);
            return self.finish(NextAction::Idle);
        }
        let sweep_floor = (sweep_due && sweep_floor < frontier).then_some(sweep_floor);
        let gap = self.open(self.rules.new_gap(sweep_floor), frontier, opened, seen_at, &page);
        let free = self.store(page, |_, walks| if_it_holds(gap, walks));
        self.release(free, DeliveryClass::Live);
        self.finish(NextAction::FollowWalk(gap))
    }

    /// Stores the unknown rows of a page. A new row that lies in the unread part of a gap waits for this gap, if the
    /// gap holds its rows. Returns the other new rows.
    pub(super) fn store_in_place(&mut self, page: FeedPage) -> Vec<Seq> {
        self.store(page, gap_around)
    }

    /// Whether a sweep is due. No sweep is opened while another sweep is open, or a seed, or a gap that goes on as a
    /// sweep afterwards.
    fn sweep_is_due(&self) -> bool {
        let is_open = self.coverage.walks.iter().any(|walk| match walk.kind {
            WalkKind::Gap { sweep_floor, .. } => sweep_floor.is_some(),
            WalkKind::Sweep | WalkKind::Seed => true,
        });
        let (now, anchor) = (self.now.server, self.coverage.marks.anchor);
        // After the API's clock was set back, the API's time is earlier than the anchor for a long time. Sweeps must
        // not wait until the API's time has passed the anchor again.
        !is_open && (now.since(anchor) >= self.rules.sweep_interval || anchor.since(now) > self.rules.margin)
    }
}
