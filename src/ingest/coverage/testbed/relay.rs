//! The relay under test: the rules of coverage, a minimal loop, and the invariants that hold after each step.

use std::collections::HashMap;

use super::choices::Choices;
use super::feed::{Answer, Asker, Feed};
use super::list::{Entry, List};
use crate::domain::{Coverage, Cursor, More, PollChange, Row, Seq, UnixMs, WalkId, WalkKind};
use crate::ingest::coverage::{CoverageState, FeedPage, NextAction, Now, Rules, Setback, Step};

/// The part of the relay that outlives the process.
pub trait Store {
    /// Returns, for each row, the sequence number under which it is stored; `None` if it is not stored.
    fn known(&mut self, rows: &[Row]) -> Vec<Option<Seq>>;

    /// Carries out one transaction. Returns the ids of the messages that the transaction releases: a list for each
    /// queue of the sink, in the order of delivery.
    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Vec<Vec<String>>;

    /// The stored coverage.
    fn coverage(&mut self) -> Option<Coverage>;

    /// How many rows a gap holds.
    fn held(&mut self, walk: WalkId) -> u64;

    /// Lets the process die. Afterwards the store is as the next process finds it.
    fn restart<C: Choices>(&mut self, choices: &mut C);

    /// Removes the texts of messages that were delivered before `delivered_before`. Then forgets the ids below the
    /// watermark, except the `keep_newest` newest ids.
    fn forget(&mut self, delivered_before: UnixMs, watermark: UnixMs, keep_newest: u32);
}

/// Facts about the first page, and about the list at the moment when this page came.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The watermark that the first page set.
    pub watermark: UnixMs,
    /// The start instant (`S0`) that the first page set: rows ingested up to then were in the list before the first
    /// run.
    pub start_instant: UnixMs,
    /// The tick of the first page.
    pub tick: i64,
    /// How many messages had appeared in the list when the first page came.
    pub messages: usize,
    /// The time of the first empty answer before the first page; [`UnixMs::MAX`] if there was none. A message that came
    /// after this time was not in the list before the relay began.
    pub first_asked: UnixMs,
}

impl Beginning {
    /// Whether `entry`, the message at the index `place` of [`List::entries`], was in the list before the relay began.
    pub fn found(&self, place: usize, entry: &Entry, list: &List) -> bool {
        place < self.messages && (!list.has_ingested || UnixMs(entry.ingested) <= self.first_asked)
    }
}

/// The messages that one transaction released to the sinks.
#[derive(Debug)]
pub struct Release {
    /// The ids of the messages: a list for each queue of the sink, in the order of delivery.
    pub queues: Vec<Vec<String>>,
    /// The walk whose page caused the release.
    pub by: Option<WalkId>,
    /// The gaps that are open after the transaction, each with its floor.
    pub open_gaps: Vec<(WalkId, UnixMs)>,
}

/// A relay with a store of its own.
pub struct Relay<S> {
    rules: Rules,
    /// Whether the invariants must hold. They need not hold if a test has left out a safeguard.
    is_sound: bool,
    store: S,
    state: CoverageState,
    background_requests: u64,
    /// For each walk that failed: the tick before which it is not read.
    waits: HashMap<WalkId, i64>,
    /// Coverage as it is stored.
    stored: Option<Coverage>,
    beginning: Option<Beginning>,
    releases: Vec<Release>,
}

impl<S: Store> Relay<S> {
    /// A relay that has never run.
    pub fn new(rules: Rules, is_sound: bool, store: S) -> Self {
        Self {
            rules,
            is_sound,
            store,
            state: CoverageState::default(),
            background_requests: 0,
            waits: HashMap::new(),
            stored: None,
            beginning: None,
            releases: Vec::new(),
        }
    }

    /// Returns the facts about the first page; `None` before this page was read.
    pub fn beginning(&self) -> Option<Beginning> {
        self.beginning
    }

    /// How many walks are open.
    pub fn open_walks(&self) -> usize {
        self.state.walks().count()
    }

