//! A feed with every reading of the API that we could think of, in ticks of one millisecond.

use std::collections::HashMap;

use super::random::Random;
use crate::domain::{Cursor, More, Row, Spoiled, UnixMs};

/// Rows a page.
pub(super) const PAGE: usize = 5;

/// What the feed is ordered by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sort {
    Received,
    Ingested,
    /// By the time of receipt, off by up to two ticks.
    Noisy,
}

/// Which of two rows with the same time comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tie {
    HigherId,
    LowerId,
    LaterStored,
}

/// What a cursor is tied to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cursors {
    /// A place in the order: it always works.
    Place,
    /// A row: once that is gone, an empty page.
    RowElseEmpty,
    /// A row: once that is gone, refused.
    RowElseRefused,
    /// Refused after so many ticks.
    Expiring(i64),
}

/// One world. Chances are per request or per tick.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) sort: Sort,
    pub(super) tie: Tie,
    pub(super) cursors: Cursors,
    pub(super) refuse: f64,
    pub(super) empty: f64,
    pub(super) empty_head: f64,
    /// Empty pages behind a cursor that lead on.
    pub(super) hollow: f64,
    pub(super) unreadable_page: f64,
    pub(super) lost_cursor: f64,
    pub(super) same_cursor: f64,
    /// Pages that no cursor leads past for 60 ticks at a time.
    pub(super) blocked: bool,
    pub(super) unreadable_row: f64,
    /// Rows that are no JSON when they appear, and are mended some ticks later.
    pub(super) spoiled_row: f64,
    pub(super) no_ingested: bool,
    pub(super) ahead_before: usize,
    pub(super) before: usize,
    pub(super) ties: bool,
    pub(super) late: f64,
    pub(super) ahead: f64,
    /// A page and more of rows dated ahead at once.
    pub(super) ahead_at_once: f64,
    pub(super) vanish: f64,
    pub(super) crash: f64,
    pub(super) down: bool,
    pub(super) background: u64,
    /// Only one tick in so many has background requests.
    pub(super) starve: u64,
    pub(super) forget: bool,
    /// How far the server's clock is ahead of that of the rows.
    pub(super) skew: i64,
    /// From this tick on it is another.
    pub(super) jump: Option<(i64, i64)>,
    pub(super) start: super::Begin,
    pub(super) hold_limit: u64,
}

impl World {
    /// How far the server's clock is ahead at a tick.
    pub(super) fn skew_at(&self, tick: i64) -> i64 {
        self.jump.filter(|(from, _)| *from <= tick).map_or(self.skew, |(_, skew)| skew)
    }

    /// Whether rows show up in the order of their times, so that none has to be found by a sweep, and no gap is so long
    /// that it streams.
    pub(super) fn is_punctual(&self) -> bool {
        self.sort == Sort::Received && self.late == 0.0 && self.hold_limit > 1000
    }
}

/// A row of the feed.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) time: i64,
    pub(super) ingested: i64,
    pub(super) gone: bool,
    pub(super) readable: bool,
    /// Until then it is no JSON.
    pub(super) spoiled_until: i64,
}

impl Entry {
    pub(super) fn id(&self) -> String {
        if self.readable { format!("m{}", self.number) } else { format!("unreadable:{}", self.number) }
    }
}

/// What a request came to.
pub(super) enum Answer {
    Page(Vec<Row>, More),
    Refused,
    Failed,
}

type Key = (i64, i64, u64);

pub(super) struct Feed {
    pub(super) world: World,
    pub(super) entries: Vec<Entry>,
    pub(super) now: i64,
    numbers: HashMap<u64, usize>,
    /// All is well from here on: the end of a run.
    pub(super) calm: bool,
}

impl Feed {
    pub(super) fn new(world: World) -> Self {
        Self { world, entries: Vec::new(), now: 1000, numbers: HashMap::new(), calm: false }
    }

    pub(super) fn add(&mut self, random: &mut Random, time: i64) {
        let mut number = random.below(1_000_000_000);
        while self.numbers.contains_key(&number) {
            number = random.below(1_000_000_000);
        }
        self.numbers.insert(number, self.entries.len());
        let readable = !random.chance(self.world.unreadable_row);
        // Asked only where it matters, so that the other worlds stay as they are.
        let spoiled = self.world.spoiled_row > 0.0 && random.chance(self.world.spoiled_row);
        // Mended later than the lookback it would be lost like any other row that is as late.
        let latest = time.min(self.now) + i64::try_from(super::LOOKBACK).unwrap() - 1;
        let spoiled_until = if spoiled { latest.min(self.now + random.between(1, 15)) } else { 0 };
        self.entries.push(Entry { number, time, ingested: self.now, gone: false, readable, spoiled_until });
    }

    pub(super) fn time_of(&self, id: &str) -> i64 {
        let number: u64 = id.trim_start_matches('m').parse().unwrap();
        self.entries[self.numbers[&number]].time
    }

