//! The messages that one sink has claimed but not begun to send, and the lanes for which the store may have more
//! messages.
//!
//! Invariants:
//! - Claims are read from the store and never written to it. If claims are dropped, the store is as before, and the
//!   same messages can be claimed again.
//! - The store is asked for more messages of a lane only in two cases: something may have put messages into the lane
//!   (after a wake-up, at a due time, at the slow poll), or the store's last answer for the lane was not empty.
//! - If the order of each number is kept, each number has two queues: one for its replayed messages, so that live
//!   messages do not wait for these, and one for all others. There is at most one claim from each queue: the first
//!   message that waits. While a message of a queue is under way, there is no claim from this queue.

use std::collections::{HashSet, VecDeque};

use super::lanes::{Lane, PerLane};
use super::settings::Order;
use crate::domain::{DeliveryClass, Seq, UnixMs};
use crate::store::{Claim, ClaimLimits, Error, SinkId, Spool, Store};

/// How many messages, and how many bytes, are claimed at once for each lane. If the sink keeps no order, no more
/// messages than these wait in memory. If it keeps the order of each number, more may wait, but at most one of each
/// queue.
pub(super) const CLAIM_BATCH: ClaimLimits = ClaimLimits { rows: 500, bytes: 1 << 20, details: false };

/// The claim limits while only a probe may begin: one message of each lane is enough to choose the probe's message.
pub(super) const PROBE_CLAIM: ClaimLimits = ClaimLimits { rows: 1, bytes: 1, details: false };

/// The claims of one sink, with a queue for each lane.
#[derive(Debug)]
pub(super) struct Queues {
    order: Order,
    claims: PerLane<VecDeque<Claim>>,
    /// Whether the store may have more messages for the lane.
    may_have_more: PerLane<bool>,
    /// When the next retry becomes due; `None`: no retry is known that becomes due later.
    next_due: Option<UnixMs>,
}

/// The messages and numbers that must not be claimed now.
#[derive(Debug, Default)]
pub(super) struct Excluded {
    /// Messages that are under way, or that were set aside because they are too old.
    pub(super) seqs: HashSet<Seq>,
    /// The keys of the queues that have a delivery under way, if the sink keeps the order of each number. (Each phone
    /// number then has a queue for its messages, and another one for its replayed messages.) For other sinks the set is
    /// not used.
    pub(super) numbers: HashSet<i64>,
}

/// The store's answer: the messages of the lanes for which the loop asked.
#[derive(Default)]
struct Found {
    claims: PerLane<Vec<Claim>>,
    next_due: Option<UnixMs>,
}

impl Queues {
    /// Makes empty queues. The next claim asks the store for messages of every lane.
    pub(super) fn new(order: Order) -> Self {
        let mut queues = Self { order, claims: PerLane::default(), may_have_more: PerLane::default(), next_due: None };
        queues.expect_claims_everywhere();
        queues
    }

    /// Notes that the store may have more messages for every lane.
    pub(super) fn expect_claims_everywhere(&mut self) {
        self.may_have_more = PerLane { live: true, retry: true, backfill: true };
    }

