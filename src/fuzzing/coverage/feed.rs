//! The feed of the fuzz target, controlled by the input. It either *lies* (gives any answers), or it shows an honest
//! list, with troubles that coverage must overcome.

use std::collections::HashMap;

use crate::domain::{Cursor, More, Row, UnixMs};
use crate::ingest::coverage::Now;
use crate::ingest::coverage::testbed::{
    Answer, Asker, CLOCKS_APART, Choices, CursorKind, Entry, Feed, List, Sort, Tie,
};

/// A feed whose faults are chosen by the input of the fuzz target.
pub(super) struct FaultyFeed {
    pub(super) list: List,
    /// How far the API's clock is ahead of the rows' clock.
    pub(super) skew: i64,
    /// Whether the feed has no more troubles, at the end of a run.
    pub(super) calm: bool,
    /// Whether the feed lies: it gives any answers.
    pub(super) lies: bool,
    /// How many empty pages each asker has got since its last page with rows. The relay believes no empty page before
    /// the third, so an honest feed gives at most two.
    empty_in_a_row: HashMap<Asker, u8>,
}

impl FaultyFeed {
    /// A feed without messages. The choices decide how it behaves.
    pub(super) fn new(choices: &mut impl Choices) -> Self {
        let lies = choices.chance(1.0 / 4.0);
        let has_ingested = !choices.chance(1.0 / 8.0);
        let sort = choices.pick(&[Sort::Received, Sort::Ingested]);
        let tie = if choices.chance(1.0 / 2.0) { Tie::HigherId } else { Tie::LowerId };
        let cursors = choices.pick(&[CursorKind::Place, CursorKind::RowElseRefused, CursorKind::Expiring(20)]);
        let list = List::new(sort, tie, cursors, has_ingested);
        Self { list, skew: 0, calm: false, lies, empty_in_a_row: HashMap::new() }
    }

    /// Adds a message of this time. Messages are numbered in the order in which they are added.
    pub(super) fn add(&mut self, time: i64, readable: bool) {
        let number = i64::try_from(self.list.entries.len()).unwrap_or(i64::MAX);
        self.list.add(number, time, readable, 0);
    }

    /// Whether a row is dated ahead, in a list that is sorted by `ingestedAt`. If the list were sorted by time, this
    /// row would stand higher.
    pub(super) fn is_out_of_order(&self, entry: &Entry) -> bool {
        self.list.sort == Sort::Ingested && entry.time > entry.ingested
    }

    /// Whether some rows are dated ahead by less than 1000 ticks. From such rows the relay may conclude that the rows'
    /// clock is ahead.
    pub(super) fn has_rows_ahead(&self) -> bool {
        self.list.entries.iter().any(|entry| (1..1000).contains(&(entry.time - entry.ingested)))
    }
}

impl Feed for FaultyFeed {
    fn now(&self) -> Now {
        Now { server: UnixMs(self.list.now + self.skew), local: UnixMs(self.list.now) }
    }

    fn frontier_limit(&self) -> UnixMs {
        let now = self.now();
        if self.lies { now.server.after(CLOCKS_APART) } else { now.server.max(now.local) }
    }

    fn is_calm(&self) -> bool {
        self.calm
    }

    fn messages(&self) -> usize {
        self.list.entries.len()
    }

    fn ask<C: Choices>(&mut self, choices: &mut C, asker: Asker, cursor: Option<&Cursor>) -> Answer {
        if self.lies && !self.calm {
            return lie(choices, self.list.now);
        }
        let fault = if self.calm { 0 } else { choices.below(32) };
        match (fault, cursor) {
            (1, _) => return Answer::Failed,
            (2, Some(_)) => return Answer::Refused,
            _ => {}
        }
        if let Some(answer) = cursor.and_then(|cursor| self.list.answer_to_dead_cursor(cursor)) {
            return answer;
        }
        let (rows, next) = self.list.page(cursor);
        let more = match (next, fault, cursor) {
            (None, ..) => More::End,
            (Some(_), 3, _) => More::Lost,
            (Some(_), 4, Some(same)) => More::Cursor(same.clone()),
            (Some(next), ..) => More::Cursor(next),
        };
        let empty = self.empty_in_a_row.entry(asker).or_default();
        if matches!(fault, 5 | 6) && *empty < 2 && !rows.is_empty() {
            *empty += 1;
            let more = if fault == 5 { More::End } else { more };
            return Answer::Page(Vec::new(), more);
        }
        if !rows.is_empty() {
            *empty = 0;
        }
        Answer::Page(rows, more)
    }
}

/// Returns an answer of a feed that lies: any page, a refusal or a failure.
fn lie(choices: &mut impl Choices, now: i64) -> Answer {
    let count = match choices.below(10) {
        0 => return Answer::Refused,
        1 => return Answer::Failed,
        2 => 0,
        _ => choices.below(8),
    };
    let rows = (0..count).map(|_| any_row(choices, now)).collect();
    let more = match choices.below(4) {
        0 => More::End,
        1 => More::Lost,
        _ => More::Cursor(Cursor(choices.below(20).to_string())),
    };
    Answer::Page(rows, more)
}

fn any_row(choices: &mut impl Choices, now: i64) -> Row {
    let readable = !choices.chance(1.0 / 16.0);
    let kind = if readable { "m" } else { "unreadable:" };
    let id = format!("{kind}{}", choices.below(256));
    let time = UnixMs(any_time(choices, now));
    let ingested = choices.chance(3.0 / 4.0).then(|| UnixMs(any_time(choices, now)));
    Row { id, readable, spoiled: None, time, ingested, number: None, raw: "{}".into() }
}

fn any_time(choices: &mut impl Choices, now: i64) -> i64 {
    match choices.below(16) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => any_number(choices),
        3 => now + 100_000,
        _ => now - choices.between(0, 256),
    }
}

fn any_number(choices: &mut impl Choices) -> i64 {
    (0..8).fold(0, |number, place| number | choices.between(0, 256) << (8 * place))
}
