//! Housekeeping: the watermark rises, and what nobody needs any more goes.
//!
//! It comes once a minute, in steps of one short transaction each. After a burst many steps are needed; they come with
//! pauses, so that delivery has the store most of the time.

use std::time::Duration;

use super::{Poller, Trouble};
use crate::domain::{Seq, UnixMs, WalkId};
use crate::ingest::feed::Feed;
use crate::store::{self, Cutoffs, Place, Spool};
use crate::time::Instant;

/// Watermark, forgetting and retention.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// While room is short: whatever has been delivered meanwhile can go.
const SHORT: Duration = Duration::from_secs(2);

/// Between steps, each of which looks at 500 messages: a million is done in a few minutes.
const PAUSE: Duration = Duration::from_millis(50);

/// A round goes on where the last one ended. Now and then it begins at the oldest message again, for what was settled late:
/// after so many times what that takes, and in any case after this time.
const WHOLE_ROUNDS_TAKE: u32 = 60;
const FROM_THE_START: Duration = Duration::from_secs(3600);

/// At the end of a one-shot command so many steps are made at most, without pauses.
const STEPS_OF_ONCE: usize = 100;

/// What is done now and then, and how far it has come.
pub(super) struct Housekeeping {
    pub(super) due: Instant,
    /// When the next round begins.
    round: Instant,
    from_the_start: Instant,
    /// When the round began, if it began at the oldest message.
    whole_since: Option<Instant>,
    /// Where the round goes on; `None` = that part of it is done.
    drop_after: Option<Seq>,
    forget_after: Option<Place>,
    /// Where the next round begins.
    dropped_to: Seq,
    forgotten_to: Place,
    /// There is more to do at once.
    pub(super) has_more: bool,
}

impl Housekeeping {
    /// The first round begins in a minute, or `at_once`.
    pub(super) fn new(now: Instant, at_once: bool) -> Self {
        let first = if at_once { now } else { now + HOUSEKEEPING };
        Self {
            due: first,
            round: first,
            from_the_start: now,
            whole_since: None,
            drop_after: None,
            forget_after: None,
            dropped_to: Seq(0),
            forgotten_to: Place::START,
            has_more: false,
        }
    }

    /// A round from the oldest message on begins at once.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.begin_at(now);
        self.has_more = true;
    }

    fn begin_at(&mut self, at: Instant) {
        (self.due, self.round, self.from_the_start) = (at, at, at);
    }

    /// Begins a round, if it is time for one.
    fn begin(&mut self, now: Instant) -> bool {
        let begins = now >= self.round;
        if begins {
            self.round = now + HOUSEKEEPING;
            if now >= self.from_the_start {
                self.from_the_start = now + FROM_THE_START;
                self.whole_since = Some(now);
                (self.dropped_to, self.forgotten_to) = (Seq(0), Place::START);
            }
            (self.drop_after, self.forget_after) = (Some(self.dropped_to), Some(self.forgotten_to));
        }
        begins
    }

    /// The round is over.
    fn end(&mut self, now: Instant) {
        if let Some(began) = self.whole_since.take() {
            let took = now.saturating_duration_since(began);
            let apart = took.saturating_mul(WHOLE_ROUNDS_TAKE).clamp(HOUSEKEEPING, FROM_THE_START);
            self.from_the_start = self.from_the_start.min(began + apart);
        }
    }
}

impl<F: Feed> Poller<F> {
    /// Makes the next step, if one is due.
    pub(super) async fn keep_house(&mut self) -> Result<(), Trouble> {
        let at = self.clock.monotonic();
        if self.stale.is_some() {
            self.housekeeping.due = at + HOUSEKEEPING;
            return Ok(());
        }
        match self.tidy(at).await {
            Ok(()) => {
                if self.housekeeping.has_more {
                    self.housekeeping.due = at + PAUSE;
                    return Ok(());
                }
                self.housekeeping.end(self.clock.monotonic());
                // What went in this round, and what was given back.
                self.wipe_due = at;
                if self.room.sheds || self.room.shortage.is_some() {
                    self.housekeeping.begin_at(at + SHORT);
                } else {
                    self.housekeeping.due = self.housekeeping.round;
                }
                Ok(())
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "old messages could not be removed; trying again in a minute");
                self.stale = Some(at);
                self.housekeeping.has_more = false;
                self.housekeeping.due = at + HOUSEKEEPING;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a one-shot command does before it ends: it may never live for a minute.
    pub(super) async fn keep_house_once(&mut self) -> Result<(), Trouble> {
        self.housekeeping.begin_again(self.clock.monotonic());
        for _ in 0..STEPS_OF_ONCE {
            if !self.housekeeping.has_more {
                break;
            }
            self.keep_house().await?;
        }
        Ok(())
    }

    async fn tidy(&mut self, at: Instant) -> Result<(), store::Error> {
        let begins = self.housekeeping.begin(at);
        self.give_up_undecided().await?;
        let now = self.estimated_now(at);
        // Without an answer nobody knows the server's time.
        if begins && self.head.last_poll.is_some() {
            let step = self.state.raise_watermark(&self.rules, now);
            self.commit(step, now.local).await?;
            self.forget_closed_walks();
        }
        // As long as nobody knows what time it is, nothing goes because of its age.
        let known = Some(now.local).filter(|_| self.clock.is_confirmed());
        let cutoffs = Cutoffs {
            delivered: if self.room.sheds { Some(UnixMs::MAX) } else { self.keep_delivered.cutoff(known) },
            dead: self.keep_dead.cutoff(known),
        };
        if let Some(after) = self.housekeeping.drop_after {
            let dropped = self.store.write(move |spool| spool.drop_settled(cutoffs, after)).await?;
            if dropped.dead > 0 {
                tracing::info!(dead_letters = dropped.dead, "dead letters went: state.keep_dead is over");
            }
            self.housekeeping.drop_after = dropped.next;
            self.housekeeping.dropped_to = dropped.next.unwrap_or(self.housekeeping.dropped_to);
        }
        let watermark = self.state.coverage.as_ref().map(|coverage| coverage.marks.watermark);
        if let (Some(watermark), Some(after)) = (watermark, self.housekeeping.forget_after) {
            let keep = self.rules.keep_newest;
            let forgotten = self.store.write(move |spool| spool.forget_ids(watermark, keep, after)).await?;
            self.housekeeping.forget_after = forgotten.next;
            self.housekeeping.forgotten_to = forgotten.next.unwrap_or(self.housekeeping.forgotten_to);
        } else {
            self.housekeeping.forget_after = None;
        }
        let short = self.room.shortage.is_some();
        let gives_back = self.store.write(move |spool: &mut Spool| spool.give_back(short)).await?;
        let Housekeeping { drop_after, forget_after, .. } = &self.housekeeping;
        self.housekeeping.has_more = gives_back || drop_after.is_some() || forget_after.is_some();
        if self.room.sheds || short {
            self.room.stored = true;
        }
        Ok(())
    }

    fn forget_closed_walks(&mut self) {
        let open = |id: &WalkId| self.walk_cursor(*id).is_some();
        let closed: Vec<WalkId> = self.background.not_before.keys().copied().filter(|id| !open(id)).collect();
        for id in closed {
            self.background.not_before.remove(&id);
        }
    }
}
