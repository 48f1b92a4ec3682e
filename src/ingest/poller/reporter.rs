//! Snapshots of how polling is going, for the service manager and for people.

use tokio::sync::watch;

use crate::domain::{Coverage, UnixMs};
use crate::ingest::report::{Condition, PollReport};

/// The publisher of snapshots. Watchers are woken when the condition, coverage, the time of the last poll or the
/// catch-up has changed. A change of other fields alone does not wake them, except a correction of the relay's time.
#[derive(Debug)]
pub(super) struct PollReporter {
    sender: watch::Sender<PollReport>,
}

impl PollReporter {
    pub(super) fn new() -> Self {
        Self { sender: watch::Sender::new(PollReport::default()) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<PollReport> {
        self.sender.subscribe()
    }

    pub(super) fn condition(&self) -> Condition {
        self.sender.borrow().condition.clone()
    }

    /// Publishes the condition. If it differs from the published one, it begins at `now`, by the relay's time. Returns
    /// whether it differs.
    pub(super) fn set_condition(&self, condition: Condition, now: UnixMs) -> bool {
        self.sender.send_if_modified(|report| {
            let is_new = report.condition != condition;
            if is_new {
                report.since = Some(now);
            }
            report.condition = condition;
            is_new
        })
    }

    /// Publishes `coverage`, and the fields of `found` except `condition`, `since` and `coverage`. The published
    /// condition and its `since` stay as they are.
    pub(super) fn publish(&self, found: PollReport, coverage: Option<&Coverage>) {
        self.sender.send_if_modified(|report| {
            let covers_as_before = report.coverage.as_ref() == coverage;
            let is_new =
                !covers_as_before || report.last_poll_at != found.last_poll_at || report.catch_up != found.catch_up;
            let (condition, since) = (std::mem::take(&mut report.condition), report.since);
            let coverage = if covers_as_before { report.coverage.take() } else { coverage.cloned() };
            *report = PollReport { condition, since, coverage, ..found };
            is_new
        });
    }

    /// Records that the relay's time was corrected by `shift` milliseconds.
    pub(super) fn shift_times(&self, shift: i64) {
        let moved = |at: UnixMs| UnixMs(at.0.saturating_add(shift));
        self.sender.send_modify(|report| {
            report.since = report.since.map(moved);
            report.last_poll_at = report.last_poll_at.map(moved);
            report.key_since = report.key_since.map(moved);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::report::ApiBudget;

    #[test]
    fn a_new_condition_or_poll_wakes_watchers_and_a_new_budget_does_not() {
        let reporter = PollReporter::new();
        let mut watcher = reporter.subscribe();
        assert!(reporter.set_condition(Condition::Polling, UnixMs(5)));
        assert!(watcher.has_changed().unwrap());
        assert_eq!(watcher.borrow_and_update().since, Some(UnixMs(5)));
        assert!(!reporter.set_condition(Condition::Polling, UnixMs(9)), "the condition is not new, so `since` stays");
        let budget = ApiBudget { foreign: 7, ..ApiBudget::default() };
        reporter.publish(PollReport { budget, ..PollReport::default() }, None);
        assert!(!watcher.has_changed().unwrap(), "a change of the budget wakes nobody");
        assert_eq!((watcher.borrow().budget.foreign, watcher.borrow().since), (7, Some(UnixMs(5))));
        reporter.publish(PollReport { last_poll_at: Some(UnixMs(9)), ..PollReport::default() }, None);
        assert!(watcher.has_changed().unwrap());
        assert_eq!(reporter.condition(), Condition::Polling);
        reporter.shift_times(-5);
        let report = watcher.borrow().clone();
        assert_eq!((report.since, report.last_poll_at), (Some(UnixMs(0)), Some(UnixMs(4))));
    }
}
