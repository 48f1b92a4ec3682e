//! Commits the changes that follow from a page, and loads the state: at the start, and again after a failed commit.
//! [`PollChange`](crate::domain::PollChange) lists the kinds of changes; which changes follow from a page is decided in
//! `ingest/coverage/mod.rs` (`Draft`).

use super::{Ending, PollError, Poller};
use crate::domain::UnixMs;
use crate::ingest::coverage::{NextAction, Step};
use crate::ingest::feed::Feed;
use crate::store::{self, Spool, UndecidedScope};

impl<F: Feed> Poller<F> {
    /// Loads the state, and decides the deliveries that earlier processes or a failed commit have left undecided.
    pub(super) async fn load(&mut self) -> Result<(), store::Error> {
        self.state = self.disk.load().await?;
        // The count of replays is read before the decision. So if a command asks for a replay in between, the next
        // `check_replays` finds a different count, and decides again.
        let replays = self.disk.store().read(Spool::replay_count).await?;
        self.replays.note_decided(replays);
        // The sinks may need other details of numbers now than when the deliveries were left undecided. So all of them
        // are decided again, not only those whose number has become known.
        self.decide(UndecidedScope::All).await?;
        self.disk.note_loaded();
        self.lanes.head.next_poll_from_head();
        Ok(())
    }

    /// Loads the state again if the copy in memory is stale, and the instant from which it may be loaded has come.
    pub(super) async fn reload(&mut self) -> Result<Option<Ending>, PollError> {
        let now = self.clock.monotonic();
        if self.disk.reload_at().is_none_or(|at| at > now) {
            return Ok(None);
        }
        match self.load().await {
            Err(error) if error.is_passing() => {
                let failures = self.lanes.head.count_failure();
                self.disk.mark_stale(now + self.backoff.wait(failures));
                tracing::debug!(%error, "the state cannot be read again yet");
                Ok(self.once.gives_up(failures, error))
            }
            result => {
                result?;
                Ok(None)
            }
        }
    }

    /// Carries out the changes of a step, at `now` by the relay's time.
    pub(super) async fn commit(&mut self, step: Step, now: UnixMs) -> Result<NextAction, store::Error> {
        let (news, anomalies) = (step.news(), step.anomalies());
        let releases = self.disk.commit(step.changes, now).await?;
        self.metrics.messages_stored(news);
        anomalies.into_iter().for_each(|anomaly| self.metrics.anomaly_met(anomaly));
        if releases {
            (self.released)();
            self.check_undecided().await?;
        }
        Ok(step.next)
    }
}
