//! One page of a walk.

use super::page::FeedPage;
use super::rules::{Broken, Now, Rules};
use super::trouble::Setback;
use super::{CoverageState, Draft, Next, Step};
use crate::domain::{Class, Cursor, More, StoreOp, UnixMs, Walk, WalkId, WalkKind, WalkProgress};

impl CoverageState {
    /// A walk's request was answered with `page`. `at_once` says that the whole walk so far was read right behind the
    /// head page that opened it, so what it held is as good as live.
    pub fn walk_page(&mut self, rules: &Rules, walk: WalkId, page: FeedPage, at_once: bool, now: Now) -> Step {
        self.with_walk(rules, walk, now, |draft, place| draft.walk_page(place, page, at_once))
    }

    /// A walk's request led nowhere.
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
        let nothing = Step { ops: Vec::new(), next: Next::Idle };
        let Some(coverage) = self.coverage.as_mut() else { return nothing };
        let Some(place) = coverage.walks.iter().position(|open| open.id == walk) else { return nothing };
        let before = Some(coverage.marks);
        step(Draft::new(rules, now, coverage, &mut self.memory, before), place)
    }
}

/// How a page took a walk along.
enum WalkStep {
    Deeper(Cursor),
    Nowhere,
}

impl Draft<'_> {
    fn walk_page(mut self, place: usize, page: FeedPage, at_once: bool) -> Step {
        let id = self.coverage.walks[place].id;
        if !page.is_empty() {
            self.end_of_empty_answers(place);
        } else if *page.more() != More::Lost {
            // Also one that leads on: its cursor may lead past what should have been on it.
            let believed = self.rules.breaks(Broken::EmptyPage) || self.is_confirmed_empty(place);
            if !believed {
                let next = self.set_back(place, Setback::EmptyPage);
                return self.finish(next);
            }
        }
        let class = if at_once { Class::Live } else { Class::Backfill };
        let last = page.last_time();
        let more = page.more().clone();
        let rows_now = self.rows_now();
        let (over, sweep_over) = {
            let walk = &self.coverage.walks[place];
            let ends = |floor| page.ends(self.rules, floor, walk.opened_seq, rows_now);
            (ends(walk.floor), ends(walk.deepest_floor()))
        };
        let lowest = self.coverage.walks[place].lowest;
        let deeper = last.is_some_and(|last| last < lowest) || page.unknown().any(|row| row.time <= lowest);
        let news = page.unknown().next().is_some();
        self.place_rows(id, page, class);
        if over && sweep_over {
            self.close(place, class);
            return self.finish(Next::Idle);
        }
        if over {
            self.go_on_as_sweep(place, class);
        }
        let next = match self.way(place, &more) {
            WalkStep::Deeper(cursor) => {
                let standing_still = self.advance(place, cursor, last, deeper, news);
                if standing_still { self.set_back(place, Setback::StandingStill) } else { Next::Idle }
            }
            WalkStep::Nowhere => self.set_back(place, Setback::NoProgress),
        };
        self.stream_if_too_long(id);
        if let Some(place) = self.coverage.walks.iter().position(|open| open.id == id) {
            self.put(place);
        }
        let next = if at_once && next == Next::Idle { Next::FollowWalk(id) } else { next };
        self.finish(next)
    }

    /// Rows of a gap are held by it; those of other walks are news like any at the head.
    fn place_rows(&mut self, id: WalkId, page: FeedPage, class: Class) {
        let walk = self.coverage.walks.iter().find(|open| open.id == id);
        let gap = walk.is_some_and(|walk| matches!(walk.kind, WalkKind::Gap { .. }));
        let holds = walk.is_some_and(Walk::holds) && !self.rules.breaks(Broken::Hold);
        if gap {
            let loose = self.store(page, |_, _| holds.then_some(id));
            self.release(loose, class);
        } else {
            let loose = self.store_in_place(page);
            self.release(loose, Class::Live);
        }
    }

    /// The walk arrived. Closing one that vouches for the whole lookback completes a sweep.
    pub(super) fn close(&mut self, place: usize, class: Class) {
        let vouched = self.coverage.walks[place].deepest_floor() <= self.sweep_floor();
        let walk = self.coverage.walks.remove(place);
        if walk.holds() {
            self.release_held(walk.id, class);
        }
        self.ops.push(StoreOp::RemoveWalk(walk.id));
        self.memory.drop_walk(walk.id);
        if vouched {
            self.complete_sweep(walk.opened_at);
        }
    }

    fn go_on_as_sweep(&mut self, place: usize, class: Class) {
        let walk = &mut self.coverage.walks[place];
        let (id, held) = (walk.id, walk.holds());
        walk.floor = walk.deepest_floor();
        walk.kind = WalkKind::Sweep;
        if held {
            self.release_held(id, class);
        }
    }

    /// Where the page leads: on, or back to where this pass has been.
    fn way(&mut self, place: usize, more: &More) -> WalkStep {
        let id = self.coverage.walks[place].id;
        match more {
            More::Cursor(cursor) if !self.memory.walk(id).seen.contains(cursor) => WalkStep::Deeper(cursor.clone()),
            _ => WalkStep::Nowhere,
        }
    }

    /// Moves on to `cursor`. Returns whether the walk has been standing still for too long.
    fn advance(&mut self, place: usize, cursor: Cursor, last: Option<UnixMs>, deeper: bool, news: bool) -> bool {
        let walk = &mut self.coverage.walks[place];
        let memory = self.memory.walk(walk.id);
        memory.seen.insert(cursor.clone());
        if let Some(left) = walk.cursor.replace(cursor) {
            walk.trail.push(left);
            let spare = walk.trail.len().saturating_sub(Walk::TRAIL);
            walk.trail.drain(..spare);
        }
        let older = last.is_some_and(|last| memory.lowest.is_none_or(|lowest| last < lowest));
        memory.idle_pages = if older || news { 0 } else { memory.idle_pages + 1 };
        memory.lowest = match (memory.lowest, last) {
            (Some(lowest), Some(last)) => Some(lowest.min(last)),
            (lowest, last) => lowest.or(last),
        };
        if let Some(last) = last {
            walk.lowest = walk.lowest.min(last);
        }
        if deeper {
            walk.progress = WalkProgress::default();
        }
        let standing_still = memory.idle_pages >= self.rules.idle_pages;
        if standing_still {
            memory.idle_pages = 0;
        }
        standing_still
    }

    fn stream_if_too_long(&mut self, id: WalkId) {
        if self.memory.walk(id).held > self.rules.hold_limit {
            self.stream(id);
        }
    }

    /// Hands on what a gap holds, oldest first; from here on its rows are handed on as they are read.
    pub(super) fn stream(&mut self, id: WalkId) {
        let Some(walk) = self.coverage.walks.iter_mut().find(|open| open.id == id && open.holds()) else { return };
        if let WalkKind::Gap { streaming, .. } = &mut walk.kind {
            *streaming = true;
        }
        self.release_held(id, Class::Backfill);
    }
}
