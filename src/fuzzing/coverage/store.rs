//! The store of the fuzz target, in memory. It carries out the operations of a step, and panics on one that no step may
//! ask for.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Coverage, Insert, Lags, Marks, Row, RowStanding, Seq, StoreOp, UnixMs, Walk, WalkId};

/// A stored row.
struct Stored {
    id: String,
    time: UnixMs,
    standing: RowStanding,
    held_by: Option<WalkId>,
    released: bool,
    /// True if the body is not kept, or was removed.
    bare: bool,
    at: UnixMs,
}

/// The state on disk.
#[derive(Default)]
pub(super) struct Store {
    marks: Option<Marks>,
    lags: Lags,
    walks: BTreeMap<WalkId, Walk>,
    rows: BTreeMap<Seq, Stored>,
    seqs: HashMap<String, Seq>,
    begun: bool,
    last_seq: i64,
}

impl Store {
    pub(super) fn coverage(&self) -> Option<Coverage> {
        let walks = || self.walks.values().cloned().collect();
        self.marks.map(|marks| Coverage { marks, walks: walks(), lags: self.lags.clone() })
    }

    pub(super) fn known(&self, rows: &[Row]) -> Vec<Option<Seq>> {
        rows.iter().map(|row| self.seqs.get(&row.id).copied()).collect()
    }

    pub(super) fn held(&self) -> HashMap<WalkId, u64> {
        let mut held = HashMap::new();
        for walk in self.rows.values().filter_map(|row| row.held_by) {
            *held.entry(walk).or_default() += 1;
        }
        held
    }

    /// Carries out one transaction. Returns the ids that it releases.
    pub(super) fn commit(&mut self, ops: &[StoreOp], now: UnixMs) -> Vec<String> {
        let mut released = Vec::new();
        for op in ops {
            self.apply(op, now, &mut released);
        }
        self.check();
        released
    }

    fn apply(&mut self, op: &StoreOp, now: UnixMs, released: &mut Vec<String>) {
        match op {
            StoreOp::Begin { .. } => {
                assert!(!self.begun && self.marks.is_none(), "it began twice");
                self.begun = true;
            }
            StoreOp::Insert(insert) => self.insert(insert, now),
            StoreOp::Release { rows, .. } => {
                for seq in rows {
                    let row = self.rows.get_mut(seq).expect("released, and not stored");
                    assert!(row.held_by.is_none(), "released while it is held");
                    release(row, released);
                }
            }
            StoreOp::ReleaseHeld { walk, .. } => {
                for row in self.rows.values_mut().filter(|row| row.held_by == Some(*walk)) {
                    row.held_by = None;
                    release(row, released);
                }
            }
            StoreOp::PutWalk(walk) => {
                assert!(walk.trail.len() <= Walk::TRAIL, "a trail of {}", walk.trail.len());
                let last = self.walks.keys().next_back().copied();
                let is_new = !self.walks.contains_key(&walk.id);
                assert!(!is_new || last.is_none_or(|last| last < walk.id), "an older walk was opened later");
                self.walks.insert(walk.id, (**walk).clone());
            }
            StoreOp::RemoveWalk(walk) => {
                assert!(self.walks.remove(walk).is_some(), "a walk that is not open was closed");
            }
            StoreOp::Advance(marks) => {
                if let Some(before) = self.marks {
                    assert!(marks.frontier >= before.frontier, "the frontier went back");
                    assert!(marks.watermark >= before.watermark, "the watermark went back");
                    assert!(marks.anchor >= before.anchor, "the anchor went back");
                    assert_eq!(marks.start_instant, before.start_instant, "the start moved");
                    assert!(marks.next_seq >= before.next_seq && marks.next_walk >= before.next_walk, "a number twice");
                }
                self.marks = Some(*marks);
            }
            StoreOp::PutLags(lags) => self.lags = lags.clone(),
            StoreOp::Count(_) => {}
        }
    }

    fn insert(&mut self, insert: &Insert, now: UnixMs) {
        let Insert { seq, row, standing, held_by } = insert;
        assert!(seq.0 > self.last_seq, "a number was used twice");
        self.last_seq = seq.0;
        assert!(self.seqs.insert(row.id.clone(), *seq).is_none(), "stored twice: {}", row.id);
        assert_eq!(row.readable, *standing != RowStanding::Unreadable, "{standing:?}");
        assert!(held_by.is_none() || *standing == RowStanding::News, "{standing:?} is held");
        let bare = matches!(standing, RowStanding::Seed | RowStanding::BelowWatermark);
        let (id, time, standing, held_by) = (row.id.clone(), row.time, *standing, *held_by);
        self.rows.insert(*seq, Stored { id, time, standing, held_by, released: false, bare, at: now });
    }

    /// Checks the invariants that hold after every transaction.
    fn check(&self) {
        let Some(marks) = self.marks else {
            assert!(self.rows.is_empty() && self.walks.is_empty(), "rows or walks without a beginning");
            return;
        };
        assert!(self.last_seq < marks.next_seq.0, "the next number was used already");
        for walk in self.walks.values() {
            assert!(walk.id < marks.next_walk, "the next walk is open already");
            assert!(marks.watermark <= walk.floor.min(walk.deepest_floor()), "the watermark passed an open floor");
        }
        for row in self.rows.values() {
            let gap = row.held_by.map(|walk| self.walks.get(&walk));
            assert!(gap.is_none_or(|walk| walk.is_some_and(Walk::holds)), "{} is held by no open gap", row.id);
            let waits = row.standing == RowStanding::News && !row.released;
            assert_eq!(waits, row.held_by.is_some(), "{}: news is released or held", row.id);
        }
    }

    /// Removes bodies that were released before `cutoff`, then ids below the watermark except the newest ones.
    pub(super) fn forget(&mut self, cutoff: UnixMs, keep_newest: usize) {
        let Some(marks) = self.marks else { return };
        for row in self.rows.values_mut().filter(|row| row.released && row.at < cutoff) {
            row.bare = true;
        }
        let mut times: Vec<UnixMs> = self.rows.values().map(|row| row.time).collect();
        times.sort_unstable_by(|left, right| right.cmp(left));
        let Some(oldest_kept) = times.get(keep_newest - 1) else { return };
        self.rows.retain(|_, row| !(row.bare && row.time < marks.watermark && row.time < *oldest_kept));
        let rows = &self.rows;
        self.seqs.retain(|_, seq| rows.contains_key(seq));
    }
}

fn release(row: &mut Stored, released: &mut Vec<String>) {
    assert!(row.standing == RowStanding::News && !row.released, "{:?} released, or twice: {}", row.standing, row.id);
    row.released = true;
    released.push(row.id.clone());
}
