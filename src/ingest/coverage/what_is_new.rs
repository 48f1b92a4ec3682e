//! The decision whether an unknown row of a page is new. If it is not new, its standing says why. (For `wait` and
//! `tail`, `arrivals/baseline.rs` decides which messages are new.)
//!
//! A row is new if all of this is true:
//! - its id is not stored (callers ask only about such rows),
//! - it is readable: JSON with a string id,
//! - its time is not below the watermark (`Rules::is_settled` in `safeguards.rs`),
//! - while the seed of a first run is open: it was ingested after that run began, or has no `ingestedAt`.

use super::rules::Rules;
use crate::domain::{Coverage, Marks, Row, RowStanding, WalkKind};

/// Whether an unknown row is new, and therefore to be delivered.
pub(super) fn is_news(row: &Row, coverage: &Coverage, rules: &Rules) -> bool {
    let reads_seed = coverage.walks.iter().any(|walk| walk.kind == WalkKind::Seed);
    let was_there_before = reads_seed && row.ingested.is_some_and(|at| at <= coverage.marks.start_instant);
    row.readable && !was_there_before && !rules.is_settled(row.time, &coverage.marks)
}

/// Returns the standing of an unknown row. For the first page of a first run with `poll.start = "now"`, use
/// [`standing_at_start`] instead.
pub(super) fn standing(row: &Row, coverage: &Coverage, rules: &Rules) -> RowStanding {
    if row.spoiled.is_some() || !row.readable {
        RowStanding::Unreadable
    } else if is_news(row, coverage, rules) {
        RowStanding::News
    } else if row.ingested.is_none_or(|at| at <= coverage.marks.start_instant) {
        RowStanding::Seed
    } else {
        RowStanding::BelowWatermark
    }
}

/// Returns the standing of a row on the first page of a first run with `poll.start = "now"`. A row is new only if it
/// was ingested after `start_instant`, and is dated at the watermark or later. All other readable rows count as rows
/// that were in the feed before the first run.
pub(super) fn standing_at_start(row: &Row, marks: &Marks) -> RowStanding {
    if !row.readable {
        RowStanding::Unreadable
    } else if row.ingested.is_none_or(|at| at <= marks.start_instant) || row.time < marks.watermark {
        RowStanding::Seed
    } else {
        RowStanding::News
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Lags, Seq, SpoiledRow, Start, UnixMs, Walk, WalkId, WalkProgress};

    const WATERMARK: i64 = 100;
    const START: i64 = 500;

    fn row(time: i64, ingested: Option<i64>) -> Row {
        Row {
            id: "m".to_owned(),
            readable: true,
            spoiled: None,
            time: UnixMs(time),
            ingested: ingested.map(UnixMs),
            number: None,
            raw: "{}".into(),
        }
    }

    /// Makes coverage with one open walk of this kind; without an open walk if `kind` is `None`.
    fn coverage(kind: Option<WalkKind>) -> Coverage {
        let marks = Marks {
            frontier: UnixMs(1000),
            watermark: UnixMs(WATERMARK),
            anchor: UnixMs(1000),
            start_instant: UnixMs(START),
            next_seq: Seq(7),
            next_walk: WalkId(2),
        };
        let walk = |kind| Walk {
            id: WalkId(1),
            kind,
            cursor: None,
            trail: Vec::new(),
            floor: UnixMs(WATERMARK),
            opened_seq: Seq(1),
            opened_at: UnixMs(1000),
            lowest: UnixMs(900),
            progress: WalkProgress::default(),
        };
        Coverage { marks, walks: kind.map(walk).into_iter().collect(), lags: Lags::default() }
    }

    #[test]
    fn times_decide_the_standing_of_a_readable_row() {
        let rules = Rules::new(Start::Now, Duration::from_secs(3600), Duration::from_secs(60));
        let seed = Some(WalkKind::Seed);
        for (time, ingested, walk, expected) in [
            (WATERMARK, Some(WATERMARK), None, RowStanding::News),
            (WATERMARK, None, None, RowStanding::News),
            (WATERMARK - 1, Some(START + 1), None, RowStanding::BelowWatermark),
            (WATERMARK - 1, Some(START), None, RowStanding::Seed),
            (WATERMARK - 1, None, None, RowStanding::Seed),
            // While a seed is open, a row that was ingested before the start belongs to the seed.
            (WATERMARK, Some(START), seed, RowStanding::Seed),
            (WATERMARK, Some(START + 1), seed, RowStanding::News),
            (WATERMARK, None, seed, RowStanding::News),
            (WATERMARK, Some(START), Some(WalkKind::Sweep), RowStanding::News),
        ] {
            let (row, coverage) = (row(time, ingested), coverage(walk));
            assert_eq!(standing(&row, &coverage, &rules), expected, "{time}, {ingested:?}, {walk:?}");
            assert_eq!(is_news(&row, &coverage, &rules), expected == RowStanding::News, "{time}, {ingested:?}");
        }
    }

    #[test]
    fn an_unreadable_row_is_never_new() {
        let rules = Rules::new(Start::Now, Duration::from_secs(3600), Duration::from_secs(60));
        let without_id = Row { readable: false, ..row(900, Some(900)) };
        let spoiled = SpoiledRow { id: None, place: 1, wrong: "invalid escape".to_owned() };
        let no_json = Row { spoiled: Some(Box::new(spoiled)), ..without_id.clone() };
        for row in [without_id, no_json] {
            assert_eq!(standing(&row, &coverage(None), &rules), RowStanding::Unreadable);
            assert_eq!(standing_at_start(&row, &coverage(None).marks), RowStanding::Unreadable);
            assert!(!is_news(&row, &coverage(None), &rules));
        }
    }

    #[test]
    fn on_the_first_page_only_rows_ingested_after_the_start_are_new() {
        let marks = coverage(None).marks;
        assert_eq!(standing_at_start(&row(900, Some(START + 1)), &marks), RowStanding::News);
        assert_eq!(standing_at_start(&row(900, Some(START)), &marks), RowStanding::Seed);
        assert_eq!(standing_at_start(&row(900, None), &marks), RowStanding::Seed);
        assert_eq!(standing_at_start(&row(WATERMARK - 1, Some(START + 1)), &marks), RowStanding::Seed);
    }
}
