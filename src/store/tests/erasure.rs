//! What is left on the disk of texts that went.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::damage::Random;
use super::*;
use crate::store::erasure::{apart, text_of};

/// Every text consists of its own mark, over and over, so that parts of it are found as well.
fn mark(seq: i64) -> String {
    format!("<mark {seq:06}>")
}

/// How often each message's mark is in the files of the state.
fn marks_in(dir: &Path) -> BTreeMap<i64, usize> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for part in bytes.windows(mark(0).len()).filter(|part| part.starts_with(b"<mark ") && part.ends_with(b">")) {
            let seq = std::str::from_utf8(&part[6..12]).unwrap().parse().unwrap();
            *found.entry(seq).or_default() += 1;
        }
    }
    found
}

struct World {
    dir: tempfile::TempDir,
    spool: Spool,
    sinks: Vec<SinkId>,
    random: Random,
    seq: i64,
    /// What each message says, in marks.
    lengths: BTreeMap<i64, usize>,
    waiting: Vec<(SinkId, i64)>,
    held: Vec<i64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = scratch();
        let mut spool = Spool::open(dir.path()).unwrap();
        let sinks = register(&mut spool, &["a", "b"]);
        let (lengths, waiting, held) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { dir, spool, sinks, random: Random(seed), seq: 0, lengths, waiting, held }
    }

    /// A page of messages: short ones mostly, some of several pages of the file; a gap may hold them.
    fn add(&mut self) {
        let holds = self.random.below(4) == 0;
        let gap = WalkId(1);
        let mut ops = vec![StoreOp::PutWalk(Box::new(super::gap(1)))];
        let mut rows = Vec::new();
        for _ in 0..=self.random.below(10) {
            self.seq += 1;
            let most = if self.random.below(6) == 0 { 700 } else { 30 };
            let length = 1 + self.random.below(most);
            self.lengths.insert(self.seq, length);
            ops.push(insert(self.seq, &mark(self.seq).repeat(length), RowStanding::News, holds.then_some(gap)));
            rows.push(self.seq);
        }
        if holds {
            self.held.extend(&rows);
        } else {
            self.waiting.extend(rows.iter().flat_map(|seq| self.sinks.iter().map(|sink| (*sink, *seq))));
            ops.push(StoreOp::Release { rows: rows.into_iter().map(Seq).collect(), class: Class::Live });
        }
        self.spool.commit(&ops, UnixMs(self.seq)).unwrap();
    }

    fn release_held(&mut self) {
        let ops = [StoreOp::ReleaseHeld { walk: WalkId(1), class: Class::Backfill }];
        self.spool.commit(&ops, UnixMs(self.seq)).unwrap();
        let held = std::mem::take(&mut self.held);
        self.waiting.extend(held.iter().flat_map(|seq| self.sinks.iter().map(|sink| (*sink, *seq))));
    }

    fn settle(&mut self) {
        let mut settlements = Vec::new();
        for _ in 0..self.random.below(25).min(self.waiting.len()) {
            let at = self.random.below(self.waiting.len());
            let outcome = match self.random.below(12) {
                0 => dead(),
                1 => Outcome::Retry { due: UnixMs(9), status: None, answer: "503".to_owned() },
                _ => DELIVERED,
            };
            let (sink, seq) = match outcome {
                Outcome::Retry { .. } => self.waiting[at],
                _ => self.waiting.swap_remove(at),
            };
            settlements.push(settled(sink, seq, outcome));
        }
        self.spool.settle(&settlements, UnixMs(self.seq)).unwrap();
    }

    /// What else happens to a state.
    fn keep_house(&mut self) {
        let cutoffs = Cutoffs { delivered: Some(UnixMs::MAX), dead: None };
        let mut after = Some(Seq(0));
        while let Some(seq) = after {
            after = self.spool.drop_settled(cutoffs, seq).unwrap().next;
        }
        match self.random.below(3) {
            0 => drop(self.spool.give_back(true).unwrap()),
            1 => drop(self.spool.forget_ids(UnixMs(self.seq * 900), 20, Place::START).unwrap()),
            _ => {
                let (all, now) = (Selection::default(), UnixMs(self.seq));
                self.spool.settle_dead(&all, DeadLetterVerdict::Drop, DeadPlace::default(), now).unwrap();
            }
        }
    }

    /// Marks that are there of texts that went, and of texts that stay beyond what they hold.
    fn traces(&mut self) -> (usize, usize) {
        assert!(self.spool.wipe().unwrap());
        let mut statement = self.spool.connection.prepare("SELECT seq FROM message WHERE raw IS NOT NULL").unwrap();
        let kept: BTreeSet<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let found = marks_in(self.dir.path());
        let (mut of_gone, mut too_many) = (0, 0);
        for (seq, length) in &self.lengths {
            let times = found.get(seq).copied().unwrap_or_default();
            if kept.contains(seq) {
                // Where a text goes on, on another page, a mark is cut.
                assert!(times + length.div_ceil(300) + 2 > *length, "{seq}: {times} of {length}");
                too_many += times.saturating_sub(*length);
            } else {
                of_gone += times;
            }
        }
        (of_gone, too_many)
    }

    fn play(&mut self, steps: usize) -> (usize, usize) {
        let mut traces = (0, 0);
        for step in 1..=steps {
            match self.random.below(10) {
                0..4 => self.add(),
                4 => self.release_held(),
                5..9 => self.settle(),
                _ => self.keep_house(),
            }
            if step % 20 == 0 {
                self.keep_house();
                let (of_gone, too_many) = self.traces();
                traces = (traces.0 + of_gone, traces.1 + too_many);
            }
        }
        traces
    }
}

