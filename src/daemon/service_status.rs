//! The text that `systemctl status` shows of a relay: how polling goes, which sinks fail or are paused, how many
//! messages wait, and whether the last reload failed. Pure.

use std::time::Duration;

use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, UnixMs};
use crate::ingest::{Condition, PollReport};
use crate::status::ReloadReport;
use crate::store::SinkView;

/// The messages of a sink without trouble count as waiting only if the oldest of them is at least this old. Younger
/// messages are on their way.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// Returns the text. `queues`: how many messages wait for each sink of the state; `reload`: the result of the last
/// reload; `now`: the relay's time.
///
/// The text holds instants and not ages, so that the text changes only when something happens.
pub(super) fn service_status(
    report: &PollReport,
    sinks: &[SinkStatus],
    queues: &[SinkView],
    reload: Option<&ReloadReport>,
    now: UnixMs,
) -> String {
    let sink_texts = sinks.iter().filter_map(|sink| {
        let queue = queues.iter().find(|queue| queue.name == sink.name);
        let trouble = trouble(sink);
        let queue = queue.and_then(|queue| waiting(queue, trouble.is_some(), now));
        named(&sink.name, [trouble, queue])
    });
    let not_configured = queues.iter().filter(|queue| !queue.configured && queue.waiting > 0).filter_map(|queue| {
        named(&queue.name, [Some("not configured any more".to_owned()), waiting(queue, true, now)])
    });
    let has_failed = reload.is_some_and(|reload| reload.reload_failed_at.is_some());
    let reload = has_failed.then(|| "the last reload failed".to_owned());
    let texts = [polling(report)].into_iter().chain(sink_texts).chain(not_configured).chain(reload);
    texts.collect::<Vec<_>>().join("; ")
}

fn polling(report: &PollReport) -> String {
    let summary = report.summary();
    match (&report.condition, report.since) {
        (Condition::Waiting(_) | Condition::Failing(_) | Condition::NoRoom(_) | Condition::NoKey(_), Some(since)) => {
            format!("{summary} (since {since})")
        }
        _ => summary,
    }
}

/// Joins the texts about a sink; `None`: there are no texts about it.
fn named(sink: &str, texts: [Option<String>; 2]) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| format!("{sink}: {}", texts.join(", ")))
}

/// Describes why a sink does not deliver its messages as they come; `None`: the sink has no trouble.
fn trouble(sink: &SinkStatus) -> Option<String> {
    let since = |what: &str| match sink.failing_since {
        Some(since) => format!("{what} since {since}"),
        None => what.to_owned(),
    };
    match sink.blocked_by {
        Some(BlockedBy::Pause(PauseReason::Operator)) => Some("paused by an operator".to_owned()),
        Some(BlockedBy::Pause(PauseReason::Gone)) => Some("paused, because its receiver is gone".to_owned()),
        Some(BlockedBy::Pause(PauseReason::Closed)) => Some("paused, because nobody reads the output".to_owned()),
        Some(BlockedBy::Pause(PauseReason::Disabled)) => Some("switched off (enabled = false)".to_owned()),
        // Without `failing_since` the sink does not fail: its receiver only asked for fewer requests.
        Some(BlockedBy::Silence { until }) => {
            let accepted = sink.failing_since.map(|since| format!("nothing accepted since {since}, "));
            Some(format!("{}silent until {until}, as its receiver asked", accepted.unwrap_or_default()))
        }
        Some(BlockedBy::Breaker { .. }) => Some(since("failing")),
        None if sink.failing => Some(since("failing")),
        None => None,
    }
}

