//! Fuzzes coverage, with any sequence of pages, refusals, failures, deaths of the process, and waits.
//!
//! A feed either *lies*, that is, gives any answer, or it is honest, with some troubles. On a feed that lies, only the
//! invariants of [`Coverage`](crate::domain::Coverage) must hold: no sequence number is used twice, marks only rise,
//! and each held row is held by an open gap. On an honest feed, three more promises must hold: no row is released
//! twice, every new message arrives in the end, and no message from before the first run arrives.

mod feed;
mod store;

use std::collections::HashSet;

use super::bytes::Bytes;
use crate::domain::{Start, UnixMs, Walk};
use crate::ingest::coverage::testbed::{Choices, LOOKBACK, Relay, SWEEP, short_rules, ticks};
use feed::FaultyFeed;
use store::MemoryStore;

/// The most steps of an input; longer inputs show nothing new.
const STEPS: usize = 600;

/// Runs the steps of the input, then some time without trouble. Then checks which messages arrived.
pub fn coverage(bytes: &[u8]) {
    let bytes = &mut Bytes::new(bytes);
    let mut run = Run::new(bytes);
    for _ in 0..bytes.below(30) {
        run.feed.list.now = 1000 - bytes.between(0, 256);
        run.feed.add(run.feed.list.now, true);
    }
    run.feed.list.now = 1000;
    for ahead in 0..bytes.between(0, 16) {
        run.feed.add(run.feed.list.now + 100_000 + ahead, true);
    }
    for _ in 0..STEPS {
        if bytes.is_empty() {
            break;
        }
        run.step(bytes);
    }
    if run.feed.lies {
        return;
    }
    run.feed.calm = true;
    for _ in 0..LOOKBACK + 6 * SWEEP {
        run.feed.list.now += 1;
        run.head_poll(bytes, false);
        for _ in 0..3 {
            run.background(bytes, false);
        }
    }
    run.finish_walks(bytes);
    // Rows that came late after the last sweep was opened are found by the next sweep.
    for _ in 0..3 * SWEEP {
        run.feed.list.now += 1;
        run.head_poll(bytes, false);
        run.finish_walks(bytes);
    }
    run.judge();
}

/// A relay on a feed, and the messages that the relay has released.
struct Run {
    start: Start,
    feed: FaultyFeed,
    relay: Relay<MemoryStore>,
    released: HashSet<String>,
}

impl Run {
    fn new(choices: &mut impl Choices) -> Self {
        let mut feed = FaultyFeed::new(choices);
        let start = choices.pick(&[Start::Now, Start::Beginning, Start::Back(ticks(60)), Start::At(UnixMs(900))]);
        // A first run with `poll.start = "now"` finds out which rows are older than the run by comparing their times
        // with the API's clock. So in this case the rows' clock must agree with the API's clock.
        feed.skew = if start == Start::Now { 0 } else { choices.pick(&[0, -3, 3, -100, 100]) };
        let hold_limit = choices.pick(&[10_000, 8, 25]);
        let relay = Relay::new(short_rules(start, hold_limit), true, MemoryStore::default());
        Self { start, feed, relay, released: HashSet::new() }
    }

