//! Coverage: any sequence of pages, refusals, failures, kills and waits.
//!
//! If the feed lies, only the invariants are asked for (see [`Coverage`](crate::domain::Coverage)): numbers are used once,
//! marks only rise, a held row is held by an open gap, nothing is released twice. If the feed is honest, every message
//! must also arrive in the end, whatever troubles the feed has, and no message that was there before.

mod feed;
mod store;

use std::collections::HashSet;

use super::bytes::Bytes;
use crate::domain::{Start, UnixMs, Walk};
use crate::ingest::coverage::testbed::{Choices, LOOKBACK, Relay, SWEEP, short_rules, ticks};
use feed::FaultyFeed;
use store::MemoryStore;

/// Longer inputs say nothing new.
const STEPS: usize = 600;

/// Takes the steps that the bytes say, then lets all be well for a while, and looks at what became of the messages.
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
    // A sweep that ended only now was opened long ago: what came late behind it is for the next one.
    for _ in 0..3 * SWEEP {
        run.feed.list.now += 1;
        run.head_poll(bytes, false);
        run.finish_walks(bytes);
    }
    run.judge();
}

/// A relay on a feed, and what it released.
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
        // What was there before is told by the server's clock, which stamps the rows too.
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

    /// One background request. Returns false if there was nothing to do.
    fn background(&mut self, choices: &mut impl Choices, killed: bool) -> bool {
        let asked = self.relay.background(&mut self.feed, choices, killed);
        self.take_releases();
        asked
    }

    /// Nothing is released twice. Of a feed that lies, a row that was forgotten may come again with another time.
    fn take_releases(&mut self) {
        for id in self.relay.take_releases().into_iter().flat_map(|release| release.queues).flatten() {
            assert!(self.released.insert(id.clone()) || self.feed.lies, "{id} was released twice");
        }
    }

    /// No more requests than these can pass before the last open walk ends, on a calm list that stands still.
    ///
    /// Rows and clock do not change any more, so a cursor that is given out from now on works, and leads to rows that
    /// come later in the list than all before them. A walk that has got one never fails again: it reads at most the
    /// whole list, and at its end every walk closes. Until then it has only the cursors that it came with, its own and
    /// its trail. The answers to one of them do not change either: it is refused twice, or is empty three times, and the
    /// walk goes on to the one before, at last to the head. If the list is empty, that is believed by the sixth answer.
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

    /// Every message that was wanted arrived, and no other.
    fn judge(&self) {
        let beginning = self.relay.beginning().expect("the relay never began");
        let feed = &self.feed;
        // A first run that starts at a time reads down to it, where it may be in a list that is out of order.
        let timed = matches!(self.start, Start::Back(_) | Start::At(_));
        // By how much clocks are apart is told by what most rows say, and here most may be dated wrongly.
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
            // A first run that starts now tells by ingestedAt what was there. Of what came late, between the newest row of
            // its first page and that page, it repeats rather than loses; and all, if there is no ingestedAt. So it does with
            // what is dated ahead and lies deeper in the list than it had to read then.
            let told = feed.list.has_ingested
                && UnixMs(entry.ingested) <= beginning.start_instant
                && !feed.is_out_of_order(entry);
            assert!(!released || wanted || !told, "old: {} of {}", entry.id(), entry.time);
        }
    }
}