    /// The releases since the last call, oldest first.
    pub fn take_releases(&mut self) -> Vec<Release> {
        std::mem::take(&mut self.releases)
    }

    /// Makes the process die and start again: all memory is lost.
    pub fn crash<C: Choices>(&mut self, choices: &mut C) {
        self.store.restart(choices);
        let coverage = self.store.coverage();
        let walks = coverage.iter().flat_map(|coverage| &coverage.walks);
        let held = walks.map(|walk| (walk.id, self.store.held(walk.id))).collect();
        self.state = CoverageState::load(coverage, held);
        self.waits.clear();
    }

    /// Makes one head poll, with the pages that have to be read directly after the first one. If `crashes` is true, the
    /// process dies after the first answer and before it is stored.
    pub fn head_poll<F: Feed, C: Choices>(&mut self, feed: &mut F, choices: &mut C, crashes: bool) {
        let now = feed.now();
        let first_asked = self.state.memory.first_empty_poll_at().unwrap_or(UnixMs::MAX);
        let mut cursor = self.state.head_cursor(&self.rules, now);
        for _ in 0..100 {
            let (rows, more) = match feed.ask(choices, Asker::Head, cursor.as_ref()) {
                Answer::Page(rows, more) => (rows, more),
                Answer::Refused => return self.state.head_refused(),
                Answer::Failed => return,
            };
            if crashes {
                return self.crash(choices);
            }
            let step = self.head_page(rows, more, now);
            if let (None, Some(coverage)) = (self.beginning, &self.state.coverage) {
                let (tick, messages) = (now.local.0, feed.messages());
                let (watermark, start_instant) = (coverage.marks.watermark, coverage.marks.start_instant);
                self.beginning = Some(Beginning { watermark, start_instant, tick, messages, first_asked });
            }
            match self.carry_out(feed, step, None) {
                NextAction::Follow(next) => cursor = Some(next),
                NextAction::FollowWalk(walk) => return self.follow(feed, choices, walk),
                NextAction::Idle | NextAction::AskAgain | NextAction::Wait(..) => return,
            }
        }
        panic!("a head poll never ends");
    }

    fn head_page(&mut self, rows: Vec<Row>, more: More, now: Now) -> Step {
        let page = self.page(rows, more);
        let nothing_unknown = page.is_known() && *page.more() != More::Lost;
        let times: Vec<UnixMs> = page.times().collect();
        let before = self.gap_floor();
        let step = self.state.head_page(&self.rules, page, now);
        if nothing_unknown && matches!(step.next, NextAction::FollowWalk(_)) && self.is_sound {
            // A page of known rows may open a gap only if the floor of gaps rises past one of these rows. Otherwise
            // every poll of a list without new rows would open another gap.
            let passed = |time: &UnixMs| before < *time && *time <= self.gap_floor();
            assert!(times.iter().any(passed), "a page of known rows opened a gap, and the floor passed no row");
        }
        step
    }

    /// The floor of a gap that is opened now.
    fn gap_floor(&self) -> UnixMs {
        self.state.coverage.as_ref().map_or(UnixMs::MIN, |coverage| coverage.marks.gap_floor())
    }

    fn follow<F: Feed, C: Choices>(&mut self, feed: &mut F, choices: &mut C, walk: WalkId) {
        for _ in 0..self.rules.head_pages {
            let Some(open) = self.state.walks().find(|open| open.id == walk) else { return };
            let cursor = open.cursor.clone();
            if self.read_walk(feed, choices, walk, cursor.as_ref(), true) != NextAction::FollowWalk(walk) {
                return;
            }
        }
    }

    /// Makes one background request. Returns `false` if no walk was ready. If `crashes` is true, the process dies
    /// instead of making the request.
    pub fn background<F: Feed, C: Choices>(&mut self, feed: &mut F, choices: &mut C, crashes: bool) -> bool {
        self.background_requests += 1;
        let tick = feed.now().local.0;
        let ready = |walk: WalkId| feed.is_calm() || self.waits.get(&walk).is_none_or(|until| *until <= tick);
        let Some(walk) = self.state.background_walk(self.background_requests, ready) else { return false };
        let (id, cursor) = (walk.id, walk.cursor.clone());
        if crashes {
            self.crash(choices);
        } else {
            self.read_walk(feed, choices, id, cursor.as_ref(), false);
        }
        true
    }

