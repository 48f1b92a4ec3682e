//! Tests of single steps. In the worlds test these steps are so rare that a fault in them might not be noticed.

use std::collections::HashMap;
use std::time::Duration;

use super::{CoverageState, FeedPage, NextAction, Now, Rules};
use crate::domain::{Cursor, More, PollChange, Row, Seq, Start, UnixMs, WalkKind};

fn rules() -> Rules {
    let ticks = Duration::from_millis;
    Rules { margin: ticks(5), ..Rules::new(Start::Now, ticks(30), ticks(1000)) }
}

fn now(tick: i64) -> Now {
    Now { server: UnixMs(tick), local: UnixMs(tick) }
}

/// A feed that is sorted by arrival, and the part of it that is stored.
struct List {
    /// The id and the time of each row, newest first.
    rows: Vec<(&'static str, i64)>,
    /// The ids of the stored rows.
    known: HashMap<String, Seq>,
}

impl List {
    /// Returns the page of four rows that begins with the row at the index `from`.
    fn page(&self, from: usize) -> FeedPage {
        let shown: Vec<&(&str, i64)> = self.rows.iter().skip(from).take(4).collect();
        let rows = shown.iter().map(|(id, time)| Row {
            id: (*id).into(),
            readable: true,
            spoiled: None,
            time: UnixMs(*time),
            ingested: None,
            number: None,
            raw: "{}".into(),
        });
        let known = shown.iter().map(|(id, _)| self.known.get(*id).copied()).collect();
        let more = if from + 4 < self.rows.len() { More::Cursor(Cursor(format!("{}", from + 4))) } else { More::End };
        FeedPage::new(rows.collect(), known, more)
    }

    fn take(&mut self, changes: &[PollChange]) {
        for change in changes {
            if let PollChange::Insert(insert) = change {
                self.known.insert(insert.row.id.clone(), insert.seq);
            }
        }
    }

