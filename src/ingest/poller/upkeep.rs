//! The poller's regular work besides polls: correcting times, measuring the disk space, and maintenance.

use super::disk::SpaceCheck;
use super::{PollError, Poller};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::store;
use crate::time::Instant;

impl<F: Feed> Poller<F> {
    /// Once the right time is known: corrects the relay's time, and then all times that were recorded in the relay's
    /// time.
    pub(super) async fn tell_the_time(&mut self) -> Result<(), PollError> {
        if let Some(shift) = self.timing.put_right() {
            self.lanes.head.shift_times(shift);
            self.key_in_use.rebase(shift);
            self.report.shift_times(shift);
        }
        match self.follow_clock().await {
            Ok(()) => Ok(()),
            Err(error) if error.is_passing() => {
                // The next work that needs the disk will report the failure. Until the stored times are corrected, no
                // delivery is given up because of its age, and nothing is removed because of its age.
                tracing::debug!(%error, "the stored times cannot be corrected yet");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn follow_clock(&mut self) -> Result<(), store::Error> {
        let store = self.disk.store();
        if self.timing.follow(store, &mut self.state, &self.liveness).await? {
            // Wake delivery up, so that it reads its claimed deliveries again.
            (self.released)();
        }
        self.timing.remember_clock(store).await
    }

    /// Measures the space for the state, if this is due. Stops polling if space is short.
    pub(super) async fn check_space(&mut self) -> Result<(), PollError> {
        let now = self.clock.monotonic();
        match self.disk.check_space(now).await? {
            SpaceCheck::Unchanged => Ok(()),
            SpaceCheck::Recovered => {
                self.set_condition(Condition::Starting);
                self.lanes.head.wait_no_more(now);
                Ok(())
            }
            SpaceCheck::Short(shortage) => {
                self.set_condition(Condition::NoRoom(shortage.to_string()));
                self.release_held_rows(now).await
            }
        }
    }

    /// Releases the rows that open gaps hold. While space is short, gaps read no pages, so they would never release
    /// these rows. But space becomes free only when messages are delivered and then removed.
    async fn release_held_rows(&mut self, now: Instant) -> Result<(), PollError> {
        if !self.state.holds() || self.disk.is_stale() {
            return Ok(());
        }
        let at = self.estimated_now(now);
        let step = self.state.release_held_rows(&self.rules, at);
        match self.commit(step, at.local).await {
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "the messages that a catch-up holds cannot be handed on yet");
                self.disk.mark_stale(now);
                Ok(())
            }
            result => Ok(result.map(drop)?),
        }
    }

    /// Makes the next step of maintenance, whether it is due or not.
    pub(super) async fn maintain(&mut self) -> Result<(), PollError> {
        let at = self.clock.monotonic();
        if self.disk.is_stale() {
            self.disk.postpone_maintenance(at);
            return Ok(());
        }
        match self.maintenance_step(at).await {
            Ok(()) => {
                self.disk.end_maintenance_step(at, self.clock.monotonic());
                Ok(())
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "old messages could not be removed; trying again in a minute");
                self.disk.fail_maintenance(at);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Does the maintenance of a one-shot command before the command ends.
    pub(super) async fn maintain_once(&mut self) -> Result<(), PollError> {
        self.disk.begin_maintenance(self.clock.monotonic());
        for _ in 0..self.once.maintenance_steps() {
            if !self.disk.has_more_maintenance() {
                break;
            }
            self.maintain().await?;
        }
        Ok(())
    }

    async fn maintenance_step(&mut self, at: Instant) -> Result<(), store::Error> {
        let begins_round = self.disk.begin_maintenance_step(at);
        self.give_up_undecided().await?;
        let now = self.estimated_now(at);
        // Before the first answer the API's time is not known, so the watermark must not rise.
        if begins_round && self.lanes.head.last_poll().is_some() {
            let step = self.state.raise_watermark(&self.rules, now);
            self.commit(step, now.local).await?;
            let state = &self.state;
            self.lanes.background.forget_closed(|id| state.walks().any(|walk| walk.id == id));
        }
        let watermark = self.state.coverage.as_ref().map(|coverage| coverage.marks.watermark);
        let known_now = Some(now.local).filter(|_| self.clock.is_confirmed());
        self.disk.remove_old(now.local, known_now, watermark, self.rules.keep_newest).await
    }
}
