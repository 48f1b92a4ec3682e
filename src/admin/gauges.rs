//! Takes the gauges of the metrics from the status. Pure.

use crate::metrics::{DeadLetterCount, Gauges, PauseGauge, QueueGauge};
use crate::status::{ReadingKind, SinkSection, StatusReading, stands_by};

/// Returns the gauges of the moment at which the status was read.
pub(super) fn gauges(StatusReading { status, dead_letters, .. }: &StatusReading) -> Gauges {
    let coverage = status.coverage.as_ref();
    let walks = coverage.map_or(&[][..], |coverage| &coverage.walks);
    let replicas = status.replicas.as_ref();
    let views = || status.sinks.iter().map(|SinkSection { stored, .. }| stored);
    Gauges {
        budget_limit: status.budget.own.map(|own| own.limit),
        budget_remaining: status.budget.own.map(|own| own.left),
        last_poll_ms: status.polling.report.as_ref().and_then(|report| report.last_poll_at).map(|at| at.0),
        frontier_ms: coverage.map(|coverage| coverage.frontier.0),
        gaps: walks.iter().filter(|walk| walk.kind == ReadingKind::Gap).map(|_| 1).sum(),
        state_bytes: status.state.bytes,
        active: replicas.map(|_| status.relay.report.is_some() && !stands_by(status)),
        lease_seconds: replicas.and_then(|replicas| replicas.lease_seconds).map(|left| left.0.as_secs_f64()),
        epoch: replicas.and_then(|replicas| u64::try_from(replicas.epoch).ok()),
        version: status.version,
        queues: views()
            .map(|stored| QueueGauge {
                sink: stored.view.name.clone(),
                messages: stored.view.waiting,
                oldest_age_seconds: stored.oldest_waiting_age_seconds.map_or(0.0, |age| age.0.as_secs_f64()),
            })
            .collect(),
        pauses: views()
            .filter_map(|stored| Some(PauseGauge { sink: stored.view.name.clone(), reason: stored.view.pause?.reason }))
            .collect(),
        dead_letters: dead_letters
            .iter()
            .map(|dead| DeadLetterCount { sink: dead.sink.clone(), reason: dead.reason.clone(), count: dead.count })
            .collect(),
    }
}
