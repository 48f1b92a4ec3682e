//! Tests that no trace of a removed text is left on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::damage::Random;
use super::*;

/// Returns the mark of a message. The text of the message repeats this mark, so that even a part of the text shows to
/// which message it belongs.
fn mark(seq: i64) -> String {
    format!("<mark {seq:06}>")
}

/// Counts how often the mark of each message is in the files of the state.
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
    spool: SqliteBackend,
    sinks: Vec<SinkId>,
    random: Random,
    seq: i64,
    /// How many marks the text of each message has.
    lengths: BTreeMap<i64, usize>,
    waiting: Vec<(SinkId, i64)>,
    held: Vec<i64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = scratch();
        let mut spool = SqliteBackend::open(dir.path()).unwrap();
        let sinks = register(&mut spool, &["a", "b"]);
        let (lengths, waiting, held) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { dir, spool, sinks, random: Random(seed), seq: 0, lengths, waiting, held }
    }

    /// Stores some messages. Most messages are short; some fill several pages of the file. A gap may hold the messages.
    fn add(&mut self) {
        let holds = self.random.below(4) == 0;
        let gap = WalkId(1);
        let mut changes = vec![PollChange::PutWalk(Box::new(super::gap(1)))];
        let mut rows = Vec::new();
        for _ in 0..=self.random.below(10) {
            self.seq += 1;
            let most = if self.random.below(6) == 0 { 700 } else { 30 };
            let length = 1 + self.random.below(most);
            self.lengths.insert(self.seq, length);
            changes.push(insert(self.seq, &mark(self.seq).repeat(length), RowStanding::News, holds.then_some(gap)));
            rows.push(self.seq);
        }
        if holds {
            self.held.extend(&rows);
        } else {
            self.waiting.extend(rows.iter().flat_map(|seq| self.sinks.iter().map(|sink| (*sink, *seq))));
            changes.push(release(&rows));
        }
        self.spool.commit(&changes, UnixMs(self.seq)).unwrap();
    }

    fn release_held(&mut self) {
        let changes = [PollChange::ReleaseHeld { walk: WalkId(1), class: DeliveryClass::Backfill }];
        self.spool.commit(&changes, UnixMs(self.seq)).unwrap();
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

    /// Does one round of the relay's maintenance.
    fn maintain(&mut self) {
        let cutoffs = RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None };
        let mut after = Some(Seq(0));
        while let Some(seq) = after {
            after = self.spool.remove_settled(cutoffs, seq).unwrap().next;
        }
        match self.random.below(3) {
            0 => drop(self.spool.shrink_file(true).unwrap()),
            1 => drop(self.spool.forget_ids(UnixMs(self.seq * 900), 20, ForgottenUpTo::START).unwrap()),
            _ => {
                let (all, now) = (DeadLetterSelection::default(), UnixMs(self.seq));
                self.spool.resolve_dead_letters(&all, DeadLetterAction::Drop, ResolvedUpTo::default(), now).unwrap();
            }
        }
    }

    /// Counts the traces on the disk: first those of removed texts, then those of kept texts. Every mark of a removed
    /// text is a trace. If a kept text has three marks, but the disk has five of them, two are traces.
    fn traces(&mut self) -> (usize, usize) {
        assert!(self.spool.erase_traces().unwrap());
        let mut statement = self.spool.connection.prepare("SELECT seq FROM message WHERE raw IS NOT NULL").unwrap();
        let kept: BTreeSet<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let found = marks_in(self.dir.path());
        let (mut of_gone, mut too_many) = (0, 0);
        for (seq, length) in &self.lengths {
            let times = found.get(seq).copied().unwrap_or_default();
            if kept.contains(seq) {
                // A long text is split between pages of the file. If the split is within a mark, the mark is not found.
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
                _ => self.maintain(),
            }
            if step % 20 == 0 {
                self.maintain();
                let (of_gone, too_many) = self.traces();
                traces = (traces.0 + of_gone, traces.1 + too_many);
            }
        }
        traces
    }
}

#[test]
fn a_removed_text_leaves_no_byte_on_the_disk_and_a_kept_text_is_there_once() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        world.spool.erase_on_delivery();
        assert_eq!(world.play(300), (0, 0), "seed {seed}");
        assert!(world.lengths.len() > 300);
        assert!(world.spool.claim_fresh(world.sinks[0], DeliveryClass::Live, ALL, &|_| false).unwrap().iter().all(
            |claim| {
                let seq = claim.seq.0;
                *claim.raw == format!("{{\"id\":\"m{seq}\",\"body\":\"{}\"}}", mark(seq).repeat(world.lengths[&seq]))
            }
        ));
    }
}

#[test]
fn without_pages_of_their_own_texts_may_leave_traces() {
    let traces: Vec<(usize, usize)> = (0..6).map(|seed| World::new(seed).play(300)).collect();
    assert!(traces.iter().any(|traces| *traces > (0, 0)), "pages of their own are not needed: {traces:?}");
}