    /// Makes a head poll and all requests that follow from it.
    fn poll(&mut self, state: &mut CoverageState, tick: i64) {
        let step = state.head_page(&rules(), self.page(0), now(tick));
        self.take(&step.changes);
        let open = |state: &CoverageState| state.walks().next().map(|walk| (walk.id, walk.cursor.clone()));
        while let Some((id, cursor)) = open(state) {
            let from = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
            let step = state.walk_page(&rules(), id, self.page(from), false, now(tick));
            self.take(&step.changes);
        }
    }
}

/// Makes a list whose rows are all known. Its first page ends with rows dated ahead, and its second page begins with
/// such rows.
fn known_rows_ahead() -> (List, CoverageState) {
    let rows = vec![
        ("newest", 1002),
        ("ahead 1", 90_000),
        ("ahead 2", 90_000),
        ("ahead 3", 90_000),
        ("ahead 4", 90_000),
        ("ahead 5", 90_000),
        ("old", 1000),
        ("older", 900),
    ];
    let mut list = List { rows, known: HashMap::new() };
    let mut state = CoverageState::default();
    list.poll(&mut state, 1003);
    list.poll(&mut state, 1004);
    assert_eq!(list.known.len(), list.rows.len());
    (list, state)
}

#[test]
fn known_rows_dated_ahead_at_the_end_of_a_page_open_no_gap() {
    let (list, mut state) = known_rows_ahead();
    for tick in 1005..1050 {
        let step = state.head_page(&rules(), list.page(0), now(tick));
        assert_eq!(step.next, NextAction::Idle, "at {tick}");
        assert_eq!(state.walks().count(), 0, "at {tick}");
    }
}

#[test]
fn an_unknown_row_dated_ahead_at_the_end_of_a_page_opens_a_gap() {
    let (mut list, mut state) = known_rows_ahead();
    list.known.remove("ahead 3");
    let step = state.head_page(&rules(), list.page(0), now(1005));
    assert!(matches!(step.next, NextAction::FollowWalk(_)), "{:?}", step.next);
    let kinds: Vec<WalkKind> = state.walks().map(|walk| walk.kind).collect();
    assert_eq!(kinds, [WalkKind::Gap { sweep_floor: None, streaming: false }]);
}

#[test]
fn a_page_of_a_new_row_and_known_rows_dated_ahead_opens_a_gap() {
    let (mut list, mut state) = known_rows_ahead();
    list.rows.insert(0, ("news", 1006));
    list.rows.remove(1);
    let step = state.head_page(&rules(), list.page(0), now(1006));
    assert!(matches!(step.next, NextAction::FollowWalk(_)), "{:?}", step.next);
}

#[test]
fn a_known_row_below_the_frontier_counts_although_known_rows_dated_ahead_follow_on_the_page() {
    let (mut list, mut state) = known_rows_ahead();
    list.rows.insert(0, ("news", 1006));
    // Moves `old` above the block. This row was stored before, and lies below the frontier.
    list.rows.retain(|(id, _)| *id != "old" && *id != "newest");
    list.rows.insert(1, ("old", 1000));
    let step = state.head_page(&rules(), list.page(0), now(1006));
    assert_eq!(step.next, NextAction::Idle);
    assert_eq!(state.walks().count(), 0);
    assert!(step.changes.iter().any(|change| matches!(change, PollChange::Release { .. })), "{:?}", step.changes);
}

#[test]
fn a_sweep_from_below_a_block_raises_the_anchor_to_the_time_when_the_block_was_found() {
    let ahead = ["ahead 1", "ahead 2", "ahead 3", "ahead 4"].map(|id| (id, 90_000));
    let old = [("old 1", 1000), ("old 2", 999), ("old 3", 900), ("old 4", 800), ("old 5", 700)];
    let mut list = List { rows: old.to_vec(), known: HashMap::new() };
    let mut state = CoverageState::default();
    list.poll(&mut state, 1002);
    list.rows.splice(0..0, ahead);
    list.poll(&mut state, 1003);
    // All rows are known. The next poll begins at the head and finds the block. The polls after it begin below the
    // block.
    assert_eq!(state.head_cursor(&rules(), now(2000)), None);
    let step = state.head_page(&rules(), list.page(0), now(2000));
    assert_eq!(step.next, NextAction::Follow(Cursor("4".to_owned())));
    list.take(&state.head_page(&rules(), list.page(4), now(2000)).changes);
    // A row appears above the block, where these polls do not see it. At 2500 a sweep is due, and the page of this poll
    // completes it.
    list.rows.insert(0, ("unseen", 2002));
    assert_eq!(state.head_cursor(&rules(), now(2500)), Some(Cursor("4".to_owned())));
    list.take(&state.head_page(&rules(), list.page(5), now(2500)).changes);
    let anchor = |state: &CoverageState| state.coverage.as_ref().unwrap().marks.anchor;
    assert_eq!(anchor(&state), UnixMs(2000), "the poll at 2500 did not see the rows above the block");
    // When the sweep interval has passed, a poll begins at the head again.
    assert_eq!(state.head_cursor(&rules(), now(3000)), None);
    let step = state.head_page(&rules(), list.page(0), now(3000));
    assert!(
        step.changes.iter().any(|change| matches!(change, PollChange::Insert(insert) if insert.row.id == "unseen"))
    );
}

#[test]
fn every_second_poll_looks_above_a_block_that_is_dated_at_most_a_day_ahead() {
    const HOUR: i64 = 3_600_000;
    for (ahead, peeks) in [(HOUR, true), (10_000 * HOUR, false)] {
        let block = ["ahead 1", "ahead 2", "ahead 3", "ahead 4"].map(|id| (id, ahead));
        let old = [("old 1", 1000), ("old 2", 999), ("old 3", 900), ("old 4", 800), ("old 5", 700)];
        let mut list = List { rows: old.to_vec(), known: HashMap::new() };
        let mut state = CoverageState::default();
        list.poll(&mut state, 1002);
        list.rows.splice(0..0, block);
        list.poll(&mut state, 1003);
        let below = Some(Cursor("4".to_owned()));
        assert_eq!(state.head_cursor(&rules(), now(2000)), None);
        assert_eq!(state.head_page(&rules(), list.page(0), now(2000)).next, NextAction::Follow(Cursor("4".to_owned())));
        list.take(&state.head_page(&rules(), list.page(4), now(2000)).changes);
        for tick in [2010, 2030] {
            assert_eq!(state.head_cursor(&rules(), now(tick)), below);
            list.take(&state.head_page(&rules(), list.page(4), now(tick)).changes);
            if peeks {
                assert_eq!(state.head_cursor(&rules(), now(tick + 10)), None);
                let step = state.head_page(&rules(), list.page(0), now(tick + 10));
                assert_eq!(
                    (step.next, step.changes),
                    (NextAction::Idle, Vec::new()),
                    "it does not read the block again"
                );
            }
        }
        list.rows.insert(0, ("above", ahead + 1));
        assert_eq!(state.head_cursor(&rules(), now(2050)), below);
        list.take(&state.head_page(&rules(), list.page(5), now(2050)).changes);
        assert_eq!(state.head_cursor(&rules(), now(2060)).is_none(), peeks);
        if peeks {
            let step = state.head_page(&rules(), list.page(0), now(2060));
            assert!(
                step.changes
                    .iter()
                    .any(|change| matches!(change, PollChange::Insert(insert) if insert.row.id == "above"))
            );
        }
    }
}

#[test]
fn rows_up_to_the_frontier_are_no_block_after_the_api_s_clock_was_set_back() {
    let rows = [("e", 1005), ("d", 1004), ("c", 1003), ("b", 1002), ("a", 1001)];
    let mut list = List { rows: rows.to_vec(), known: HashMap::new() };
    let mut state = CoverageState::default();
    list.poll(&mut state, 1006);
    list.poll(&mut state, 1007);
    for tick in [500, 510, 520] {
        assert_eq!(state.head_cursor(&rules(), now(tick)), None, "polls begin at the head");
        assert_eq!(state.head_page(&rules(), list.page(0), now(tick)).next, NextAction::Idle);
    }
    list.rows.insert(0, ("new", 1009));
    assert_eq!(state.head_cursor(&rules(), now(530)), None);
    let step = state.head_page(&rules(), list.page(0), now(530));
    assert!(step.changes.iter().any(|change| matches!(change, PollChange::Release { .. })), "{:?}", step.changes);
}

/// Makes a page of unknown rows, newest first. `rows` has the `receivedAt` and the `ingestedAt` of each row.
fn timed(rows: &[(i64, i64)]) -> FeedPage {
    let row = |(place, (time, ingested)): (usize, &(i64, i64))| Row {
        id: format!("{place} of {time}"),
        readable: true,
        spoiled: None,
        time: UnixMs(*time),
        ingested: Some(UnixMs(*ingested)),
        number: None,
        raw: "{}".into(),
    };
    FeedPage::new(rows.iter().enumerate().map(row).collect(), vec![None; rows.len()], More::End)
}

/// Returns the frontier of a first run that reads this page when the API's time is 1000.
fn frontier_after(rows: &[(i64, i64)]) -> i64 {
    let rules = Rules { clocks_apart: Duration::from_millis(500), ..rules() };
    let mut state = CoverageState::default();
    state.head_page(&rules, timed(rows), now(1000));
    state.coverage.unwrap().marks.frontier.0
}

#[test]
fn at_least_three_rows_must_show_that_the_rows_clock_is_ahead() {
    let ahead = [(1203, 1203), (1202, 1202), (1201, 1201), (1200, 1200)];
    assert_eq!(frontier_after(&ahead), 1201, "the third-latest `ingestedAt` counts as the present time");
    assert_eq!(frontier_after(&[(1203, 1203), (1202, 1202), (999, 999), (998, 998)]), 999, "two rows prove nothing");
    assert_eq!(frontier_after(&[(1203, 1000), (1202, 1000), (1201, 1000)]), 1000, "dated ahead, not ingested ahead");
    assert_eq!(frontier_after(&[(1000, 1203), (999, 1202), (998, 1201)]), 1000, "ingested ahead, not dated ahead");
    let years = [(9003, 9003), (9002, 9002), (9001, 9001), (9000, 9000)];
    assert_eq!(frontier_after(&years), 1000, "no clock is off by so much");
}

/// The request after a page of future rows fails, so the next poll reads the page again.
#[test]
fn a_first_run_counts_future_rows_once_although_it_reads_them_twice() {
    let mut state = CoverageState::default();
    let ahead: Vec<Row> = timed(&[(9001, 0), (9000, 0)]).into_rows().into_iter().map(|(row, _)| row).collect();
    for _ in 0..2 {
        state.head_cursor(&rules(), now(1000));
        let page = FeedPage::new(ahead.clone(), vec![None; 2], More::Cursor(Cursor("on".to_owned())));
        let step = state.head_page(&rules(), page, now(1000));
        assert_eq!(step.next, NextAction::Follow(Cursor("on".to_owned())));
    }
    state.head_page(&rules(), timed(&[(999, 0), (998, 0), (997, 0), (996, 0), (995, 0)]), now(1000));
    let median = 998;
    assert_eq!(state.coverage.unwrap().marks.watermark, UnixMs(median - 30), "the lookback is 30");
}

#[test]
fn a_sweep_reads_deeper_by_as_much_as_most_new_rows_are_behind() {
    let floor_after = |times: &[i64]| {
        let mut state = CoverageState::default();
        let rules = Rules { start: Start::Beginning, clocks_apart: Duration::from_millis(500), ..rules() };
        let mut poll = |page, tick| {
            state.head_cursor(&rules, now(tick));
            state.head_page(&rules, page, now(tick));
            state.walks().next().map(|walk| walk.deepest_floor().0)
        };
        poll(timed(&[(700, 700)]), 1000);
        let rows: Vec<(i64, i64)> = times.iter().map(|time| (*time, *time)).collect();
        poll(timed(&rows), 1010);
        // A sweep is due when this page of known rows comes. The page does not complete the sweep, so a walk is opened.
        let rows = timed(&[(2000, 2000), (1999, 1999)]).into_rows().into_iter().map(|(row, _)| row).collect();
        poll(FeedPage::new(rows, vec![Some(Seq(1)); 2], More::Cursor(Cursor("on".to_owned()))), 2000)
    };
    // The anchor is 1000, the lookback 30, and the margin 5. The rows of the first page show nothing about the clocks.
    assert_eq!(floor_after(&[1009, 1008, 1007, 996]), Some(965), "all rows may have come after the previous poll");
    assert_eq!(floor_after(&[810, 810, 810, 809]), Some(965 - 200), "the rows' clock is behind");
    assert_eq!(floor_after(&[1009, 1009, 1008, 800, 700]), Some(965), "a few rows came late");
    assert_eq!(floor_after(&[1400, 1300, 1008, 1007, 1006]), Some(965), "a few rows are dated ahead");
    assert_eq!(floor_after(&[1210, 1210, 1210, 1210, 1007]), Some(965), "the rows' clock is ahead: deeper than needed");
    assert_eq!(floor_after(&[1009, 400, 400, 400]), Some(965), "no clock is off by so much");
}
