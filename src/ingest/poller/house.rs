//! Housekeeping: the watermark rises, and what nobody needs any more goes.

use std::time::Duration;

use super::{Poller, Trouble};
use crate::domain::WalkId;
use crate::ingest::coverage::Now;
use crate::ingest::feed::Feed;
use crate::store::{self, Keep};

/// Watermark, forgetting and retention.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(60);

impl<F: Feed> Poller<F> {
    /// Raises the watermark, and lets go of what nobody needs.
    pub(super) async fn keep_house(&mut self) -> Result<(), Trouble> {
        let at = self.clock.monotonic();
        self.housekeeping.due = at + HOUSEKEEPING;
        if self.stale.is_some() || self.head.last_poll.is_none() {
            return Ok(());
        }
        let now = self.estimated_now(at);
        match self.tidy(now).await {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "old messages could not be removed; trying again in a minute");
                self.stale = Some(at);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    pub(super) async fn tidy(&mut self, now: Now) -> Result<(), store::Error> {
        let step = self.state.raise_watermark(&self.rules, now);
        self.commit(step, now.local).await?;
        let after = self.housekeeping.after;
        if let Keep::For(keep) = self.keep_delivered {
            let cutoff = now.local.before(keep);
            let next = self.store.write(move |spool| spool.drop_delivered(cutoff, after)).await?;
            self.housekeeping.after = next.unwrap_or_default();
        }
        if let Some(watermark) = self.state.coverage.as_ref().map(|coverage| coverage.marks.watermark) {
            let keep = self.rules.keep_newest;
            self.store.write(move |spool| spool.forget_ids(watermark, keep)).await?;
        }
        let open = |id: &WalkId| self.walk_cursor(*id).is_some();
        let closed: Vec<WalkId> = self.background.not_before.keys().copied().filter(|id| !open(id)).collect();
        for id in closed {
            self.background.not_before.remove(&id);
        }
        Ok(())
    }
}