    fn step(&mut self, choices: &mut impl Choices) {
        let now = self.feed.list.now;
        match choices.below(16) {
            0 => (0..choices.below(12)).for_each(|_| self.feed.add(now, true)),
            1 => {
                let late = choices.between(0, LOOKBACK.into());
                let readable = !choices.chance(1.0 / 16.0);
                self.feed.add(now - late, readable);
            }
            2 => self.feed.add(now + choices.pick(&[1, 5, 50, 100_000]), true),
            3 => self.feed.list.vanish(choices.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8])),
            4 => self.feed.list.now += choices.between(0, 64),
            5 => self.relay.crash(choices),
            6 => {
                self.relay.forget(&self.feed);
                self.take_releases();
            }
            7..=10 => {
                self.feed.list.now += 1;
                let killed = choices.chance(1.0 / 32.0);
                self.head_poll(choices, killed);
            }
            _ => {
                let killed = choices.chance(1.0 / 32.0);
                self.background(choices, killed);
            }
        }
    }

    fn head_poll(&mut self, choices: &mut impl Choices, killed: bool) {
        self.relay.head_poll(&mut self.feed, choices, killed);
        self.take_releases();
    }

    /// Makes one background request. Returns `false` if no walk was ready.
    fn background(&mut self, choices: &mut impl Choices, killed: bool) -> bool {
        let asked = self.relay.background(&mut self.feed, choices, killed);
        self.take_releases();
        asked
    }

    /// Checks that no row is released twice. A feed that lies may show a forgotten row again with another time, so
    /// there the row may be released again.
    fn take_releases(&mut self) {
        for id in self.relay.take_releases().into_iter().flat_map(|release| release.queues).flatten() {
            assert!(self.released.insert(id.clone()) || self.feed.lies, "{id} was released twice");
        }
    }

    /// Returns a number of requests that is always enough to end all open walks, on a list that has no trouble and does
    /// not change.
    ///
    /// Neither the rows nor the clock change, so every cursor that is given out from now on works, and leads to older
    /// rows. A walk that has such a cursor never fails again: it reads at most the whole list, and every walk closes at
    /// the end of the list. Before it gets such a cursor, a walk has only cursors that were given out earlier: its
    /// present one, and the last few before that one (`Walk::trail`). Such a cursor may not work, and then it never
    /// works again. After two refusals or three empty answers the walk goes back to its previous cursor, and at last to
    /// the head. After at most six empty answers the relay believes that the list is empty.
    fn requests_left(&self) -> usize {
        let old_cursors = (1 + Walk::TRAIL) * 3;
        let each = old_cursors + self.feed.list.pages().max(6);
        self.relay.open_walks() * each
    }

    fn finish_walks(&mut self, choices: &mut impl Choices) {
        let most = self.requests_left();
        let idle = (0..=most).any(|_| !self.background(choices, false));
        assert!(idle, "a walk never ends: more than {most} requests");
    }

    /// Checks that every wanted message arrived, and no other.
    fn judge(&self) {
        let beginning = self.relay.beginning().expect("the relay never began");
        let feed = &self.feed;
        // A first run that starts at a certain time reads down to the first row that is older than this time. If the
        // list is sorted by `ingestedAt`, newer rows may lie below that row.
        let timed = matches!(self.start, Start::Back(_) | Start::At(_));
        // Coverage takes the median lag of the newest rows for the difference between the rows' clock and the API's
        // clock. If the two clocks differ, and some rows are dated ahead, this median may be wrong.
        let misled = feed.skew.abs() > 3 && feed.has_rows_ahead();
        for (place, entry) in feed.list.entries.iter().enumerate() {
            let released = self.released.contains(&entry.id());
            let wanted = match self.start {
                Start::Now => !beginning.found(place, entry, &feed.list),
                Start::Beginning => true,
                Start::Back(_) | Start::At(_) => entry.time >= beginning.watermark.0,
            };
            let there = !entry.gone && entry.readable;
            let unsure = timed && entry.ingested <= beginning.tick && feed.is_out_of_order(entry);
            assert!(released || !wanted || !there || unsure || misled, "lost: {} of {}", entry.id(), entry.time);
            // A first run with `poll.start = "now"` finds out by `ingestedAt` which rows are older than the run. If it
            // cannot know that a row is older, it releases the row, because an old message does less harm than a lost
            // one. There are three kinds of such rows: a row that came late, and was ingested after every row of the
            // first page, but before that page was read; a row without `ingestedAt`; and a row that is dated ahead and
            // lies deeper in the list than the first run had to read.
            let is_known_as_old = feed.list.has_ingested
                && UnixMs(entry.ingested) <= beginning.start_instant
                && !feed.is_out_of_order(entry);
            assert!(!released || wanted || !is_known_as_old, "old: {} of {}", entry.id(), entry.time);
        }
    }
}