/// Describes the messages that wait. `None`: no message waits, or the sink has no trouble and the oldest message is
/// younger than [`ON_ITS_WAY`].
fn waiting(queue: &SinkView, is_in_trouble: bool, now: UnixMs) -> Option<String> {
    let oldest = queue.oldest.filter(|_| queue.waiting > 0)?;
    let count = match queue.waiting {
        1 => "1 message waits".to_owned(),
        waiting => format!("{waiting} messages wait"),
    };
    if is_in_trouble {
        return Some(count);
    }
    (now.since(oldest) >= ON_ITS_WAY).then(|| format!("{count}, the oldest since {oldest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_750_000_000_000);

    fn ago(seconds: i64) -> UnixMs {
        UnixMs(NOW.0 - seconds * 1000)
    }

    fn polling_for_a_minute(condition: Condition) -> PollReport {
        PollReport { condition, since: Some(ago(60)), ..PollReport::default() }
    }

    fn sink(change: impl FnOnce(&mut SinkStatus)) -> SinkStatus {
        let mut sink = SinkStatus { name: "crm".into(), ..SinkStatus::default() };
        change(&mut sink);
        sink
    }

    fn queue(name: &str, configured: bool, waiting: u64, oldest: UnixMs) -> SinkView {
        SinkView { name: name.into(), configured, waiting, oldest: Some(oldest), ..SinkView::default() }
    }

    #[test]
    fn a_failure_of_polling_is_told_with_its_beginning() {
        for (condition, text) in [
            (Condition::Starting, "starting"),
            (Condition::Polling, "polling"),
            (Condition::Limited("rate limited until T".into()), "rate limited until T"),
            (
                Condition::Failing("502 from the API".into()),
                "the API cannot be polled: 502 from the API (since 2025-06-15T15:05:40.000Z)",
            ),
            (Condition::NoKey("401".into()), "no API key is accepted: 401 (since 2025-06-15T15:05:40.000Z)"),
            (Condition::NoRoom("full".into()), "not polling: full (since 2025-06-15T15:05:40.000Z)"),
        ] {
            assert_eq!(service_status(&polling_for_a_minute(condition), &[], &[], None, NOW), text);
        }
    }

    #[test]
    fn a_sink_in_trouble_is_told_with_the_time_and_the_waiting_messages() {
        let failing = |sink: &mut SinkStatus| (sink.failing, sink.failing_since) = (true, Some(ago(30)));
        let waiting = [queue("crm", true, 12, ago(5))];
        for (sink, text) in [
            (sink(|_| {}), None),
            (sink(failing), Some("failing since 2025-06-15T15:06:10.000Z")),
            (
                sink(|sink| {
                    failing(sink);
                    sink.blocked_by = Some(BlockedBy::Breaker { next_probe: None });
                }),
                Some("failing since 2025-06-15T15:06:10.000Z"),
            ),
            (
                sink(|sink| sink.blocked_by = Some(BlockedBy::Silence { until: ago(-30) })),
                Some("silent until 2025-06-15T15:07:10.000Z, as its receiver asked"),
            ),
            (
                sink(|sink| {
                    failing(sink);
                    sink.blocked_by = Some(BlockedBy::Silence { until: ago(-30) });
                }),
                Some(
                    "nothing accepted since 2025-06-15T15:06:10.000Z, silent until 2025-06-15T15:07:10.000Z, as its \
                     receiver asked",
                ),
            ),
            (
                sink(|sink| sink.blocked_by = Some(BlockedBy::Pause(PauseReason::Operator))),
                Some("paused by an operator"),
            ),
            (
                sink(|sink| sink.blocked_by = Some(BlockedBy::Pause(PauseReason::Gone))),
                Some("paused, because its receiver is gone"),
            ),
            (
                sink(|sink| sink.blocked_by = Some(BlockedBy::Pause(PauseReason::Closed))),
                Some("paused, because nobody reads the output"),
            ),
            (
                sink(|sink| sink.blocked_by = Some(BlockedBy::Pause(PauseReason::Disabled))),
                Some("switched off (enabled = false)"),
            ),
        ] {
            let report = polling_for_a_minute(Condition::Polling);
            let of = |queues: &[SinkView]| service_status(&report, std::slice::from_ref(&sink), queues, None, NOW);
            let alone = text.map_or("polling".to_owned(), |text| format!("polling; crm: {text}"));
            assert_eq!(of(&[]), alone);
            // Twelve young messages count as waiting only if the sink is in trouble.
            let with_queue = text.map_or("polling".to_owned(), |_| format!("{alone}, 12 messages wait"));
            assert_eq!(of(&waiting), with_queue);
        }
    }

    #[test]
    fn messages_that_wait_for_long_are_told_even_if_the_sink_has_no_trouble() {
        let report = polling_for_a_minute(Condition::Polling);
        let of = |queues: &[SinkView]| service_status(&report, &[sink(|_| {})], queues, None, NOW);
        assert_eq!(of(&[queue("crm", true, 0, ago(100))]), "polling");
        assert_eq!(
            of(&[queue("crm", true, 1, ago(10))]),
            "polling; crm: 1 message waits, the oldest since 2025-06-15T15:06:30.000Z"
        );
        assert_eq!(
            of(&[queue("night", false, 3, ago(1)), queue("old", false, 0, ago(1))]),
            "polling; night: not configured any more, 3 messages wait"
        );
    }

    #[test]
    fn a_reload_that_failed_is_told() {
        let report = polling_for_a_minute(Condition::Polling);
        let mut reload = ReloadReport::default();
        let text = |reload: &ReloadReport| service_status(&report, &[], &[], Some(reload), NOW);
        assert_eq!(text(&reload), "polling");
        reload.reload_failed(NOW, "unknown key");
        assert_eq!(text(&reload), "polling; the last reload failed");
    }
}