    /// Notes that a delivery is to be tried again at `due`.
    pub(super) fn expect_retry(&mut self, due: UnixMs) {
        self.next_due = Some(self.next_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Notes that the time is `now`. If a retry is due, the next claim asks the store for retries.
    pub(super) fn note_time(&mut self, now: UnixMs) {
        if self.next_due.is_some_and(|due| due <= now) {
            self.next_due = None;
            self.may_have_more.retry = true;
        }
    }

    /// Returns when the next retry becomes due; `None`: no retry is known that becomes due later.
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        self.next_due
    }

    /// Drops all claims. The store will be asked for the messages again.
    pub(super) fn give_back(&mut self) {
        for lane in [Lane::Live, Lane::Retry, Lane::Backfill] {
            let claims = self.claims.get_mut(lane);
            if !claims.is_empty() {
                // The memory is freed, too, because an outage may be long.
                *claims = VecDeque::new();
                *self.may_have_more.get_mut(lane) = true;
            }
        }
    }

    /// Returns for each lane whether it has a claim.
    pub(super) fn waiting(&self) -> PerLane<bool> {
        PerLane {
            live: !self.claims.live.is_empty(),
            retry: !self.claims.retry.is_empty(),
            backfill: !self.claims.backfill.is_empty(),
        }
    }

    /// Whether there is a lane without claims for which the store may have messages.
    pub(super) fn needs_claims(&self) -> bool {
        let lanes = self.lanes_without_claims();
        lanes.live || lanes.retry || lanes.backfill
    }

    fn lanes_without_claims(&self) -> PerLane<bool> {
        let waiting = self.waiting();
        PerLane {
            live: self.may_have_more.live && !waiting.live,
            retry: self.may_have_more.retry && !waiting.retry,
            backfill: self.may_have_more.backfill && !waiting.backfill,
        }
    }

    /// Takes the next claim of a lane out of the lane's queue.
    pub(super) fn take(&mut self, lane: Lane) -> Option<Claim> {
        self.claims.get_mut(lane).pop_front()
    }

    /// Asks the store for messages of the lanes that ran empty. On an error the queues stay as they are.
    pub(super) async fn claim(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: ClaimLimits,
        excluded: Excluded,
    ) -> Result<(), Error> {
        match self.order {
            Order::None => self.claim_in_any_order(store, sink, now, chunk, excluded).await,
            Order::Number => self.claim_first_of_each_number(store, sink, now, chunk, excluded).await,
        }
    }

    async fn claim_in_any_order(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: ClaimLimits,
        excluded: Excluded,
    ) -> Result<(), Error> {
        let wanted = self.lanes_without_claims();
        let found = store
            .read(move |spool| {
                let skip = |seq| excluded.seqs.contains(&seq);
                let mut found = Found::default();
                if wanted.live {
                    found.claims.live = spool.claim_fresh(sink, DeliveryClass::Live, chunk, &skip)?;
                }
                if wanted.retry {
                    found.claims.retry = spool.claim_retries(sink, now, chunk, &skip)?;
                    found.next_due = spool.next_due(sink, now)?;
                }
                if wanted.backfill {
                    found.claims.backfill = spool.claim_fresh(sink, DeliveryClass::Backfill, chunk, &skip)?;
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
                *self.may_have_more.get_mut(lane) = !found.is_empty();
                *self.claims.get_mut(lane) = found.into();
            }
        }
        if wanted.retry {
            self.next_due = found.next_due;
        }
        Ok(())
    }

    /// Asks the store for all lanes at once, since the first waiting message of a number decides in which lane the
    /// number waits.
    async fn claim_first_of_each_number(
        &mut self,
        store: &Store,
        sink: SinkId,
        now: UnixMs,
        chunk: ClaimLimits,
        mut excluded: Excluded,
    ) -> Result<(), Error> {
        for claims in [&self.claims.live, &self.claims.retry, &self.claims.backfill] {
            excluded.numbers.extend(claims.iter().filter_map(|claim| claim.number));
        }
        let read = move |spool: &Spool| {
            let skip = |number, seq| excluded.numbers.contains(&number) || excluded.seqs.contains(&seq);
            spool.claim_first_of_each_number(sink, now, chunk, &skip)
        };
        let firsts = store.read(read).await?;
        self.may_have_more = PerLane { live: firsts.more, retry: firsts.more, backfill: firsts.more };
        self.next_due = firsts.next_due;
        for claim in firsts.claims {
            let lane = match claim.class {
                // A refusal does not count as an attempt, but it sets `first_attempt`. So refused messages are retries,
                // too.
                _ if claim.first_attempt.is_some() => Lane::Retry,
                DeliveryClass::Live => Lane::Live,
                DeliveryClass::Backfill => Lane::Backfill,
            };
            self.claims.get_mut(lane).push_back(claim);
        }
        Ok(())
    }
}
