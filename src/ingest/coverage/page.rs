//! One page of the feed, with what the store knows of its rows.

use std::collections::HashSet;

use super::rules::{Broken, Rules};
use crate::domain::{More, Row, Seq, UnixMs};

/// Rows, newest first, each with the number under which it is stored, if it is.
#[derive(Clone, Debug)]
pub struct FeedPage {
    rows: Vec<(Row, Option<Seq>)>,
    more: More,
}

impl FeedPage {
    /// Puts a page together; `known` has one entry for each row.
    pub fn new(rows: Vec<Row>, known: Vec<Option<Seq>>, more: More) -> Self {
        Self { rows: rows.into_iter().zip(known).collect(), more }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What follows it.
    pub fn more(&self) -> &More {
        &self.more
    }

    /// The time of its last row.
    pub fn last_time(&self) -> Option<UnixMs> {
        self.rows.last().map(|(row, _)| row.time)
    }

    /// The newest time on it that is not after `now`; it need not be the first row's.
    pub(super) fn newest_time(&self, now: UnixMs) -> Option<UnixMs> {
        self.rows.iter().map(|(row, _)| row.time).filter(|time| *time <= now).max()
    }

    /// The time in the middle of its rows' times, of two the earlier; [`UnixMs::MAX`] if it has none.
    pub(super) fn middle_time(&self) -> UnixMs {
        let mut times: Vec<UnixMs> = self.rows.iter().map(|(row, _)| row.time).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(UnixMs::MAX)
    }

    /// The times of its rows.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn times(&self) -> impl Iterator<Item = UnixMs> {
        self.rows.iter().map(|(row, _)| row.time)
    }

    /// The latest time at which one of its rows was ingested.
    pub fn newest_ingested(&self) -> Option<UnixMs> {
        self.ingested().max()
    }

    /// When its rows were ingested.
    pub(super) fn ingested(&self) -> impl Iterator<Item = UnixMs> {
        self.rows.iter().filter_map(|(row, _)| row.ingested)
    }

    /// Whether one of its rows is stored.
    pub fn has_known(&self) -> bool {
        self.rows.iter().any(|(_, known)| known.is_some())
    }

    /// The numbers that its rows came to.
    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(|(row, _)| row.number.as_deref())
    }

    /// The rows that are not stored.
    pub fn unknown(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|(_, known)| known.is_none()).map(|(row, _)| row)
    }

    /// The rows that are not stored, each id once.
    pub(super) fn into_unknown(self) -> Vec<Row> {
        // A page may be as long as the API likes.
        let mut met = HashSet::new();
        let unknown = self.rows.into_iter().filter(|(_, known)| known.is_none()).map(|(row, _)| row);
        unknown.filter(|row| met.insert(row.id.clone())).collect()
    }

    /// Whether all rows are dated after `now`; not true of an empty page.
    pub(super) fn is_ahead_of(&self, now: UnixMs) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|(row, _)| row.time > now)
    }

    /// Whether every row is stored.
    pub fn is_known(&self) -> bool {
        self.rows.iter().all(|(_, known)| known.is_some())
    }

    /// Puts earlier rows in front.
    pub(super) fn prepend(&mut self, mut earlier: Vec<(Row, Option<Seq>)>) {
        earlier.append(&mut self.rows);
        self.rows = earlier;
    }

    pub(super) fn into_rows(self) -> Vec<(Row, Option<Seq>)> {
        self.rows
    }

    /// The last row that tells how far the page reaches: stored rows dated after `now` at its end do not. Without them it
    /// is a shorter page, as good as any, while in a list that is not sorted by time they may stand above older rows
    /// for years, and none of the pages that they end would ever arrive.
    fn reach(&self, now: UnixMs) -> Option<&(Row, Option<Seq>)> {
        self.rows.iter().rfind(|(row, known)| known.is_none() || row.time <= now)
    }

    /// Whether the page reaches down to `floor` in time. By itself no sign that all above it was read.
    pub(super) fn reaches(&self, floor: UnixMs, now: UnixMs) -> bool {
        self.reach(now.max(floor)).is_some_and(|(last, _)| last.time <= floor)
    }

    /// Whether the page shows that everything at or above `floor` was read: the feed ends here, or the last row that is
    /// not a stored one dated after `now` is strictly below the floor and was stored before `opened`, or all its rows
    /// are below the floor.
    ///
    /// An unknown row is no evidence, wherever it lies: it may be late, out of order, or dated wrongly. Equal times are
    /// not either: the order of rows with the same time is the server's own affair.
    pub(super) fn ends(&self, rules: &Rules, floor: UnixMs, opened: Seq, now: UnixMs) -> bool {
        if self.more == More::End {
            return true;
        }
        if rules.breaks(Broken::EndTest) {
            return self.rows.iter().any(|(row, _)| row.time <= floor);
        }
        let below = |(row, _): &(Row, Option<Seq>)| row.time < floor;
        let met = self.reach(now.max(floor)).is_some_and(|last| below(last) && last.1.is_some_and(|seq| seq < opened));
        met || (!self.rows.is_empty() && self.rows.iter().all(below))
    }
}
