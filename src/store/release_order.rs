//! The order of messages that are released together: the oldest message comes first. Of two messages with the same
//! time, the one that is further down the page comes first.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::domain::{PollChange, Seq, UnixMs};

/// Returns the messages of the first release in `changes`, which are the changes of one commit. Each message comes with
/// its place among the messages of this release, counted from 1. So a backend can store each message together with its
/// place.
///
/// The places follow from the times of the messages, and `changes` has only the times of messages that this commit
/// stores. If the release has any other message, the result is empty.
pub(super) fn places_of_first_release(changes: &[PollChange]) -> HashMap<Seq, i64> {
    let is_release =
        |change: &PollChange| matches!(change, PollChange::Release { .. } | PollChange::ReleaseHeld { .. });
    let (before, from_first) = changes.split_at(changes.iter().position(is_release).unwrap_or(changes.len()));
    let Some(PollChange::Release { rows, .. }) = from_first.first() else { return HashMap::new() };
    let times: HashMap<Seq, UnixMs> = before
        .iter()
        .filter_map(|change| match change {
            PollChange::Insert(insert) => Some((insert.seq, insert.row.time)),
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
