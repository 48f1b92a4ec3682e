//! What the poller says once: where it begins, who else uses the key, and that a one-shot command waits for the budget.

use std::time::Duration;

use super::{Mode, Poller};
use crate::domain::{Start, UnixMs};
use crate::ingest::feed::Feed;
use crate::ingest::report::Condition;
use crate::store::{self, Spool};
use crate::time::Instant;

/// A wait that is shorter is nothing that anybody wonders at.
const LONG: Duration = Duration::from_secs(2);

/// With --quiet, too, a wait of this length without a word looks as if the command hung.
const VERY_LONG: Duration = Duration::from_secs(30);

const BUDGET_WAIT: &str =
    "waiting for the request budget: it lets no request leave before then (api.requests_per_minute)";

/// What the budget holds up.
#[derive(Default)]
pub(super) struct BudgetWait {
    /// Until then, as found at the last look.
    pub(super) until: Option<Instant>,
    said: bool,
    warned: bool,
}

impl BudgetWait {
    pub(super) fn note(&mut self, until: Instant) {
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }
}

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

    /// Somebody waits for the end of a one-shot command: a silence is explained once, and once more if it is very long.
    pub(super) fn say_budget_wait(&mut self, now: Instant) {
        let idle = self.head.flight.is_none() && self.background.flight.is_none() && self.number_flight.is_none();
        let Some(until) = self.budget_wait.until.filter(|_| self.mode == Mode::Once && idle) else { return };
        let wait = until.saturating_duration_since(now);
        let wait_s = wait.as_secs().saturating_add(1);
        if wait >= VERY_LONG && !self.budget_wait.warned {
            (self.budget_wait.said, self.budget_wait.warned) = (true, true);
            tracing::warn!(wait_s, "{BUDGET_WAIT}");
        } else if wait >= LONG && !self.budget_wait.said {
            self.budget_wait.said = true;
            tracing::info!(wait_s, "{BUDGET_WAIT}");
        }
    }

    /// Shows that it is silent because the API wants it, and until when; a moment of it is not worth showing.
    pub(super) fn show_silence(&mut self, now: Instant) {
        let Some(until) = self.budget.window().silent_until(now) else { return };
        let wait = until.saturating_duration_since(now);
        let is_told = matches!(self.report.borrow().condition, Condition::Limited(_));
        // What is wrong beside it is worse.
        let is_well = matches!(self.report.borrow().condition, Condition::Starting | Condition::Polling);
        if wait >= LONG && (is_told || is_well) {
            let until = self.clock.machine_time().after(wait).0 / 1000 * 1000;
            self.set_condition(Condition::Limited(format!("rate limited until {}", UnixMs(until))));
        }
    }

    /// Tells of other programs on the key, and writes down that it did.
    pub(super) async fn watch_foreign(&mut self) -> Result<(), store::Error> {
        let found = self.budget.window().foreign_for_certain();
        let before = self.foreign_told;
        let mut tells = false;
        if found.windows != self.foreign_windows {
            self.foreign_windows = found.windows;
            tells = self.foreign_told.whole(found.before);
        }
        let requests = if tells { found.before } else { found.so_far };
        tells |= self.foreign_told.found(found.so_far);
        match (tells, self.foreign_told.requests) {
            (false, _) => {}
            (true, 0) => tracing::info!("no other program uses the API key any more"),
            (true, _) => {
                tracing::warn!(
                    requests_a_minute = requests,
                    "other programs use the same API key; leaving room for them"
                );
            }
        }
        let told = self.foreign_told.requests;
        if told == before.requests {
            return Ok(());
        }
        match self.store.write(move |spool| spool.remember_foreign_told(told)).await {
            // The next start tells of it again; whoever needs the disk will say so.
            Err(error) if error.is_passing() => Ok(()),
            result => result,
        }
    }
}
