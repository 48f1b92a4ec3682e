//! Single steps that the worlds meet too seldom to be told apart.

use std::collections::HashMap;
use std::time::Duration;

use super::{Next, Now, Page, Rules, State};
use crate::domain::{Cursor, More, Row, Seq, Start, StoreOp, UnixMs, WalkKind};

fn rules() -> Rules {
    let ticks = Duration::from_millis;
    Rules { margin: ticks(5), ..Rules::new(Start::Now, ticks(30), ticks(1000)) }
}

fn now(tick: i64) -> Now {
    Now { server: UnixMs(tick), local: UnixMs(tick) }
}

/// A list that is sorted by arrival, and what of it is stored.
struct List {
    /// Newest first: id and time.
    rows: Vec<(&'static str, i64)>,
    known: HashMap<String, Seq>,
}

impl List {
    /// Four rows from `from` on.
    fn page(&self, from: usize) -> Page {
        let shown: Vec<&(&str, i64)> = self.rows.iter().skip(from).take(4).collect();
        let rows = shown.iter().map(|(id, time)| Row {
            id: (*id).into(),
            readable: true,
            time: UnixMs(*time),
            ingested: None,
            number: None,
            raw: "{}".into(),
        });
        let known = shown.iter().map(|(id, _)| self.known.get(*id).copied()).collect();
        let more = if from + 4 < self.rows.len() { More::Cursor(Cursor(format!("{}", from + 4))) } else { More::End };
        Page::new(rows.collect(), known, more)
    }

    fn take(&mut self, ops: &[StoreOp]) {
        for op in ops {
            if let StoreOp::Insert(insert) = op {
                self.known.insert(insert.row.id.clone(), insert.seq);
            }
        }
    }

    /// A head poll and all that follows from it.
    fn poll(&mut self, state: &mut State, tick: i64) {
        let step = state.head_page(&rules(), self.page(0), now(tick));
        self.take(&step.ops);
        let open = |state: &State| state.walks().next().map(|walk| (walk.id, walk.cursor.clone()));
        while let Some((id, cursor)) = open(state) {
            let from = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
            let step = state.walk_page(&rules(), id, self.page(from), false, now(tick));
            self.take(&step.ops);
        }
    }
}

/// The first page ends in rows dated ahead, which more of them follow, and all of them are known.
fn known_rows_ahead() -> (List, State) {
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
    let mut state = State::default();
    list.poll(&mut state, 1003);
    list.poll(&mut state, 1004);
    assert_eq!(list.known.len(), list.rows.len());
    (list, state)
}

#[test]
fn a_page_that_ends_in_known_rows_dated_ahead_opens_no_gap_at_every_poll() {
    let (list, mut state) = known_rows_ahead();
    for tick in 1005..1050 {
        let step = state.head_page(&rules(), list.page(0), now(tick));
        assert_eq!(step.next, Next::Idle, "at {tick}");
        assert_eq!(state.walks().count(), 0, "at {tick}");
    }
}

#[test]
fn unknown_rows_dated_ahead_are_no_sign_of_having_arrived() {
    let (mut list, mut state) = known_rows_ahead();
    list.known.remove("ahead 3");
    let step = state.head_page(&rules(), list.page(0), now(1005));
    assert!(matches!(step.next, Next::FollowWalk(_)), "{:?}", step.next);
    let kinds: Vec<WalkKind> = state.walks().map(|walk| walk.kind).collect();
    assert_eq!(kinds, [WalkKind::Gap { sweep_floor: None, streaming: false }]);
}

#[test]
fn a_new_row_above_known_ones_dated_ahead_opens_a_gap_until_older_ones_are_met() {
    let (mut list, mut state) = known_rows_ahead();
    list.rows.insert(0, ("news", 1006));
    list.rows.remove(1);
    let step = state.head_page(&rules(), list.page(0), now(1006));
    assert!(matches!(step.next, Next::FollowWalk(_)), "{:?}", step.next);
}

#[test]
fn what_a_page_of_fewer_rows_would_show_is_shown_by_one_that_ends_in_known_rows_dated_ahead() {
    let (mut list, mut state) = known_rows_ahead();
    list.rows.insert(0, ("news", 1006));
    // As if `old` were above the block: it was stored before, and lies below the frontier.
    list.rows.retain(|(id, _)| *id != "old" && *id != "newest");
    list.rows.insert(1, ("old", 1000));
    let step = state.head_page(&rules(), list.page(0), now(1006));
    assert_eq!(step.next, Next::Idle);
    assert_eq!(state.walks().count(), 0);
    assert!(step.ops.iter().any(|op| matches!(op, StoreOp::Release { .. })), "{:?}", step.ops);
}

#[test]
fn a_poll_that_begins_behind_a_block_dated_ahead_vouches_for_when_the_block_was_met() {
    let ahead = ["ahead 1", "ahead 2", "ahead 3", "ahead 4"].map(|id| (id, 90_000));
    let old = [("old 1", 1000), ("old 2", 999), ("old 3", 900), ("old 4", 800), ("old 5", 700)];
    let mut list = List { rows: old.to_vec(), known: HashMap::new() };
    let mut state = State::default();
    list.poll(&mut state, 1002);
    list.rows.splice(0..0, ahead);
    list.poll(&mut state, 1003);
    // Everything is known, and from now on polls begin behind the block.
    assert_eq!(state.head_cursor(&rules(), now(2000)), None);
    let step = state.head_page(&rules(), list.page(0), now(2000));
    assert_eq!(step.next, Next::Follow(Cursor("4".to_owned())));
    list.take(&state.head_page(&rules(), list.page(4), now(2000)).ops);
    // Above it something comes that these polls do not see; meanwhile a sweep falls due, and one page is all of it.
    list.rows.insert(0, ("unseen", 2002));
    assert_eq!(state.head_cursor(&rules(), now(2500)), Some(Cursor("4".to_owned())));
    list.take(&state.head_page(&rules(), list.page(5), now(2500)).ops);
    let anchor = |state: &State| state.coverage.as_ref().unwrap().marks.anchor;
    assert_eq!(anchor(&state), UnixMs(2000), "the last time that all above was known");
    // It is looked at from the head again in time.
    assert_eq!(state.head_cursor(&rules(), now(3000)), None);
    let step = state.head_page(&rules(), list.page(0), now(3000));
    assert!(step.ops.iter().any(|op| matches!(op, StoreOp::Insert(insert) if insert.row.id == "unseen")));
}
