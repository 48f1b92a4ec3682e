//! The step that follows from one page of a walk.

use super::page::FeedPage;
use super::rules::{Now, Rules};
use super::setbacks::Setback;
use super::{CoverageState, Draft, NextAction, Step, if_it_holds};
use crate::domain::{Cursor, DeliveryClass, More, PollChange, UnixMs, Walk, WalkId, WalkKind, WalkProgress};

impl CoverageState {
    /// Handles a page of a walk. `at_once` says that the head lane has read this page, directly after the head page
    /// that opened the walk. If so, the rows that a gap releases in this step are live, not backfill.
    pub fn walk_page(&mut self, rules: &Rules, walk: WalkId, page: FeedPage, at_once: bool, now: Now) -> Step {
        self.with_walk(rules, walk, now, |draft, place| draft.walk_page(place, page, at_once))
    }

    /// Records that a walk's request got no usable page.
    pub fn walk_setback(&mut self, rules: &Rules, walk: WalkId, setback: Setback, now: Now) -> Step {
        self.with_walk(rules, walk, now, |mut draft, place| {
            let next = draft.set_back(place, setback);
            draft.finish(next)
        })
    }

    fn with_walk(
        &mut self,
        rules: &Rules,
        walk: WalkId,
        now: Now,
        step: impl FnOnce(Draft<'_>, usize) -> Step,
    ) -> Step {
        let Some(coverage) = self.coverage.as_mut() else { return Step::NOTHING };
        let Some(place) = coverage.walks.iter().position(|open| open.id == walk) else { return Step::NOTHING };
        let before = Some(coverage.marks);
        step(Draft::new(rules, now, coverage, &mut self.memory, before), place)
    }
}

impl Draft<'_> {
    fn walk_page(mut self, place: usize, page: FeedPage, at_once: bool) -> Step {
        let id = self.coverage.walks[place].id;
        if !page.is_empty() {
            self.end_round_of_empty_answers(place);
        } else if *page.more() != More::Lost {
            // An empty page with a cursor is doubted, too. Rows may be missing from the page, and its cursor may lead
            // to the rows below them.
            if !self.rules.believes_empty_answer(&self.coverage.walks[place].progress) {
                let next = self.set_back(place, Setback::EmptyPage);
                return self.finish(next);
            }
        }
        let class = if at_once { DeliveryClass::Live } else { DeliveryClass::Backfill };
        let last = page.last_time();
        let more = page.more().clone();
        let rows_now = self.rows_now();
        let (has_arrived, sweep_has_arrived) = {
            let walk = &self.coverage.walks[place];
            let reaches = |floor| self.rules.has_arrived(&page, floor, walk.opened_seq, rows_now);
            (reaches(walk.floor), reaches(walk.deepest_floor()))
        };
        let lowest = self.coverage.walks[place].lowest;
        let got_deeper = last.is_some_and(|last| last < lowest) || page.unknown().any(|row| row.time <= lowest);
        let has_unknown = page.unknown().next().is_some();
        self.store_walk_page(id, page, class);
        if has_arrived && sweep_has_arrived {
            self.close(place, class);
            return self.finish(NextAction::Idle);
        }
        if has_arrived {
            self.go_on_as_sweep(place, class);
        }
        let next = match self.unseen_cursor(id, &more) {
            Some(cursor) => {
                let stands_still = self.advance(place, cursor, last, got_deeper, has_unknown);
                if stands_still { self.set_back(place, Setback::StandingStill) } else { NextAction::Idle }
            }
            None => self.set_back(place, Setback::NoProgress),
        };
        self.stream_if_it_holds_too_much(id);
        if let Some(place) = self.coverage.walks.iter().position(|open| open.id == id) {
            self.put(place);
        }
        let next = if at_once && next == NextAction::Idle { NextAction::FollowWalk(id) } else { next };
        self.finish(next)
    }

