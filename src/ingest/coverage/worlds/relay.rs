//! The relay under test: the rules, the store, and a loop as thin as can be. One sink takes everything at once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::feed::{Answer, Entry, Feed, World};
use super::random::Random;
use super::{Begin, LOOKBACK, MARGIN, SWEEP};
use crate::domain::{Class, Coverage, Cursor, More, Outcome, Row, Seq, Start, UnixMs, Walk, WalkId, WalkKind};
use crate::ingest::coverage::rules::Broken;
use crate::ingest::coverage::{CoverageState, FeedPage, Next, Now, Rules, Setback, Step};
use crate::store::{Chunk, Cutoffs, Place, Settlement, SinkId, SinkSetup, Spool};

pub(super) struct Relay {
    rules: Rules,
    dir: tempfile::TempDir,
    spool: Option<Spool>,
    sink: SinkId,
    state: CoverageState,
    turn: u64,
    /// Ticks before which a walk in trouble is left alone.
    waits: HashMap<WalkId, i64>,
    last: Option<Coverage>,
    pub(super) begun_at: UnixMs,
    pub(super) released: HashSet<String>,
    pub(super) doubled: usize,
    /// Rows that were overtaken although no other gap had to be waited for.
    pub(super) overtaken: usize,
    pub(super) disordered: usize,
    begun_tick: i64,
}