#[test]
fn a_text_that_went_is_on_no_byte_of_the_disk_and_one_that_stays_is_there_once() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        world.spool.let_go_at_once();
        assert_eq!(world.play(300), (0, 0), "seed {seed}");
        assert!(world.lengths.len() > 300);
        assert!(world.spool.claim_fresh(world.sinks[0], Class::Live, ALL, |_| false).unwrap().iter().all(|claim| {
            let seq = claim.seq.0;
            *claim.raw == format!("{{\"id\":\"m{seq}\",\"body\":\"{}\"}}", mark(seq).repeat(world.lengths[&seq]))
        }));
    }
}

#[test]
fn where_texts_lie_with_others_some_of_it_may_be_left() {
    let traces: Vec<(usize, usize)> = (0..6).map(|seed| World::new(seed).play(300)).collect();
    assert!(traces.iter().any(|traces| *traces > (0, 0)), "then the spaces are not needed any more: {traces:?}");
}

const ALL: Chunk = Chunk { rows: usize::MAX, bytes: usize::MAX, details: false };

#[test]
fn the_last_sink_takes_the_text_along() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    spool.let_go_at_once();
    let sinks = register(&mut spool, &["a", "b"]);
    let ops = (1..=3).map(|seq| insert(seq, "x", RowStanding::News, None));
    let release = StoreOp::Release { rows: vec![Seq(1), Seq(2), Seq(3)], class: Class::Live };
    spool.commit(&ops.chain([release]).collect::<Vec<_>>(), UnixMs(1)).unwrap();
    let left = |spool: &Spool| {
        let sql =
            "SELECT group_concat(seq) || '; ' || (SELECT count(*) FROM delivery) FROM message WHERE raw IS NOT NULL";
        spool.connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap()
    };
    spool.settle(&[settled(sinks[0], 1, DELIVERED), settled(sinks[0], 2, dead())], UnixMs(2)).unwrap();
    assert_eq!(left(&spool).as_deref(), Some("1,2,3; 6"), "the other waits");
    spool.settle(&[settled(sinks[1], 1, DELIVERED), settled(sinks[1], 2, DELIVERED)], UnixMs(3)).unwrap();
    assert_eq!(left(&spool).as_deref(), Some("2,3; 4"), "a dead letter stays");
    let both = [settled(sinks[0], 3, DELIVERED), settled(sinks[1], 3, DELIVERED)];
    spool.settle(&both, UnixMs(3)).unwrap();
    assert_eq!(left(&spool).as_deref(), Some("2; 2"), "both in one transaction");
    assert_eq!(spool.known(["m1", "m2", "m3"].into_iter()).unwrap().iter().flatten().count(), 3, "ids stay");
}

#[test]
fn what_others_wrote_is_noticed_and_what_this_one_wrote_is_not() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    assert!(!spool.others_wrote().unwrap());
    register(&mut spool, &["a"]);
    assert!(!spool.others_wrote().unwrap());
    let mut other = Spool::open(dir.path()).unwrap();
    other.pause(SinkId(1), crate::domain::PauseReason::Operator, UnixMs(1)).unwrap();
    assert!(spool.others_wrote().unwrap());
    assert!(!spool.others_wrote().unwrap());
}

#[test]
fn a_text_comes_back_as_it_was() {
    for length in [0, 1, 400, 3_500, 4_000, 4_092, 8_100, 100_000] {
        let text = format!("{{{}}}", "a ".repeat(length));
        let stored = apart("an id", &text);
        assert_eq!(text_of(&stored), text);
        assert!(stored.len() >= text.len() + 489, "{length}");
    }
    assert_eq!(text_of("{ }"), "{ }");
}
