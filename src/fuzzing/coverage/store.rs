//! The store of the fuzz target, in memory. It panics on a change that no step of coverage may make.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Coverage, Insert, Lags, Marks, PollChange, Row, RowStanding, Seq, UnixMs, Walk, WalkId};
use crate::ingest::coverage::testbed::{Choices, Store};

/// A row as it is stored.
struct StoredRow {
    id: String,
    time: UnixMs,
    standing: RowStanding,
    held_by: Option<WalkId>,
    released: bool,
    /// Whether the store has no text of the row: it was never kept, or was removed.
    bare: bool,
    /// When the row was stored.
    at: UnixMs,
}

/// The state that a real store has on disk.
#[derive(Default)]
pub(super) struct MemoryStore {
    marks: Option<Marks>,
    lags: Lags,
    walks: BTreeMap<WalkId, Walk>,
    rows: BTreeMap<Seq, StoredRow>,
    seqs: HashMap<String, Seq>,
    begun: bool,
    last_seq: i64,
}

impl Store for MemoryStore {
    fn known(&mut self, rows: &[Row]) -> Vec<Option<Seq>> {
        rows.iter().map(|row| self.seqs.get(&row.id).copied()).collect()
    }

    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Vec<Vec<String>> {
        let mut released = Vec::new();
        for change in changes {
            self.apply(change, now, &mut released);
        }
        self.check();
        vec![released]
    }

    fn coverage(&mut self) -> Option<Coverage> {
        let walks = self.walks.values().cloned().collect();
        self.marks.map(|marks| Coverage { marks, walks, lags: self.lags.clone() })
    }

    fn held(&mut self, walk: WalkId) -> u64 {
        self.rows.values().filter(|row| row.held_by == Some(walk)).count() as u64
    }

    /// A restart changes nothing in this store, so it draws no choice.
    fn restart<C: Choices>(&mut self, _: &mut C) {}

    fn forget(&mut self, delivered_before: UnixMs, watermark: UnixMs, keep_newest: u32) {
        for row in self.rows.values_mut().filter(|row| row.released && row.at < delivered_before) {
            row.bare = true;
        }
        let mut times: Vec<UnixMs> = self.rows.values().map(|row| row.time).collect();
        times.sort_unstable_by(|left, right| right.cmp(left));
        let Some(oldest_kept) = times.get(keep_newest as usize - 1) else { return };
        self.rows.retain(|_, row| !(row.bare && row.time < watermark && row.time < *oldest_kept));
        let rows = &self.rows;
        self.seqs.retain(|_, seq| rows.contains_key(seq));
    }
}

impl MemoryStore {
    fn apply(&mut self, change: &PollChange, now: UnixMs, released: &mut Vec<String>) {
        match change {
            PollChange::Begin { .. } => {
                assert!(!self.begun && self.marks.is_none(), "coverage began twice");
                self.begun = true;
            }
            PollChange::Insert(insert) => self.insert(insert, now),
            PollChange::Release { rows, .. } => {
                for seq in rows {
                    let row = self.rows.get_mut(seq).expect("a row that is not stored was released");
                    assert!(row.held_by.is_none(), "a row was released while a gap held it");
                    release(row, released);
                }
            }
            PollChange::ReleaseHeld { walk, .. } => {
                for row in self.rows.values_mut().filter(|row| row.held_by == Some(*walk)) {
                    row.held_by = None;
                    release(row, released);
                }
            }
            PollChange::PutWalk(walk) => {
                assert!(walk.trail.len() <= Walk::TRAIL, "a trail of {} cursors", walk.trail.len());
                let last = self.walks.keys().next_back().copied();
                let is_new = !self.walks.contains_key(&walk.id);
                assert!(!is_new || last.is_none_or(|last| last < walk.id), "a new walk has a lower id than another");
                self.walks.insert(walk.id, (**walk).clone());
            }
            PollChange::RemoveWalk(walk) => {
                assert!(self.walks.remove(walk).is_some(), "a walk that is not open was closed");
            }
            PollChange::Advance(marks) => self.marks = Some(*marks),
            PollChange::PutLags(lags) => self.lags = lags.clone(),
            PollChange::Count(_) => {}
        }
    }

    fn insert(&mut self, insert: &Insert, now: UnixMs) {
        let Insert { seq, row, standing, held_by } = insert;
        assert!(seq.0 > self.last_seq, "a sequence number was used twice");
        self.last_seq = seq.0;
        assert!(self.seqs.insert(row.id.clone(), *seq).is_none(), "stored twice: {}", row.id);
        assert_eq!(row.readable, *standing != RowStanding::Unreadable, "{standing:?}");
        assert!(held_by.is_none() || *standing == RowStanding::News, "a gap holds a row: {standing:?}");
        let bare = matches!(standing, RowStanding::Seed | RowStanding::BelowWatermark);
        let (id, time, standing, held_by) = (row.id.clone(), row.time, *standing, *held_by);
        self.rows.insert(*seq, StoredRow { id, time, standing, held_by, released: false, bare, at: now });
    }

    /// Checks after a transaction that rows and walks agree: each row of news is either released or held by an open
    /// gap.
    fn check(&self) {
        let Some(marks) = self.marks else {
            assert!(self.rows.is_empty() && self.walks.is_empty(), "there are rows or walks before coverage began");
            return;
        };
        assert!(self.last_seq < marks.next_seq.0, "the next sequence number was used already");
        for row in self.rows.values() {
            let gap = row.held_by.map(|walk| self.walks.get(&walk));
            assert!(gap.is_none_or(|walk| walk.is_some_and(Walk::holds)), "{} is held by no open gap", row.id);
            let waits = row.standing == RowStanding::News && !row.released;
            assert_eq!(
                waits,
                row.held_by.is_some(),
                "{}: a gap must hold a row exactly while the row is unreleased news",
                row.id
            );
        }
    }
}

fn release(row: &mut StoredRow, released: &mut Vec<String>) {
    assert!(
        row.standing == RowStanding::News && !row.released,
        "{:?} was released, or a row was released twice: {}",
        row.standing,
        row.id
    );
    row.released = true;
    released.push(row.id.clone());
}
