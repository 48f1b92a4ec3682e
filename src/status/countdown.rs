//! What a running relay does next, and when. The functions are pure.

use std::time::Duration;

use super::fields::Status;
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::UnixMs;
use crate::ingest::Condition;
use crate::store::SinkView;

/// Returns the time until the next poll; zero if the poll is due. `None` if no relay runs, or if polling does not go on
/// regularly at present, for example because the API cannot be reached.
pub fn next_poll_in(status: &Status) -> Option<Duration> {
    let polling = &status.polling;
    let is_polling = polling.report.as_ref().is_some_and(|report| report.condition == Condition::Polling);
    let age = polling.last_poll_age_seconds.filter(|_| status.relay.running && is_polling)?.0;
    Some((polling.interval_seconds?.0 + polling.slowed_by).saturating_sub(age))
}

/// Returns the instant for which the running relay waits before its next attempt at this sink: when the first retry is
/// due, when the sink's silence ends, or when the breaker allows the next probe. Returns `None` if the relay waits for
/// none of these, if the sink is paused, or if no running relay sends to it. `live`: the relay's report about the sink.
pub fn next_attempt(view: &SinkView, live: Option<&SinkStatus>) -> Option<UnixMs> {
    let live = live.filter(|_| view.pause.is_none() && view.waiting > 0)?;
    // If a message waits that was never attempted, the sink's next attempt need not wait for a retry.
    let due = view.next_retry.filter(|_| view.retrying == view.waiting);
    match live.blocked_by {
        None => view.next_retry,
        Some(BlockedBy::Pause(_)) => None,
        Some(BlockedBy::Silence { until }) => Some(due.map_or(until, |due| until.max(due))),
        Some(BlockedBy::Breaker { next_probe }) => {
            let probe = next_probe.unwrap_or(UnixMs::MIN);
            Some(due.map_or(probe, |due| probe.max(due)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PauseReason;
    use crate::store::Pause;

    #[test]
    fn a_blocked_sink_waits_for_the_end_of_the_block_and_for_the_retry() {
        let view = |waiting, retrying, next_retry: i64| SinkView {
            waiting,
            retrying,
            next_retry: (retrying > 0).then_some(UnixMs(next_retry)),
            ..SinkView::default()
        };
        let silence = |until| Some(BlockedBy::Silence { until: UnixMs(until) });
        let probe = |at: Option<i64>| Some(BlockedBy::Breaker { next_probe: at.map(UnixMs) });
        for (view, blocked_by, expected) in [
            (view(0, 0, 0), None, None),
            (view(3, 0, 0), None, None),
            (view(3, 2, 50), None, Some(50)),
            (view(0, 0, 0), probe(Some(9)), None),
            (view(3, 2, 50), probe(Some(9)), Some(9)),
            (view(2, 2, 50), probe(Some(9)), Some(50)),
            (view(2, 2, 50), probe(Some(99)), Some(99)),
            (view(2, 2, 50), probe(None), Some(50)),
            (view(3, 2, 50), silence(70), Some(70)),
            (view(2, 2, 90), silence(70), Some(90)),
        ] {
            let live = SinkStatus { blocked_by, ..SinkStatus::default() };
            assert_eq!(next_attempt(&view, Some(&live)), expected.map(UnixMs), "{view:?} {blocked_by:?}");
            assert_eq!(next_attempt(&view, None), None, "no relay runs");
            let pause = Some(Pause { reason: PauseReason::Operator, since: UnixMs(0) });
            assert_eq!(next_attempt(&SinkView { pause, ..view }, Some(&live)), None, "paused");
        }
    }
}
