//! What one sink has claimed and not begun, and where more may be found.
//!
//! Invariants: claims are only read from the store, never written; dropping them leaves the store as it was, and they are
//! found again. A lane is asked for more only after something happened that may have put something there (a wake-up, a
//! due time, the slow poll), or while the last answer was not empty. Where the order of each number is kept there is at most
//! one claim for a number, the first of those that wait, and none while one is under way. What somebody asked for again
//! counts as a number of its own there, so that live messages do not wait for it.

use std::collections::{HashSet, VecDeque};

use super::lanes::{Lane, PerLane};
use super::options::Order;
use crate::domain::{Class, Seq, UnixMs};
use crate::store::{Chunk, Claim, Error, SinkId, Spool, Store};

/// So much is claimed at once, for each lane: it is all that waits in memory.
pub(super) const CHUNK: Chunk = Chunk { rows: 500, bytes: 1 << 20, details: false };

/// A probe needs one message.
pub(super) const ONE: Chunk = Chunk { rows: 1, bytes: 1, details: false };

/// See the module.
#[derive(Debug)]
pub(super) struct Queues {
    order: Order,
    claims: PerLane<VecDeque<Claim>>,
    look: PerLane<bool>,
    next_due: Option<UnixMs>,
}

/// What is not to be claimed now.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Under way, or to be written down.
    pub(super) seqs: HashSet<Seq>,
    /// Numbers with a delivery under way, where their order is kept.
    pub(super) numbers: HashSet<i64>,
}

/// What the store had.
#[derive(Default)]
struct Found {
    claims: PerLane<Vec<Claim>>,
    next_due: Option<UnixMs>,
}

impl Queues {
    /// Nothing is known yet.
    pub(super) fn new(order: Order) -> Self {
        let mut queues = Self { order, claims: PerLane::default(), look: PerLane::default(), next_due: None };
        queues.look_everywhere();
        queues
    }

    /// Something may have been put anywhere.
    pub(super) fn look_everywhere(&mut self) {
        self.look = PerLane { live: true, retry: true, backfill: true };
    }

    /// A delivery was put off until `due`.
    pub(super) fn expect_retry(&mut self, due: UnixMs) {
        self.next_due = Some(self.next_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Looks for retries if one is due by now.
    pub(super) fn note_time(&mut self, now: UnixMs) {
        if self.next_due.is_some_and(|due| due <= now) {
            self.next_due = None;
            self.look.retry = true;
        }
    }

    /// When the next retry falls due, as far as that is known.
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        self.next_due
    }

    /// Gives back what was claimed; it will be looked for again.
    pub(super) fn give_back(&mut self) {
        for lane in [Lane::Live, Lane::Retry, Lane::Backfill] {
            let claims = self.claims.get_mut(lane);
            if !claims.is_empty() {
                // The memory goes too: an outage may be long.
                *claims = VecDeque::new();
                *self.look.get_mut(lane) = true;
            }
        }
    }

    /// Which lanes have something to begin.
    pub(super) fn waiting(&self) -> PerLane<bool> {
        PerLane {
            live: !self.claims.live.is_empty(),
            retry: !self.claims.retry.is_empty(),
            backfill: !self.claims.backfill.is_empty(),
        }
    }

    /// Whether there is a lane of which only the store knows if something waits there.
    pub(super) fn must_look(&self) -> bool {
        let lanes = self.lanes_to_look_at();
        lanes.live || lanes.retry || lanes.backfill
    }

    fn lanes_to_look_at(&self) -> PerLane<bool> {
        let waiting = self.waiting();
        PerLane {
            live: self.look.live && !waiting.live,
            retry: self.look.retry && !waiting.retry,
            backfill: self.look.backfill && !waiting.backfill,
        }
    }

    /// Takes the next claim of a lane.
    pub(super) fn take(&mut self, lane: Lane) -> Option<Claim> {
        self.claims.get_mut(lane).pop_front()
    }

    /// Asks the store for what is waiting in lanes that ran empty. On an error nothing changes.
    pub(super) async fn look(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        taken: Taken,
    ) -> Result<(), Error> {
        match self.order {
            Order::None => self.look_for_any(store, sink, now, chunk, taken).await,
            Order::Number => self.look_for_first_of_each(store, sink, now, chunk, taken).await,
        }
    }

    async fn look_for_any(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        taken: Taken,
    ) -> Result<(), Error> {
        let wanted = self.lanes_to_look_at();
        let found = store
            .read(move |spool| {
                let skip = |seq| taken.seqs.contains(&seq);
                let mut found = Found::default();
                if wanted.live {
                    found.claims.live = spool.claim_fresh(sink, Class::Live, chunk, skip)?;
                }
                if wanted.retry {
                    found.claims.retry = spool.claim_retries(sink, now, chunk, skip)?;
                    found.next_due = spool.next_due(sink, now)?;
                }
                if wanted.backfill {
                    found.claims.backfill = spool.claim_fresh(sink, Class::Backfill, chunk, skip)?;
                }
                Ok(found)
            })
            .await?;
        for (lane, asked, found) in [
            (Lane::Live, wanted.live, found.claims.live),
            (Lane::Retry, wanted.retry, found.claims.retry),
            (Lane::Backfill, wanted.backfill, found.claims.backfill),
        ] {
            if asked {
                *self.look.get_mut(lane) = !found.is_empty();
                *self.claims.get_mut(lane) = found.into();
            }
        }
        if wanted.retry {
            self.next_due = found.next_due;
        }
        Ok(())
    }

    /// All lanes at once: which of them a number waits in depends on the first of its messages alone.
    async fn look_for_first_of_each(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: Chunk,
        mut taken: Taken,
    ) -> Result<(), Error> {
        for claims in [&self.claims.live, &self.claims.retry, &self.claims.backfill] {
            taken.numbers.extend(claims.iter().filter_map(|claim| claim.number));
        }
        let read = move |spool: &Spool| {
            let skip = |number, seq| taken.numbers.contains(&number) || taken.seqs.contains(&seq);
            spool.claim_first_of_each_number(sink, now, chunk, skip)
        };
        let firsts = store.read(read).await?;
        self.look = PerLane { live: firsts.more, retry: firsts.more, backfill: firsts.more };
        self.next_due = firsts.next_due;
        for claim in firsts.claims {
            let lane = match claim.class {
                // Also what was refused: that counts as no attempt.
                _ if claim.first_attempt.is_some() => Lane::Retry,
                Class::Live => Lane::Live,
                Class::Backfill => Lane::Backfill,
            };
            self.claims.get_mut(lane).push_back(claim);
        }
        Ok(())
    }
}
