//! An estimate of how many rows a walk still has to read, for people.

use std::time::Duration;

use super::{UnixMs, Walk, WalkKind};

/// The numbers from which the estimate is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many rows the sample has. The sample is the rows that were read last: those from `Walk::lowest` on, towards
    /// newer rows.
    pub sample_rows: u64,
    /// The time between the newest and the oldest row of the sample, in milliseconds.
    pub sample_ms: u64,
    /// How many stored rows the walk will read once more.
    pub known: u64,
    /// How many rows were ever stored.
    pub stored: u64,
    /// How many rows there are, by the API's `total`.
    pub total: Option<u64>,
}

impl Unread {
    /// Returns how many rows a walk still has to read; `None` if no estimate is possible.
    ///
    /// The rows that a sweep will read are stored already, except for the few that came late. So they are counted. A
    /// gap or a seed also reads rows that are not stored. The estimate assumes that these rows are as dense as the rows
    /// of the sample. If messages do not come evenly, the estimate is wrong at first, and gets better while the gap is
    /// read. At most `total` minus `stored` rows can be new, so the estimate assumes no more. If the walk reads down to
    /// the end of the feed, the estimate assumes exactly this number of new rows.
    pub fn rows(&self, walk: &Walk) -> Option<u64> {
        let not_stored = self.total.map(|total| total.saturating_sub(self.stored));
        // If `total` minus `stored` is 0 although a gap is open, some stored rows have left the feed. Then only `total`
        // is a bound.
        let at_most = not_stored.filter(|rows| *rows > 0).or(self.total).unwrap_or(u64::MAX);
        let unknown = match walk.kind {
            WalkKind::Sweep => return Some(self.known),
            _ if walk.floor == UnixMs::MIN => not_stored?,
            _ => {
                let span = walk.lowest.since(walk.floor);
                self.by_density(span).map(|rows| rows.min(at_most)).or(not_stored)?
            }
        };
        Some(unknown.saturating_add(self.known))
    }

    fn by_density(&self, span: Duration) -> Option<u64> {
        // Fewer than 5 rows do not show how dense rows are, and neither do rows that all have the same time.
        if self.sample_rows < 5 || self.sample_ms == 0 {
            return None;
        }
        let rows = u128::from(self.sample_rows) * span.as_millis() / u128::from(self.sample_ms);
        Some(u64::try_from(rows).unwrap_or(u64::MAX))
    }
}

/// How many pages of `page_rows` hold `rows` rows. At least 1: an open walk always has a page to read.
pub fn pages(rows: u64, page_rows: u32) -> u64 {
    rows.div_ceil(u64::from(page_rows.max(1))).max(1)
}

/// How long `pages` pages take at this pace; `None` while the pace is not known.
pub fn time_for(pages: u64, pages_per_minute: f64) -> Option<Duration> {
    if pages_per_minute <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let minutes = pages as f64 / pages_per_minute;
    Duration::try_from_secs_f64(minutes * 60.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Seq, WalkId, WalkProgress};

    fn walk(kind: WalkKind, floor: UnixMs, lowest: i64) -> Walk {
        Walk {
            id: WalkId(1),
            kind,
            cursor: None,
            trail: Vec::new(),
            floor,
            opened_seq: Seq(1),
            opened_at: UnixMs(10_000_000),
            lowest: UnixMs(lowest),
            progress: WalkProgress::default(),
        }
    }

    const GAP: WalkKind = WalkKind::Gap { sweep_floor: None, streaming: false };

    #[test]
    fn the_rows_of_each_kind_of_walk_are_estimated() {
        let even = Unread { sample_rows: 200, sample_ms: 200_000, ..Unread::default() };
        let total = Unread { stored: 300, total: Some(1000), ..Unread::default() };
        for (name, unread, walk, rows) in [
            ("a row a second for an hour", even, walk(GAP, UnixMs(0), 3_600_000), Some(3600)),
            ("the gap has arrived", even, walk(GAP, UnixMs(5), 5), Some(0)),
            ("stored rows below it are added", Unread { known: 40, ..even }, walk(GAP, UnixMs(0), 1_000), Some(41)),
            ("a seed is read like a gap", even, walk(WalkKind::Seed, UnixMs(0), 60_000), Some(60)),
            (
                "a sweep reads stored rows only",
                Unread { known: 77, ..even },
                walk(WalkKind::Sweep, UnixMs(0), 9_000),
                Some(77),
            ),
            ("down to the end of the feed", total, walk(GAP, UnixMs::MIN, 5_000), Some(700)),
            ("fewer in the feed than stored", Unread { stored: 2000, ..total }, walk(GAP, UnixMs::MIN, 5_000), Some(0)),
            ("neither a sample nor a total", Unread::default(), walk(GAP, UnixMs::MIN, 5_000), None),
            ("too few rows in the sample", Unread { sample_rows: 4, ..even }, walk(GAP, UnixMs(0), 9_000), None),
            ("all rows at the same time", Unread { sample_ms: 0, ..even }, walk(GAP, UnixMs(0), 9_000), None),
            (
                "all rows at the same time, but a total",
                Unread { sample_rows: 9, ..total },
                walk(GAP, UnixMs(0), 9_000),
                Some(700),
            ),
            ("at most the total", Unread { total: Some(900), ..even }, walk(GAP, UnixMs(0), 3_600_000), Some(900)),
            (
                "at most the total, without the stored rows",
                Unread { total: Some(900), stored: 300, ..even },
                walk(GAP, UnixMs(0), 3_600_000),
                Some(600),
            ),
            (
                "as many as a number can hold",
                Unread { sample_ms: 1, ..even },
                walk(GAP, UnixMs(-i64::MAX), i64::MAX),
                Some(u64::MAX),
            ),
        ] {
            assert_eq!(unread.rows(&walk), rows, "{name}");
        }
    }

    #[test]
    fn pages_and_their_time() {
        assert_eq!([0, 1, 10, 11, 1000].map(|rows| pages(rows, 10)), [1, 1, 1, 2, 100]);
        assert_eq!(time_for(30, 60.0), Some(Duration::from_secs(30)));
        assert_eq!(time_for(30, 0.0), None);
        assert_eq!(time_for(u64::MAX, f64::MIN_POSITIVE), None);
    }
}
