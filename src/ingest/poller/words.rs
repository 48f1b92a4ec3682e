//! What the poller says once: where it begins, and who else uses the key.

use super::Poller;
use crate::domain::Start;
use crate::ingest::feed::Feed;
use crate::store::{self, Spool};

impl<F: Feed> Poller<F> {
    pub(super) async fn say_start(&mut self) -> Result<(), store::Error> {
        let account = self.store.read(Spool::account).await?;
        let configured = self.rules.start.to_string();
        match (&self.state.coverage, account.start) {
            (Some(coverage), began) => {
                tracing::info!(
                    read_up_to = %coverage.marks.frontier,
                    unread_stretches = coverage.walks.len(),
                    "resuming where the state left off"
                );
                if began.is_some_and(|began| began != configured) {
                    tracing::info!(poll.start = configured, "poll.start only counts on a first run and is ignored now");
                }
            }
            (None, _) => tracing::info!(poll.start = configured, "first run on this state"),
        }
        Ok(())
    }

    pub(super) fn say_begun(&self, total: Option<u64>) {
        let Some(coverage) = &self.state.coverage else { return };
        let started = coverage.marks;
        match (self.rules.start, total) {
            (Start::Now, Some(total)) => tracing::info!(
                older_messages = total,
                "relaying what comes from now on; older messages are not relayed (poll.start = \"beginning\" would)"
            ),
            (Start::Now, None) => tracing::info!("relaying what comes from now on"),
            _ => tracing::info!(from = %started.watermark, "relaying messages received from then on"),
        }
    }

    pub(super) fn watch_foreign(&mut self) {
        let foreign = self.budget.window().foreign();
        let heavy = foreign >= 5;
        if heavy && !self.foreign_said {
            tracing::warn!(requests_a_minute = foreign, "other programs use the same API key; leaving room for them");
        }
        self.foreign_said = heavy;
    }
}