    /// Stores the unknown rows of a walk's page. A gap holds its new rows, or releases them if it streams. The new rows
    /// of a sweep or a seed are treated like new rows at the head.
    fn store_walk_page(&mut self, id: WalkId, page: FeedPage, class: DeliveryClass) {
        let walk = self.coverage.walks.iter().find(|open| open.id == id);
        if walk.is_some_and(|walk| matches!(walk.kind, WalkKind::Gap { .. })) {
            let free = self.store(page, |_, walks| if_it_holds(id, walks));
            self.release(free, class);
        } else {
            let free = self.store_in_place(page);
            self.release(free, DeliveryClass::Live);
        }
    }

    /// Ends a walk that has arrived. If it has read as deep as a sweep has to, it counts as a completed sweep.
    pub(super) fn close(&mut self, place: usize, class: DeliveryClass) {
        let is_a_sweep = self.coverage.walks[place].deepest_floor() <= self.sweep_floor();
        let walk = self.coverage.walks.remove(place);
        if walk.holds() {
            self.release_held(walk.id, class);
        }
        self.changes.push(PollChange::RemoveWalk(walk.id));
        self.memory.drop_walk(walk.id);
        if is_a_sweep {
            self.complete_sweep(walk.opened_at);
        }
    }

    /// Turns a gap that has arrived, and that has a `sweep_floor`, into a sweep. The walk releases the rows that it
    /// holds, and reads on down to the `sweep_floor`.
    fn go_on_as_sweep(&mut self, place: usize, class: DeliveryClass) {
        let walk = &mut self.coverage.walks[place];
        let (id, holds) = (walk.id, walk.holds());
        walk.floor = walk.deepest_floor();
        walk.kind = WalkKind::Sweep;
        if holds {
            self.release_held(id, class);
        }
    }

    /// Returns the cursor that leads to the next page; `None` if there is none, or if an earlier page of this pass led
    /// to the same cursor.
    fn unseen_cursor(&mut self, id: WalkId, more: &More) -> Option<Cursor> {
        match more {
            More::Cursor(cursor) if !self.memory.walk(id).seen.contains(cursor) => Some(cursor.clone()),
            _ => None,
        }
    }

    /// Moves a walk on to `cursor`. `last` is the time of the last row of the page that was read. Returns whether the
    /// walk stands still ([`Rules::idle_pages`]).
    fn advance(
        &mut self,
        place: usize,
        cursor: Cursor,
        last: Option<UnixMs>,
        got_deeper: bool,
        has_unknown: bool,
    ) -> bool {
        let walk = &mut self.coverage.walks[place];
        let memory = self.memory.walk(walk.id);
        memory.seen.insert(cursor.clone());
        if let Some(left) = walk.cursor.replace(cursor) {
            walk.trail.push(left);
            let spare = walk.trail.len().saturating_sub(Walk::TRAIL);
            walk.trail.drain(..spare);
        }
        let is_older = last.is_some_and(|last| memory.lowest_of_pass.is_none_or(|lowest| last < lowest));
        memory.idle_pages = if is_older || has_unknown { 0 } else { memory.idle_pages + 1 };
        memory.lowest_of_pass = match (memory.lowest_of_pass, last) {
            (Some(lowest), Some(last)) => Some(lowest.min(last)),
            (lowest, last) => lowest.or(last),
        };
        if let Some(last) = last {
            walk.lowest = walk.lowest.min(last);
        }
        if got_deeper {
            walk.progress = WalkProgress::default();
        }
        let stands_still = memory.idle_pages >= self.rules.idle_pages;
        if stands_still {
            memory.idle_pages = 0;
        }
        stands_still
    }

    fn stream_if_it_holds_too_much(&mut self, id: WalkId) {
        if self.memory.walk(id).held > self.rules.hold_limit {
            self.stream(id);
        }
    }

    /// Releases the rows that a gap holds, oldest first. From then on the gap releases rows as it reads them.
    pub(super) fn stream(&mut self, id: WalkId) {
        let Some(walk) = self.coverage.walks.iter_mut().find(|open| open.id == id && open.holds()) else { return };
        if let WalkKind::Gap { streaming, .. } = &mut walk.kind {
            *streaming = true;
        }
        self.release_held(id, DeliveryClass::Backfill);
    }
}