    fn read_walk<F: Feed, C: Choices>(
        &mut self,
        feed: &mut F,
        choices: &mut C,
        walk: WalkId,
        cursor: Option<&Cursor>,
        at_once: bool,
    ) -> NextAction {
        let now = feed.now();
        let step = match feed.ask(choices, Asker::Walk(walk), cursor) {
            Answer::Page(rows, more) => {
                let page = self.page(rows, more);
                self.state.walk_page(&self.rules, walk, page, at_once, now)
            }
            Answer::Refused => self.state.walk_setback(&self.rules, walk, Setback::Refused, now),
            Answer::Failed => self.state.walk_setback(&self.rules, walk, Setback::Unreadable, now),
        };
        let next = self.carry_out(feed, step, Some(walk));
        if let NextAction::Wait(walk, failures) = next {
            assert!(failures > 0, "a wait without a failure");
            self.waits.insert(walk, now.local.0 + i64::from(failures.min(8)));
        }
        next
    }

    fn page(&mut self, rows: Vec<Row>, more: More) -> FeedPage {
        let known = self.store.known(&rows);
        FeedPage::new(rows, known, more)
    }

    /// Raises the watermark, then removes the texts of messages that were delivered more than three ticks ago, and
    /// forgets old ids.
    pub fn forget<F: Feed>(&mut self, feed: &F) {
        let now = feed.now();
        let step = self.state.raise_watermark(&self.rules, now);
        self.carry_out(feed, step, None);
        if let Some(coverage) = &self.state.coverage {
            self.store.forget(UnixMs(now.local.0 - 3), coverage.marks.watermark, self.rules.keep_newest);
        }
    }

    fn carry_out<F: Feed>(&mut self, feed: &F, step: Step, by: Option<WalkId>) -> NextAction {
        if !step.changes.is_empty() {
            let queues = self.store.commit(&step.changes, feed.now().local);
            let before = std::mem::replace(&mut self.stored, self.store.coverage());
            if let (true, Some(coverage)) = (self.is_sound, &self.stored) {
                assert_invariants(before.as_ref(), coverage, feed.frontier_limit());
            }
            let gaps = self.state.walks().filter(|walk| matches!(walk.kind, WalkKind::Gap { .. }));
            let open_gaps = gaps.map(|walk| (walk.id, walk.floor)).collect();
            self.releases.push(Release { queues, by, open_gaps });
        }
        assert_eq!(self.stored, self.state.coverage, "memory and disk disagree");
        step.next
    }
}

/// Checks that marks only rise, that the frontier does not pass its limit, and that the watermark does not pass the
/// floor of an open walk.
fn assert_invariants(before: Option<&Coverage>, coverage: &Coverage, frontier_limit: UnixMs) {
    let marks = &coverage.marks;
    assert!(marks.frontier <= frontier_limit, "the frontier passed its limit");
    if let Some(Coverage { marks: before, .. }) = before {
        assert!(marks.frontier >= before.frontier, "the frontier went back");
        assert!(marks.watermark >= before.watermark, "the watermark went back");
        assert!(marks.anchor >= before.anchor, "the anchor went back");
        assert_eq!(marks.start_instant, before.start_instant, "the start instant has changed");
        assert!(
            marks.next_seq >= before.next_seq && marks.next_walk >= before.next_walk,
            "the next `seq` or the next id of a walk went back"
        );
    }
    for walk in &coverage.walks {
        assert!(walk.id < marks.next_walk, "an open walk already has the next id");
        assert!(
            marks.watermark <= walk.floor.min(walk.deepest_floor()),
            "the watermark passed the floor of an open walk"
        );
    }
}
