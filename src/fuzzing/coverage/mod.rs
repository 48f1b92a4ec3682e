//! Fuzzes coverage, with any sequence of pages, refusals, failures, kills and waits.
//!
//! On a feed that lies, only the invariants must hold (see [`Coverage`](crate::domain::Coverage)): numbers are used
//! once, marks only rise, an open gap holds each held row, and nothing is released twice. On an honest feed, whatever
//! its troubles, every message must arrive in the end, and none that was there before the first run.

mod feed;
mod store;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::bytes::Bytes;
use crate::domain::{Cursor, More, Row, Start, UnixMs, Walk, WalkId};
use crate::ingest::coverage::{CoverageState, FeedPage, Next, Now, Rules, Setback, Step};
use feed::{Answer, Asker, Feed};
use store::Store;

const LOOKBACK: u16 = 30;
const SWEEP: u64 = 8;
const CLOCKS_APART: Duration = Duration::from_millis(150);

/// The most steps of an input; longer inputs show nothing new.
const STEPS: usize = 600;

/// Runs the steps of the input, then a while without trouble, and checks the result.
pub fn coverage(bytes: &[u8]) {
    let bytes = &mut Bytes::new(bytes);
    let mut feed = Feed::new(bytes);
    let mut relay = Relay::new(bytes);
    relay.may_repeat = feed.lies;
    for _ in 0..bytes.below(30) {
        feed.now = 1000 - i64::from(bytes.byte());
        feed.add(feed.now, true);
    }
    feed.now = 1000;
    for ahead in 0..bytes.below(16) {
        feed.add(feed.now + 100_000 + i64::from(ahead), true);
    }
    for _ in 0..STEPS {
        if bytes.is_empty() {
            break;
        }
        step(bytes, &mut feed, &mut relay);
    }
    if feed.lies {
        return;
    }
    feed.calm = true;
    for _ in 0..u64::from(LOOKBACK) + 6 * SWEEP {
        feed.now += 1;
        relay.head_poll(&mut feed, bytes, false);
        for _ in 0..3 {
            relay.background(&mut feed, bytes, false);
        }
    }
    relay.finish_walks(&mut feed, bytes);
    // The sweep that ended just now was opened long ago. Rows that came late since then are for the next sweep.
    for _ in 0..3 * SWEEP {
        feed.now += 1;
        relay.head_poll(&mut feed, bytes, false);
        relay.finish_walks(&mut feed, bytes);
    }
    relay.judge(&feed);
}

fn step(bytes: &mut Bytes<'_>, feed: &mut Feed, relay: &mut Relay) {
    match bytes.below(16) {
        0 => (0..bytes.below(12)).for_each(|_| feed.add(feed.now, true)),
        1 => {
            let late = i64::from(bytes.below(LOOKBACK));
            feed.add(feed.now - late, !bytes.chance(16));
        }
        2 => feed.add(feed.now + bytes.pick(&[1, 5, 50, 100_000]), true),
        3 => feed.vanish(usize::from(bytes.below(9))),
        4 => feed.now += i64::from(bytes.below(64)),
        5 => relay.crash(),
        6 => relay.forget(feed),
        7..=10 => {
            feed.now += 1;
            let killed = bytes.chance(8);
            relay.head_poll(feed, bytes, killed);
        }
        _ => {
            let killed = bytes.chance(8);
            relay.background(feed, bytes, killed);
        }
    }
}

struct Relay {
    rules: Rules,
    /// How far the server's clock is off.
    skew: i64,
    store: Store,
    state: CoverageState,
    turn: u64,
    waits: HashMap<WalkId, i64>,
    /// The latest time that any believable clock has shown.
    latest: UnixMs,
    released: HashSet<String>,
    /// True if a forgotten row may come again with another time.
    may_repeat: bool,
    /// The watermark after the first page.
    begun_at: Option<UnixMs>,
    /// The tick of the first page.
    begun_tick: i64,
    /// The newest `ingestedAt` of the first page.
    start_instant: UnixMs,
    /// The ids that were there before the first run.
    before: HashSet<String>,
}

