//! One page of the feed, and for each of its rows whether the row is stored.

use std::collections::HashSet;

use crate::domain::{More, Row, Seq, UnixMs};

/// The rows of a page, newest first. A row that is stored comes with its sequence number.
#[derive(Clone, Debug)]
pub struct FeedPage {
    rows: Vec<(Row, Option<Seq>)>,
    more: More,
}

impl FeedPage {
    /// Makes a page of these rows. `known` has one entry for each row.
    pub fn new(rows: Vec<Row>, known: Vec<Option<Seq>>, more: More) -> Self {
        Self { rows: rows.into_iter().zip(known).collect(), more }
    }

    /// Whether the page has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns what follows the page, by the API's answer.
    pub fn more(&self) -> &More {
        &self.more
    }

    /// The time of the last row; `None` if there is no row.
    pub fn last_time(&self) -> Option<UnixMs> {
        self.rows.last().map(|(row, _)| row.time)
    }

    /// Returns the latest time of a row. Times after `limit` do not count. `None` if there is no other time. The first
    /// row need not have the latest time, because the feed need not be sorted by time.
    pub(super) fn newest_time(&self, limit: UnixMs) -> Option<UnixMs> {
        self.rows.iter().map(|(row, _)| row.time).filter(|time| *time <= limit).max()
    }

    /// Returns the median of the rows' times. If there are two middle times, the earlier one counts. If there is no
    /// row, returns [`UnixMs::MAX`].
    pub(super) fn middle_time(&self) -> UnixMs {
        let mut times: Vec<UnixMs> = self.rows.iter().map(|(row, _)| row.time).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(UnixMs::MAX)
    }

    /// The times of the rows.
    pub(crate) fn times(&self) -> impl Iterator<Item = UnixMs> {
        self.rows.iter().map(|(row, _)| row.time)
    }

    /// Returns the latest time at which a row was ingested; `None` if no row has such a time.
    pub fn newest_ingested(&self) -> Option<UnixMs> {
        self.ingested().max()
    }

    /// Returns the times at which the rows were ingested, for the rows that have such a time.
    pub(super) fn ingested(&self) -> impl Iterator<Item = UnixMs> {
        self.rows.iter().filter_map(|(row, _)| row.ingested)
    }

    /// Whether at least one row is stored already.
    pub fn has_known(&self) -> bool {
        self.rows.iter().any(|(_, known)| known.is_some())
    }

    /// The ids of the numbers that received the rows.
    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(|(row, _)| row.number.as_deref())
    }

    /// The rows that are not stored.
    pub fn unknown(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|(_, known)| known.is_none()).map(|(row, _)| row)
    }

    /// Returns the rows that are not stored, each id once.
    pub(super) fn into_unknown(self) -> Vec<Row> {
        // A search in a set is fast even if the API sends a very long page.
        let mut met = HashSet::new();
        let unknown = self.rows.into_iter().filter(|(_, known)| known.is_none()).map(|(row, _)| row);
        unknown.filter(|row| met.insert(row.id.clone())).collect()
    }

    /// Whether there are rows and all of them are dated after `now`.
    pub(super) fn is_ahead_of(&self, now: UnixMs) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|(row, _)| row.time > now)
    }

    /// Whether every row is stored.
    pub fn is_known(&self) -> bool {
        self.rows.iter().all(|(_, known)| known.is_some())
    }

    /// Puts the rows of earlier pages in front of the rows of this page.
    pub(super) fn prepend(&mut self, mut earlier: Vec<(Row, Option<Seq>)>) {
        earlier.append(&mut self.rows);
        self.rows = earlier;
    }

    pub(super) fn into_rows(self) -> Vec<(Row, Option<Seq>)> {
        self.rows
    }

    /// Returns the row that shows how far down the page reaches. This is the last row, but stored rows dated after
    /// `now` do not count. Example: in a feed that is not sorted by time, a page ends with a stored row dated 2099. If
    /// this row counted, no walk could arrive at its floor on this page, although older rows are on it.
    fn reach(&self, now: UnixMs) -> Option<&(Row, Option<Seq>)> {
        self.rows.iter().rfind(|(row, known)| known.is_none() || row.time <= now)
    }

    /// Whether the page reaches down to the time `floor`. This alone does not show that all newer rows were read.
    pub(super) fn reaches(&self, floor: UnixMs, now: UnixMs) -> bool {
        self.reach(now.max(floor)).is_some_and(|(last, _)| last.time <= floor)
    }

    /// Whether the rows of the page show that all rows at or above `floor` were read. They do in two cases:
    ///
    /// - The row that shows how far down the page reaches (`Self::reach`) lies strictly below the floor, and its
    ///   sequence number is below `opened`. So it was stored before the walk or the head poll began.
    /// - All rows of the page lie below the floor.
    ///
    /// In the first case an unknown row is no evidence: it may be late, out of order, or dated wrongly. A row exactly
    /// at the floor is no evidence either, because the API may list rows of the same time in any order.
    pub(super) fn is_evidence_of(&self, floor: UnixMs, opened: Seq, now: UnixMs) -> bool {
        let is_below = |(row, _): &(Row, Option<Seq>)| row.time < floor;
        let last = self.reach(now.max(floor));
        let meets_known = last.is_some_and(|last| is_below(last) && last.1.is_some_and(|seq| seq < opened));
        meets_known || (!self.rows.is_empty() && self.rows.iter().all(is_below))
    }
}
