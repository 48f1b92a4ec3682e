//! What one sink has claimed and not begun, and where more may be found.
//!
//! Invariants: claims are only read from the store, never written; dropping them leaves the store as it was, and they are
//! found again. A lane is asked for more only after something happened that may have put something there (a wake-up, a
//! due time, the slow poll), or while the last answer was not empty.

use std::collections::{HashSet, VecDeque};

use super::lanes::{Lane, PerLane};
use crate::domain::{Class, Seq, UnixMs};
use crate::store::{Chunk, Claim, Error, SinkId, Store};

/// So much is claimed at once, for each lane: it is all that waits in memory.
pub(super) const CHUNK: Chunk = Chunk { rows: 500, bytes: 1 << 20 };

/// A probe needs one message.
pub(super) const ONE: Chunk = Chunk { rows: 1, bytes: 1 };

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queues {
    claims: PerLane<VecDeque<Claim>>,
    look: PerLane<bool>,
    next_due: Option<UnixMs>,
}

impl Queues {
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
        in_flight: HashSet<Seq>,
    ) -> Result<(), Error> {
        let wanted = self.lanes_to_look_at();
        let (found, next_due) = store
            .read(move |spool| {
                let skip = |seq| in_flight.contains(&seq);
                let mut found = PerLane::<Vec<Claim>>::default();
                let mut next_due = None;
                if wanted.live {
                    found.live = spool.claim_fresh(sink, Class::Live, chunk, skip)?;
                }
                if wanted.retry {
                    found.retry = spool.claim_retries(sink, now, chunk, skip)?;
                    next_due = spool.next_due(sink, now)?;
                }
                if wanted.backfill {
                    found.backfill = spool.claim_fresh(sink, Class::Backfill, chunk, skip)?;
                }
                Ok((found, next_due))
            })
            .await?;
        for (lane, asked, found) in [
            (Lane::Live, wanted.live, found.live),
            (Lane::Retry, wanted.retry, found.retry),
            (Lane::Backfill, wanted.backfill, found.backfill),
        ] {
            if asked {
                *self.look.get_mut(lane) = !found.is_empty();
                *self.claims.get_mut(lane) = found.into();
            }
        }
        if wanted.retry {
            self.next_due = next_due;
        }
        Ok(())
    }
}