impl Relay {
    pub(super) fn new(world: &World, broken: Option<Broken>) -> Self {
        let ticks = Duration::from_millis;
        let start = match world.start {
            Begin::Now => Start::Now,
            Begin::Beginning => Start::Beginning,
            Begin::Back(span) => Start::Back(ticks(span)),
            Begin::At(tick) => Start::At(UnixMs(tick)),
        };
        let rules = Rules {
            margin: ticks(MARGIN),
            clocks_apart: ticks(150),
            remember_ids: ticks(200),
            keep_newest: 3,
            hold_limit: world.hold_limit,
            idle_pages: 30,
            patience: ticks(100),
            broken,
            ..Rules::new(start, ticks(LOOKBACK), ticks(SWEEP))
        };
        let dir = scratch();
        let mut spool = Spool::open(dir.path()).unwrap();
        let sink = spool.register_sinks(&[SinkSetup::new("all")], UnixMs::MAX, UnixMs(0)).unwrap()[0].id;
        Self {
            rules,
            dir,
            spool: Some(spool),
            sink,
            state: CoverageState::default(),
            turn: 0,
            waits: HashMap::new(),
            last: None,
            begun_at: UnixMs::MIN,
            released: HashSet::new(),
            doubled: 0,
            overtaken: 0,
            disordered: 0,
            begun_tick: i64::MAX,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state.coverage.is_some()
    }

    /// When it first asked, if the list was empty and it has not begun; nothing that came later was there before.
    pub(super) fn asked_in_vain(&self) -> Option<UnixMs> {
        self.state.memory.asked_in_vain()
    }

    /// Down to where a gap would read.
    fn reached(&self) -> UnixMs {
        self.state.coverage.as_ref().map_or(UnixMs::MIN, |coverage| coverage.marks.gap_floor())
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    /// All memory is lost; now and then the file is closed and opened as well.
    pub(super) fn crash(&mut self, random: &mut Random) {
        if random.chance(0.1) {
            drop(self.spool.take());
            let mut spool = Spool::open(self.dir.path()).unwrap();
            spool.register_sinks(&[SinkSetup::new("all")], UnixMs::MAX, UnixMs(0)).unwrap();
            self.spool = Some(spool);
        }
        self.spool().mend_holds().unwrap();
        let coverage = self.spool().load_coverage().unwrap();
        let walks: Vec<WalkId> = coverage.iter().flat_map(|coverage| &coverage.walks).map(|walk| walk.id).collect();
        let held = walks.into_iter().map(|walk| (walk, self.spool().held(walk).unwrap())).collect();
        self.state = CoverageState::load(coverage, held);
        self.waits.clear();
    }

    fn now(&self, feed: &Feed) -> Now {
        Now { server: UnixMs(feed.now + feed.world.skew_at(feed.now)), local: UnixMs(feed.now) }
    }

    /// One head poll with the pages that follow at once. `crashes`: the process dies with an answer in its hands.
    pub(super) fn head_poll(&mut self, feed: &Feed, random: &mut Random, crashes: bool) {
        let now = self.now(feed);
        let mut cursor = self.state.head_cursor(&self.rules, now);
        for _ in 0..100 {
            let (rows, more) = match feed.ask(random, cursor.as_ref()) {
                Answer::Page(rows, more) => (rows, more),
                Answer::Refused => return self.state.head_refused(),
                Answer::Failed => return,
            };
            if crashes {
                return self.crash(random);
            }
            let page = self.page(rows, more);
            let begun = self.has_begun();
            let nothing_unknown = page.is_known() && *page.more() != More::Lost;
            let times: Vec<UnixMs> = page.times().collect();
            let before = self.reached();
            let step = self.state.head_page(&self.rules, page, now);
            if nothing_unknown && matches!(step.next, Next::FollowWalk(_)) && self.rules.broken.is_none() {
                // Or a list where nothing comes any more had another gap at every poll.
                let passed = |time: &UnixMs| before < *time && *time <= self.reached();
                assert!(times.iter().any(passed), "a gap for a page of known rows, and the frontier passed none");
            }
            if !begun && let Some(coverage) = &self.state.coverage {
                self.begun_at = coverage.marks.watermark;
                self.begun_tick = feed.now;
            }
            let next = self.carry_out(feed, step, now, None);
            match next {
                Next::Follow(next) => cursor = Some(next),
                Next::FollowWalk(walk) => return self.follow(feed, random, walk),
                Next::Idle | Next::AskAgain | Next::Wait(..) => return,
            }
        }
    }

    fn follow(&mut self, feed: &Feed, random: &mut Random, walk: WalkId) {
        for _ in 0..self.rules.head_pages {
            let cursor = match self.state.walks().find(|open| open.id == walk) {
                Some(walk) => walk.cursor.clone(),
                None => return,
            };
            if self.request(feed, random, walk, cursor.as_ref(), true) != Next::FollowWalk(walk) {
                return;
            }
        }
    }

    /// One background request; whether there was anything to do.
    pub(super) fn background(&mut self, feed: &Feed, random: &mut Random, crashes: bool) -> bool {
        self.turn += 1;
        let calm = feed.calm;
        let ready = |walk: WalkId| calm || self.waits.get(&walk).is_none_or(|until| *until <= feed.now);
        let Some(walk) = self.state.background_walk(self.turn, ready) else { return false };
        let (id, cursor) = (walk.id, walk.cursor.clone());
        if crashes {
            self.crash(random);
        } else {
            self.request(feed, random, id, cursor.as_ref(), false);
        }
        true
    }

    fn request(
        &mut self,
        feed: &Feed,
        random: &mut Random,
        walk: WalkId,
        cursor: Option<&Cursor>,
        at_once: bool,
    ) -> Next {
        let now = self.now(feed);
        let step = match feed.ask(random, cursor) {
            Answer::Page(rows, more) => {
                let page = self.page(rows, more);
                self.state.walk_page(&self.rules, walk, page, at_once, now)
            }
            Answer::Refused => self.state.walk_setback(&self.rules, walk, Setback::Refused, now),
            Answer::Failed => self.state.walk_setback(&self.rules, walk, Setback::Unreadable, now),
        };
        let next = self.carry_out(feed, step, now, Some(walk));
        if let Next::Wait(walk, failures) = next {
            self.waits.insert(walk, feed.now + i64::from(failures.min(8)));
        }
        next
    }

    fn page(&mut self, rows: Vec<Row>, more: More) -> FeedPage {
        let known = self.spool().known(rows.iter().map(|row| row.id.as_str())).unwrap();
        FeedPage::new(rows, known, more)
    }

    pub(super) fn forget(&mut self, feed: &Feed) {
        let now = self.now(feed);
        let step = self.state.raise_watermark(&self.rules, now);
        self.carry_out(feed, step, now, None);
        if let Some(coverage) = &self.state.coverage {
            let (watermark, keep) = (coverage.marks.watermark, self.rules.keep_newest);
            let cutoffs = Cutoffs { delivered: Some(UnixMs(feed.now - 3)), dead: None };
            self.spool().drop_settled(cutoffs, Seq(0)).unwrap();
            let mut place = Some(Place::START);
            while let Some(after) = place {
                place = self.spool().forget_ids(watermark, keep, after).unwrap().next;
            }
        }
    }

    fn carry_out(&mut self, feed: &Feed, step: Step, now: Now, by: Option<WalkId>) -> Next {
        self.spool().commit(&step.ops, now.local).unwrap();
        if !step.ops.is_empty() {
            self.check_state(now);
            self.deliver(feed, now, by);
        }
        step.next
    }

    /// The mirror in memory is what is on disk, marks only rise, and a row is held exactly as long as its gap.
    fn check_state(&mut self, now: Now) {
        let stored = self.spool().load_coverage().unwrap();
        assert_eq!(stored, self.state.coverage, "memory and disk disagree");
        let Some(coverage) = stored else { return };
        assert_eq!(self.spool().mend_holds().unwrap(), 0, "a row is held by a gap that is not open");
        if self.rules.broken.is_none() {
            let marks = coverage.marks;
            assert!(marks.frontier <= now.server.max(now.local), "the frontier passed the server's now");
            if let Some(Coverage { marks: before, .. }) = &self.last {
                assert!(marks.frontier >= before.frontier && marks.watermark >= before.watermark);
                assert!(marks.anchor >= before.anchor);
            }
            let floors = coverage.walks.iter().map(|walk| walk.floor.min(walk.deepest_floor()));
            assert!(floors.min().is_none_or(|floor| marks.watermark <= floor), "the watermark passed an open floor");
        }
        self.last = Some(coverage);
    }

    /// The sink takes all that waits. What one step released must come oldest first.
    fn deliver(&mut self, feed: &Feed, now: Now, by: Option<WalkId>) {
        let sink = self.sink;
        let mut newest = None;
        for class in [Class::Live, Class::Backfill] {
            let all = Chunk { rows: usize::MAX, bytes: usize::MAX, details: false };
            let claims = self.spool().claim_fresh(sink, class, all, |_| false).unwrap();
            let mut settled = Vec::new();
            let times = claims.iter().map(|claim| feed.time_of(&claim.id));
            // Rows dated ahead are in nobody's order until their time has come.
            newest = newest.max(times.clone().filter(|time| *time <= feed.now).max());
            self.disordered += usize::from(!times.is_sorted());
            for claim in &claims {
                assert_eq!(&*claim.raw, format!("{{\"id\":\"{}\"}}", claim.id), "the row changed on its way");
                self.doubled += usize::from(!self.released.insert(claim.id.clone()));
                settled.push(Settlement {
                    sink,
                    seq: claim.seq,
                    attempts: 1,
                    first_attempt: now.local,
                    outcome: Outcome::Delivered { status: None },
                    health: None,
                });
            }
            self.spool().settle(&settled, now.local).unwrap();
        }
        if let Some(newest) = newest {
            self.overtaken += feed.entries.iter().filter(|entry| self.is_overtaken(entry, newest, feed, by)).count();
        }
    }

    /// Whether an older row that the feed shows still waits, though it lies in no gap but the one that just released.
    fn is_overtaken(&self, entry: &Entry, newest: i64, feed: &Feed, by: Option<WalkId>) -> bool {
        let wanted = match self.rules.start {
            Start::Now => entry.ingested > self.begun_tick,
            _ => entry.time >= self.begun_at.0,
        };
        let waits = wanted && entry.readable && !entry.gone && entry.ingested <= feed.now && entry.time < newest;
        let mut walks = self.state.walks();
        let in_gap = |walk: &Walk| {
            matches!(walk.kind, WalkKind::Gap { .. }) && Some(walk.id) != by && walk.floor <= UnixMs(entry.time)
        };
        waits && !self.released.contains(&entry.id()) && !walks.any(in_gap)
    }
}

/// A directory whose flushes cost nothing, where there is one.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
