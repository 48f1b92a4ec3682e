//! A world and its feed. A world is one way in which the API may behave, with its troubles.

use crate::domain::{Cursor, More, Start, UnixMs};
use crate::ingest::coverage::Now;
use crate::ingest::coverage::testbed::{Answer, Asker, Choices, CursorKind, Feed, LOOKBACK, List, Sort, Tie};

/// One world. Each `f64` is the chance that something happens at a request, at a row, or in a tick.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    pub(super) tie: Tie,
    pub(super) cursors: CursorKind,
    /// A request with a cursor is refused.
    pub(super) refuse: f64,
    /// A request with a cursor gets an empty page, and the page says that nothing follows.
    pub(super) empty: f64,
    /// The first page is empty.
    pub(super) empty_head: f64,
    /// A request with a cursor gets an empty page that has the cursor of the next page.
    pub(super) hollow: f64,
    pub(super) unreadable_page: f64,
    /// A page says that more follows, but has no cursor.
    pub(super) lost_cursor: f64,
    /// A page gives out the cursor with which it was requested.
    pub(super) same_cursor: f64,
    /// Whether, in every second period of 60 ticks, some pages are empty and have no cursor, so that walks cannot pass
    /// them.
    pub(super) blocked: bool,
    pub(super) unreadable_row: f64,
    /// A row is not valid JSON when it appears, and becomes valid some ticks later.
    pub(super) spoiled_row: f64,
    pub(super) no_ingested: bool,
    /// The number of messages dated far ahead that were in the list before the relay began.
    pub(super) ahead_before: usize,
    /// The least number of messages in the list before the relay began. (A random number is added.)
    pub(super) before: usize,
    /// Whether all messages of five successive ticks get the same time of receipt.
    pub(super) ties: bool,
    /// A message comes late, and appears below newer messages.
    pub(super) late: f64,
    /// A message is dated ahead.
    pub(super) ahead: f64,
    /// More than a page of messages dated ahead appears at once.
    pub(super) ahead_at_once: f64,
    /// The newest messages disappear.
    pub(super) vanish: f64,
    /// The process dies.
    pub(super) crash: f64,
    /// Whether the process is down a third of the time.
    pub(super) down: bool,
    /// The most background requests of a tick.
    pub(super) background: u64,
    /// Background requests are made only in one of this many ticks, on average.
    pub(super) starve: u64,
    /// Whether old ids are forgotten.
    pub(super) forget: bool,
    /// How far the API's clock is ahead of the rows' clock.
    pub(super) skew: i64,
    /// A tick, and how far the API's clock is ahead of the rows' clock from then on.
    pub(super) jump: Option<(i64, i64)>,
    pub(super) start: Start,
    pub(super) hold_limit: u64,
}

impl World {
    fn skew_at(&self, tick: i64) -> i64 {
        self.jump.filter(|(from, _)| *from <= tick).map_or(self.skew, |(_, skew)| skew)
    }

    /// Whether messages appear in the order of their times, and no gap is so long that it streams.
    pub(super) fn is_punctual(&self) -> bool {
        self.sort == Sort::Received && self.late == 0.0 && self.hold_limit > 1000
    }
}

/// The feed of a world.
pub(super) struct WorldFeed {
    pub(super) world: World,
    pub(super) list: List,
    /// Whether the feed has no more troubles, at the end of a run.
    pub(super) calm: bool,
}

impl WorldFeed {
    pub(super) fn new(world: World) -> Self {
        let list = List::new(world.sort, world.tie, world.cursors, !world.no_ingested);
        Self { world, list, calm: false }
    }

    /// Adds a message of this time, with a random number.
    pub(super) fn add(&mut self, choices: &mut impl Choices, time: i64) {
        let mut number = choices.between(0, 1_000_000_000);
        while self.list.has(number) {
            number = choices.between(0, 1_000_000_000);
        }
        let readable = !choices.chance(self.world.unreadable_row);
        let spoiled = choices.chance(self.world.spoiled_row);
        // A spoiled row must become valid within the lookback. Otherwise it would be lost, like any row that comes
        // later than the lookback allows.
        let latest = time.min(self.list.now) + i64::from(LOOKBACK) - 1;
        let spoiled_until = if spoiled { latest.min(self.list.now + choices.between(1, 15)) } else { 0 };
        self.list.add(number, time, readable, spoiled_until);
    }
}

impl Feed for WorldFeed {
    fn now(&self) -> Now {
        let tick = self.list.now;
        Now { server: UnixMs(tick + self.world.skew_at(tick)), local: UnixMs(tick) }
    }

    fn frontier_limit(&self) -> UnixMs {
        let now = self.now();
        now.server.max(now.local)
    }

    fn is_calm(&self) -> bool {
        self.calm
    }

    fn messages(&self) -> usize {
        self.list.entries.len()
    }

    fn ask<C: Choices>(&mut self, choices: &mut C, _: Asker, cursor: Option<&Cursor>) -> Answer {
        let (world, list) = (&self.world, &self.list);
        let happens = |choices: &mut C, chance: f64| !self.calm && choices.chance(chance);
        if happens(choices, world.unreadable_page) {
            return Answer::Failed;
        }
        if let Some(cursor) = cursor {
            if let Some(answer) = list.answer_to_dead_cursor(cursor) {
                return answer;
            }
            if happens(choices, world.refuse) {
                return Answer::Refused;
            }
            if happens(choices, world.empty) {
                return Answer::Page(Vec::new(), More::End);
            }
            if world.blocked && !self.calm && (list.now / 60) % 2 == 0 && List::place_of(cursor) % 7 == 0 {
                return Answer::Page(Vec::new(), More::Lost);
            }
        } else if happens(choices, world.empty_head) {
            return Answer::Page(Vec::new(), More::End);
        }
        let (rows, next) = list.page(cursor);
        let more = match next {
            None => More::End,
            Some(_) if happens(choices, world.lost_cursor) => More::Lost,
            Some(next) => match cursor {
                Some(same) if happens(choices, world.same_cursor) => More::Cursor(same.clone()),
                _ => More::Cursor(next),
            },
        };
        let leads_on = cursor.is_some() && matches!(more, More::Cursor(_));
        if leads_on && happens(choices, world.hollow) {
            return Answer::Page(Vec::new(), more);
        }
        Answer::Page(rows, more)
    }
}
