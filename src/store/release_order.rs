//! The order in which messages are released together: the oldest first. Of messages with the same time, the one further
//! down the page comes first.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::domain::{Seq, StoreOp, UnixMs};

/// Returns the messages of the first release of a commit, each with its place among them, counted from 1. So a backend
/// can store each message together with its place.
///
/// This needs the times of all messages of that release. So the result is empty unless the commit itself stores all of
/// these messages, and stores them before it releases them.
pub(super) fn places_of_first_release(ops: &[StoreOp]) -> HashMap<Seq, i64> {
    let is_release = |op: &StoreOp| matches!(op, StoreOp::Release { .. } | StoreOp::ReleaseHeld { .. });
    let (before, from_first) = ops.split_at(ops.iter().position(is_release).unwrap_or(ops.len()));
    let Some(StoreOp::Release { rows, .. }) = from_first.first() else { return HashMap::new() };
    let times: HashMap<Seq, UnixMs> = before
        .iter()
        .filter_map(|op| match op {
            StoreOp::Insert(insert) => Some((insert.seq, insert.row.time)),
            _ => None,
        })
        .collect();
    let timed: Option<Vec<_>> = rows.iter().map(|seq| Some((*times.get(seq)?, *seq))).collect();
    timed.map(|timed| in_order(timed).zip(1..).collect()).unwrap_or_default()
}

/// Sorts messages, given as time and sequence number, by the order of release.
pub(super) fn in_order(rows: Vec<(UnixMs, Seq)>) -> impl Iterator<Item = Seq> {
    let mut rows: Vec<_> = rows.into_iter().map(|(time, seq)| (time, Reverse(seq))).collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, Reverse(seq))| seq)
}