impl Relay {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let ticks = Duration::from_millis;
        let start = bytes.pick(&[Start::Now, Start::Beginning, Start::Back(ticks(60)), Start::At(UnixMs(900))]);
        // The server's clock, which stamps the rows too, decides what was there before.
        let skew = if start == Start::Now { 0 } else { bytes.pick(&[0, -3, 3, -100, 100]) };
        let rules = Rules {
            margin: ticks(5),
            clocks_apart: CLOCKS_APART,
            remember_ids: ticks(200),
            keep_newest: 3,
            hold_limit: bytes.pick(&[10_000, 8, 25]),
            idle_pages: 30,
            patience: ticks(100),
            ..Rules::new(start, ticks(u64::from(LOOKBACK)), ticks(SWEEP))
        };
        Self {
            rules,
            skew,
            store: Store::default(),
            state: CoverageState::default(),
            turn: 0,
            waits: HashMap::new(),
            latest: UnixMs::MIN,
            released: HashSet::new(),
            may_repeat: false,
            begun_at: None,
            begun_tick: i64::MIN,
            start_instant: UnixMs::MIN,
            before: HashSet::new(),
        }
    }

    /// Loses everything in memory.
    fn crash(&mut self) {
        self.state = CoverageState::load(self.store.coverage(), self.store.held());
        self.waits.clear();
    }

    fn now(&mut self, feed: &Feed) -> Now {
        let now = Now { server: UnixMs(feed.now + self.skew), local: UnixMs(feed.now) };
        let believed = if feed.lies { now.server.after(CLOCKS_APART) } else { now.server.max(now.local) };
        self.latest = self.latest.max(believed);
        now
    }

    fn head_poll(&mut self, feed: &mut Feed, bytes: &mut Bytes<'_>, killed: bool) {
        let now = self.now(feed);
        let mut cursor = self.state.head_cursor(&self.rules, now);
        for _ in 0..100 {
            let (rows, more) = match feed.ask(bytes, Asker::Head, cursor.as_ref()) {
                Answer::Page(rows, more) => (rows, more),
                Answer::Refused => return self.state.head_refused(),
                Answer::Failed => return,
            };
            if killed {
                return self.crash();
            }
            let asked = self.state.memory.asked_in_vain().unwrap_or(UnixMs::MAX);
            let page = self.page(rows, more);
            let nothing_unknown = page.is_known() && *page.more() != More::Lost;
            let times: Vec<UnixMs> = page.times().collect();
            let before = self.reached();
            let step = self.state.head_page(&self.rules, page, now);
            if nothing_unknown && matches!(step.next, Next::FollowWalk(_)) {
                // Otherwise a list in which nothing comes any more would have another gap at every poll.
                let passed = |time: &UnixMs| before < *time && *time <= self.reached();
                assert!(times.iter().any(passed), "a gap for a page of known rows, and the frontier passed none");
            }
            if let (None, Some(coverage)) = (self.begun_at, &self.state.coverage) {
                self.begun_at = Some(coverage.marks.watermark);
                self.start_instant = coverage.marks.start_instant;
                self.begun_tick = feed.now;
                let there = feed.entries.iter().filter(|entry| !feed.has_ingested || UnixMs(entry.ingested) <= asked);
                self.before = there.map(feed::Entry::id).collect();
            }
            match self.carry_out(step, now) {
                Next::Follow(next) => cursor = Some(next),
                Next::FollowWalk(walk) => return self.follow(feed, bytes, walk),
                Next::Idle | Next::AskAgain | Next::Wait(..) => return,
            }
        }
        panic!("a head poll never ends");
    }

    /// The time down to which a gap would read.
    fn reached(&self) -> UnixMs {
        self.state.coverage.as_ref().map_or(UnixMs::MIN, |coverage| coverage.marks.gap_floor())
    }

    fn follow(&mut self, feed: &mut Feed, bytes: &mut Bytes<'_>, walk: WalkId) {
        for _ in 0..self.rules.head_pages {
            let Some(open) = self.state.walks().find(|open| open.id == walk) else { return };
            let cursor = open.cursor.clone();
            if self.request(feed, bytes, walk, cursor.as_ref(), true) != Next::FollowWalk(walk) {
                return;
            }
        }
    }

    /// The most requests that can pass before the last open walk ends, on a list without trouble that does not change.
    ///
    /// Rows and clock stand still, so a cursor that is given out from now on works, and leads to rows that come later
    /// in the list. A walk that has such a cursor never fails again: it reads at most the whole list, and every walk
    /// closes at the end of the list. Before that, the walk has only its older cursors: its own and those of its trail.
    /// Their answers do not change either. After two refusals or three empty answers the walk goes on to the cursor
    /// before, and at last to the head. That the list is empty is believed after at most six answers.
    fn requests_left(&self, feed: &Feed) -> usize {
        let old_cursors = (1 + Walk::TRAIL) * 3;
        let each = old_cursors + feed.pages().max(6);
        self.state.walks().count() * each
    }

    fn finish_walks(&mut self, feed: &mut Feed, bytes: &mut Bytes<'_>) {
        let most = self.requests_left(feed);
        let idle = (0..=most).any(|_| !self.background(feed, bytes, false));
        assert!(idle, "a walk never ends: more than {most} requests");
    }

    /// Makes one background request; returns whether there was anything to do.
    fn background(&mut self, feed: &mut Feed, bytes: &mut Bytes<'_>, killed: bool) -> bool {
        self.turn += 1;
        let ready = |walk: WalkId| feed.calm || self.waits.get(&walk).is_none_or(|until| *until <= feed.now);
        let Some(walk) = self.state.background_walk(self.turn, ready) else { return false };
        let (id, cursor) = (walk.id, walk.cursor.clone());
        if killed {
            self.crash();
        } else {
            self.request(feed, bytes, id, cursor.as_ref(), false);
        }
        true
    }

    fn request(
        &mut self,
        feed: &mut Feed,
        bytes: &mut Bytes<'_>,
        walk: WalkId,
        cursor: Option<&Cursor>,
        at_once: bool,
    ) -> Next {
        let now = self.now(feed);
        let step = match feed.ask(bytes, Asker::Walk(walk), cursor) {
            Answer::Page(rows, more) => {
                let page = self.page(rows, more);
                self.state.walk_page(&self.rules, walk, page, at_once, now)
            }
            Answer::Refused => self.state.walk_setback(&self.rules, walk, Setback::Refused, now),
            Answer::Failed => self.state.walk_setback(&self.rules, walk, Setback::Unreadable, now),
        };
        let next = self.carry_out(step, now);
        if let Next::Wait(walk, failures) = next {
            assert!(failures > 0, "a wait for nothing");
            self.waits.insert(walk, feed.now + i64::from(failures.min(8)));
        }
        next
    }

    fn page(&self, rows: Vec<Row>, more: More) -> FeedPage {
        let known = self.store.known(&rows);
        FeedPage::new(rows, known, more)
    }

    fn forget(&mut self, feed: &Feed) {
        let now = self.now(feed);
        let step = self.state.raise_watermark(&self.rules, now);
        self.carry_out(step, now);
        self.store.forget(UnixMs(feed.now - 3), 3);
    }

    fn carry_out(&mut self, step: Step, now: Now) -> Next {
        for id in self.store.commit(&step.ops, now.local) {
            assert!(self.released.insert(id.clone()) || self.may_repeat, "{id} was released twice");
        }
        assert_eq!(self.store.coverage(), self.state.coverage, "memory and disk disagree");
        if let Some(coverage) = &self.state.coverage {
            assert!(coverage.marks.frontier <= self.latest, "the frontier passed the server's now");
        }
        step.next
    }

    /// Checks that every wanted message arrived, and no other.
    fn judge(&self, feed: &Feed) {
        let begun_at = self.begun_at.expect("it never began");
        // A first run that starts at a time reads down to that time, which in an unsorted list is not where it seems to
        // be.
        let timed = matches!(self.rules.start, Start::Back(_) | Start::At(_));
        // Coverage tells by most rows how far clocks are apart, and here most rows may have wrong dates.
        let misled = self.skew.abs() > 3 && feed.has_rows_ahead();
        for entry in &feed.entries {
            let released = self.released.contains(&entry.id());
            let wanted = match self.rules.start {
                Start::Now => !self.before.contains(&entry.id()),
                Start::Beginning => true,
                Start::Back(_) | Start::At(_) => entry.time >= begun_at.0,
            };
            let there = !entry.gone && entry.readable;
            let unsure = timed && entry.ingested <= self.begun_tick && feed.is_out_of_order(entry);
            assert!(released || !wanted || !there || unsure || misled, "lost: {} of {}", entry.id(), entry.time);
            // A first run that starts now tells by `ingestedAt` which rows were there. A row that came late, between
            // the newest row of the first page and that page, is repeated rather than lost. So is every row without
            // `ingestedAt`, and a row that is dated ahead and lies deeper in the list than the first run had to read.
            let told =
                feed.has_ingested && UnixMs(entry.ingested) <= self.start_instant && !feed.is_out_of_order(entry);
            assert!(!released || wanted || !told, "old: {} of {}", entry.id(), entry.time);
        }
    }
}