    /// The newest rows disappear.
    pub(super) fn vanish(&mut self, count: usize) {
        let mut order: Vec<usize> = (0..self.entries.len()).filter(|&place| !self.entries[place].gone).collect();
        order.sort_by_key(|&place| std::cmp::Reverse(self.key(&self.entries[place])));
        for place in order.into_iter().take(count) {
            self.entries[place].gone = true;
        }
    }

    fn key(&self, entry: &Entry) -> Key {
        let id = i64::try_from(entry.number).unwrap();
        let main = match self.world.sort {
            Sort::Received => entry.time,
            Sort::Ingested => entry.ingested,
            Sort::Noisy => entry.time + id % 5 - 2,
        };
        let tie = match self.world.tie {
            Tie::HigherId => id,
            Tie::LowerId => -id,
            Tie::LaterStored => entry.ingested,
        };
        (main, tie, entry.number)
    }

    /// Answers as the API would, and as the world has it.
    pub(super) fn ask(&self, random: &mut Random, cursor: Option<&Cursor>) -> Answer {
        let after = cursor.map(|cursor| self.read_cursor(cursor));
        let fault = |random: &mut Random, chance: f64| !self.calm && random.chance(chance);
        if fault(random, self.world.unreadable_page) {
            return Answer::Failed;
        }
        if let Some((after, made)) = after {
            let gone = self.entries[self.numbers[&after.2]].gone;
            match self.world.cursors {
                Cursors::RowElseEmpty if gone => return Answer::Page(Vec::new(), More::End),
                Cursors::RowElseRefused if gone => return Answer::Refused,
                Cursors::Expiring(ticks) if self.now - made > ticks => return Answer::Refused,
                _ => {}
            }
            if fault(random, self.world.refuse) {
                return Answer::Refused;
            }
            if fault(random, self.world.empty) {
                return Answer::Page(Vec::new(), More::End);
            }
            if self.world.blocked && !self.calm && (self.now / 60) % 2 == 0 && after.0 % 7 == 0 {
                return Answer::Page(Vec::new(), More::Lost);
            }
        } else if fault(random, self.world.empty_head) {
            return Answer::Page(Vec::new(), More::End);
        }
        let mut keys: Vec<Key> = self.entries.iter().filter(|entry| !entry.gone).map(|entry| self.key(entry)).collect();
        if let Some((after, _)) = after {
            keys.retain(|key| *key < after);
        }
        keys.sort_unstable_by(|left, right| right.cmp(left));
        let more = match keys.get(PAGE) {
            None => More::End,
            Some(_) if fault(random, self.world.lost_cursor) => More::Lost,
            Some(_) if cursor.is_some() && fault(random, self.world.same_cursor) => {
                More::Cursor(cursor.cloned().unwrap())
            }
            Some(_) => More::Cursor(self.write_cursor(keys[PAGE - 1])),
        };
        let leads_on = cursor.is_some() && matches!(more, More::Cursor(_));
        if leads_on && self.world.hollow > 0.0 && fault(random, self.world.hollow) {
            return Answer::Page(Vec::new(), more);
        }
        let mut rows: Vec<Row> =
            keys.iter().take(PAGE).map(|key| self.row(&self.entries[self.numbers[&key.2]])).collect();
        // The time of a spoiled row is that of the row above it, or below it.
        let first = rows.iter().find(|row| row.spoiled.is_none()).map(|row| row.time);
        let mut above = first.unwrap_or(UnixMs(self.now));
        for row in &mut rows {
            if row.spoiled.is_some() {
                row.time = above;
            }
            above = row.time;
        }
        Answer::Page(rows, more)
    }

    fn row(&self, entry: &Entry) -> Row {
        let is_spoiled = self.now < entry.spoiled_until;
        let spoiled = || Box::new(Spoiled { id: None, place: 1, wrong: String::new() });
        Row {
            id: if is_spoiled { format!("unreadable:{}", entry.number) } else { entry.id() },
            readable: entry.readable && !is_spoiled,
            spoiled: is_spoiled.then(spoiled),
            time: UnixMs(entry.time),
            ingested: (!self.world.no_ingested && !is_spoiled).then_some(UnixMs(entry.ingested)),
            number: None,
            raw: format!("{{\"id\":\"{}\"}}", entry.id()).into_boxed_str(),
        }
    }

    fn write_cursor(&self, (main, tie, number): Key) -> Cursor {
        Cursor(format!("{main}:{tie}:{number}:{}", self.now))
    }

    fn read_cursor(&self, cursor: &Cursor) -> (Key, i64) {
        let parts: Vec<i64> = cursor.0.split(':').map(|part| part.parse().unwrap()).collect();
        ((parts[0], parts[1], parts[2].unsigned_abs()), parts[3])
    }
}
