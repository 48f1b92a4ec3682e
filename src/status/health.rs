//! Decides which conditions make a relay unhealthy. The functions are pure.
//!
//! A relay is healthy if it runs, reads the API, and each sink accepts messages or was paused by a person. The status
//! also shows messages that have waited for a while, dead letters, and messages for a sink that is not configured any
//! more. They do not make the relay unhealthy.

use std::time::Duration;

use serde::Serialize;

use super::fields::Status;
use super::status_file::RelayReport;
use crate::domain::{PauseReason, UnixMs};
use crate::ingest::Condition;

/// It is a problem if the API gives no answer for longer than this span and for longer than five poll intervals. If the
/// API's limit makes the time between two polls longer than the interval, the difference is added to both spans.
const MAX_UNANSWERED: Duration = Duration::from_secs(60);

/// How long a sink, or the list of numbers, may fail before this is a problem.
const MAX_FAILING: Duration = Duration::from_secs(15 * 60);

/// How long a running relay may write nothing about itself before this is a problem. A relay writes at least every five
/// seconds.
const MAX_STANDSTILL: Duration = Duration::from_secs(30);

/// A condition that makes a relay unhealthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthProblem {
    /// The kind of the problem.
    #[serde(rename = "reason")]
    pub kind: ProblemKind,
    /// The name of the sink, if the problem concerns a sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// The problem as one short sentence.
    pub detail: String,
}

/// The kind of a [`HealthProblem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// No relay runs on the state.
    NotRunning,
    /// The relay has not reported anything yet, or no page was read yet.
    Starting,
    /// The relay is stopping.
    Stopping,
    /// A loop of the relay is stuck, or the relay does not write its status any more.
    StandsStill,
    /// The API accepts no key.
    NoKey,
    /// The state may not grow, so nothing new is read.
    NoRoom,
    /// The API was not read for a while.
    NotPolled,
    /// The list of numbers was not read for a while, and messages wait for it.
    NumbersUnreadable,
    /// A sink is paused, and no person paused it.
    SinkPaused,
    /// A sink has accepted nothing for a while.
    SinkFailing,
    /// The status cannot be read.
    Unreadable,
}

impl HealthProblem {
    /// Makes a problem that does not concern a sink.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, sink: None, detail: detail.into() }
    }

    fn of_sink(kind: ProblemKind, sink: &str, what: &str) -> Self {
        Self { kind, sink: Some(sink.to_owned()), detail: format!("{sink} {what}") }
    }
}

/// Returns the reasons why the relay is not ready: polling does not work, or a sink is paused and no person paused it.
/// The list is empty if the relay is ready. A receiver that fails does not make the relay unready.
pub fn readiness_problems(status: &Status) -> Vec<HealthProblem> {
    let mut found = problems(status, None);
    found.retain(|problem| !matches!(problem.kind, ProblemKind::SinkFailing | ProblemKind::NumbersUnreadable));
    let was_polled = status.polling.report.as_ref().is_some_and(|report| report.last_poll_at.is_some());
    let is_told = found.iter().any(|problem| problem.kind != ProblemKind::SinkPaused);
    if !was_polled && !is_told && !stands_by(status) {
        let why = status.polling.report.as_ref().and_then(|report| report.condition.why());
        let detail =
            why.map_or_else(|| "the API was not read yet".to_owned(), |why| format!("the API was not read yet: {why}"));
        found.push(HealthProblem::new(ProblemKind::Starting, detail));
    }
    found
}

/// Returns whether the relay stands by, because another relay that shares the state is the active one.
pub fn stands_by(status: &Status) -> bool {
    status.relay.report.as_ref().is_some_and(|report| report.stands_by)
}

/// Returns whether the relay does its work now: it has polled the API, and there are no problems. A relay that stands
/// by is not at work.
pub fn is_at_work(status: &Status) -> bool {
    !stands_by(status) && problems(status, None).is_empty() && readiness_problems(status).is_empty()
}

/// Returns the problems of the relay; none if it is healthy. With `once_within`, a state on which no relay runs is
/// healthy if `once` has caught up within this time.
pub fn problems(status: &Status, once_within: Option<Duration>) -> Vec<HealthProblem> {
    if !status.relay.running {
        let found = status
            .relay
            .report
            .as_ref()
            .map_or_else(|| Some(NOT_RUNNING.to_owned()), |report| not_running(report, status.now, once_within));
        let found = found.map(|detail| HealthProblem::new(ProblemKind::NotRunning, detail));
        return found.map_or_else(|| sink_problems(status), |problem| vec![problem]);
    }
    let (Some(relay), Some(polling)) = (&status.relay.report, &status.polling.report) else {
        // The relay has just begun, or it is of a version that writes `relay.status` in another format.
        let why = status.relay.obstacle.clone();
        let why = why.unwrap_or_else(|| "the relay has not written its status yet".to_owned());
        return vec![HealthProblem::new(ProblemKind::Starting, why)];
    };
    let mut found = Vec::new();
    let mut add = |kind, detail: String| found.push(HealthProblem::new(kind, detail));
    let since = |at| status.now.since(at);
    if since(relay.last_heard_at) > MAX_STANDSTILL {
        let seconds = since(relay.last_heard_at).as_secs();
        add(ProblemKind::StandsStill, format!("the relay stands still: nothing was heard of it for {seconds} s"));
    }
    if relay.stands_by {
        // Polling and delivery are the work of the active relay.
        return found;
    }
    let unanswered = since(polling.last_poll_at.unwrap_or(relay.started_at));
    let interval = status.polling.interval_seconds.map_or(Duration::ZERO, |interval| interval.0);
    match &polling.condition {
        Condition::NoKey(why) => add(ProblemKind::NoKey, format!("no API key is accepted: {why}")),
        Condition::NoRoom(why) => add(ProblemKind::NoRoom, format!("nothing new is read: {why}")),
        condition if unanswered > MAX_UNANSWERED.max(5 * interval) + status.polling.slowed_by => {
            let why = condition.why().unwrap_or("no answer");
            add(ProblemKind::NotPolled, format!("the API was not read for {} s: {why}", unanswered.as_secs()));
        }
        _ => {}
    }
    if let Some(failing) = polling.numbers_since.map(since).filter(|failing| *failing > MAX_FAILING) {
        let why = polling.numbers_why.as_deref().unwrap_or("no answer");
        let minutes = failing.as_secs() / 60;
        let detail = format!(
            "messages wait for details of their number, and the list of numbers was not read for {minutes} min: {why}"
        );
        add(ProblemKind::NumbersUnreadable, detail);
    }
    found.extend(sink_problems(status));
    found
}

const NOT_RUNNING: &str = "no relay runs on this state";

/// Returns the problem of a state on which no relay runs; `None` if `once` has caught up within `once_within`.
fn not_running(last: &RelayReport, now: UnixMs, once_within: Option<Duration>) -> Option<String> {
    let why = last.failure.as_deref().unwrap_or("it did not end as it should");
    if last.damaged {
        return Some(format!("{NOT_RUNNING}: the last one ended because {why}"));
    }
    let ago = |at| {
        let seconds = now.since(at).as_secs();
        if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
    };
    match (once_within, last.caught_up_at) {
        (Some(limit), Some(at)) if now.since(at) <= limit => None,
        (Some(_), Some(at)) => Some(format!("{NOT_RUNNING}, and `once` caught up {} ago", ago(at))),
        (Some(_), None) if last.once => Some(format!("{NOT_RUNNING}, and the last `once` did not catch up: {why}")),
        (None, Some(at)) => {
            Some(format!("{NOT_RUNNING}; `once` caught up {} ago (--once-within counts that as healthy)", ago(at)))
        }
        (_, None) => Some(NOT_RUNNING.to_owned()),
    }
}

fn sink_problems(status: &Status) -> Vec<HealthProblem> {
    let mut found = Vec::new();
    let since = |at| status.now.since(at);
    for sink in &status.sinks {
        let stored = &sink.stored.view;
        let mut add = |kind, what: &str| found.push(HealthProblem::of_sink(kind, &stored.name, what));
        match stored.pause.map(|pause| pause.reason) {
            _ if !stored.configured => {}
            Some(PauseReason::Gone) => add(ProblemKind::SinkPaused, "is paused: its receiver is gone"),
            Some(PauseReason::Closed) => add(ProblemKind::SinkPaused, "is paused: nobody reads the output"),
            Some(PauseReason::Operator | PauseReason::Disabled) => {}
            None => {
                let failing = sink.live.as_ref().and_then(|live| live.failing_since).map(since);
                if let Some(failing) = failing.filter(|failing| *failing > MAX_FAILING) {
                    let answer = sink.live.as_ref().and_then(|live| live.last_failure.as_ref());
                    let why = answer.map(|answer| format!(": {answer}")).unwrap_or_default();
                    let minutes = failing.as_secs() / 60;
                    add(ProblemKind::SinkFailing, &format!("has accepted nothing for {minutes} min{why}"));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::delivery::SinkStatus;
    use crate::ingest::PollReport;
    use crate::status::{Live, SinkSection, StoredSink};
    use crate::store::{Pause, SinkView};

    const NOW: UnixMs = UnixMs(1_750_000_000_000);

    fn ago(seconds: i64) -> UnixMs {
        UnixMs(NOW.0 - seconds * 1000)
    }

    /// The status of a healthy relay, and separately the report of this relay about itself.
    fn healthy() -> (Status, Live) {
        let sink = SinkView {
            name: "crm".into(),
            configured: true,
            waiting: 3,
            retrying: 1,
            dead: 9,
            oldest: Some(ago(5000)),
            ..SinkView::default()
        };
        let polling = PollReport { condition: Condition::Polling, last_poll_at: Some(ago(2)), ..PollReport::default() };
        let live = Live {
            relay: RelayReport { started_at: ago(9000), last_heard_at: ago(2), ..RelayReport::default() },
            interval_ms: 1000,
            polling,
            sinks: BTreeMap::from([("crm".into(), SinkStatus::default())]),
            ..Live::default()
        };
        let mut status = Status::before_reports(NOW, Path::new("/state"), true);
        status.sinks = vec![SinkSection { stored: StoredSink::at(NOW, sink), live: None }];
        (status, live)
    }

    fn failing_since(live: &mut Live, at: UnixMs) {
        live.sinks.get_mut("crm").unwrap().failing_since = Some(at);
    }

    fn paused(status: &mut Status, reason: PauseReason) {
        status.sinks[0].stored.view.pause = Some(Pause { reason, since: NOW });
    }

    #[test]
    fn what_is_healthy_and_what_is_not() {
        type Change = fn(&mut Status, &mut Live);
        let cases: [(&str, Change, Option<&str>); 22] = [
            (
                "the API's limit allows a poll every three minutes",
                |_, live| (live.polling.last_poll_at, live.spacing_ms) = (Some(ago(230)), 180_000),
                None,
            ),
            (
                "polls fail although the API's limit allows a poll every three minutes",
                |_, live| (live.polling.last_poll_at, live.spacing_ms) = (Some(ago(240)), 180_000),
                Some("the API was not read for 240 s: no answer"),
            ),
            (
                "the API wants silence",
                |_, live| {
                    live.polling.last_poll_at = Some(ago(75));
                    live.polling.condition = Condition::Limited("rate limited until 2025-06-15T15:08:20.000Z".into());
                },
                Some("the API was not read for 75 s: rate limited until 2025-06-15T15:08:20.000Z"),
            ),
            ("healthy", |_, _| {}, None),
            ("not running", |status, _| status.relay.running = false, Some("no relay runs on this state")),
            (
                "stuck",
                |_, live| live.relay.last_heard_at = ago(31),
                Some("the relay stands still: nothing was heard of it for 31 s"),
            ),
            ("no answer for a minute", |_, live| live.polling.last_poll_at = Some(ago(60)), None),
            (
                "no answer for longer",
                |_, live| live.polling.last_poll_at = Some(ago(61)),
                Some("the API was not read for 61 s: no answer"),
            ),
            (
                "no answer since the start, and why",
                |_, live| {
                    live.polling.last_poll_at = None;
                    live.polling.condition = Condition::Failing("502 from the API".into());
                },
                Some("the API was not read for 9000 s: 502 from the API"),
            ),
            ("it has just begun", |_, live| (live.polling.last_poll_at, live.relay.started_at) = (None, ago(20)), None),
            (
                "polls are rare",
                |_, live| (live.polling.last_poll_at, live.interval_ms) = (Some(ago(290)), 60_000),
                None,
            ),
            (
                "no key",
                |_, live| live.polling.condition = Condition::NoKey("401 UNAUTHORIZED".into()),
                Some("no API key is accepted: 401 UNAUTHORIZED"),
            ),
            (
                "no room",
                |_, live| live.polling.condition = Condition::NoRoom("1 GiB is reached".into()),
                Some("nothing new is read: 1 GiB is reached"),
            ),
            ("numbers fail", |_, live| live.polling.numbers_since = Some(ago(900)), None),
            (
                "numbers fail for long",
                |_, live| {
                    live.polling.numbers_since = Some(ago(961));
                    live.polling.numbers_why = Some("it is HTML".into());
                },
                Some(
                    "messages wait for details of their number, and the list of numbers was not read for 16 min: it is HTML",
                ),
            ),
            ("paused by a person", |status, _| paused(status, PauseReason::Operator), None),
            ("switched off", |status, _| paused(status, PauseReason::Disabled), None),
            ("gone", |status, _| paused(status, PauseReason::Gone), Some("crm is paused: its receiver is gone")),
            (
                "gone, but not configured any more",
                |status, _| {
                    paused(status, PauseReason::Gone);
                    status.sinks[0].stored.view.configured = false;
                },
                None,
            ),
            ("failing", |_, live| failing_since(live, ago(900)), None),
            ("failing for long", |_, live| failing_since(live, ago(961)), Some("crm has accepted nothing for 16 min")),
            (
                "failing for long, and why",
                |_, live| {
                    failing_since(live, ago(961));
                    live.sinks.get_mut("crm").unwrap().last_failure = Some("500 Internal Server Error".into());
                },
                Some("crm has accepted nothing for 16 min: 500 Internal Server Error"),
            ),
        ];
        for (name, change, expected) in cases {
            let (mut status, mut live) = healthy();
            change(&mut status, &mut live);
            status.add(live);
            assert_eq!(details(&problems(&status, None)), expected.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn each_problem_is_told() {
        let (mut status, mut live) = healthy();
        paused(&mut status, PauseReason::Closed);
        live.polling.last_poll_at = Some(ago(600));
        status.add(live);
        assert_eq!(problems(&status, None).len(), 2);
        let (mut status, _) = healthy();
        assert_eq!(details(&problems(&status, None)), ["the relay has not written its status yet"]);
        status.relay.obstacle = Some("the relay cannot write its status".into());
        assert_eq!(details(&problems(&status, None)), ["the relay cannot write its status"]);
    }

    #[test]
    fn a_relay_is_ready_if_it_has_polled_and_no_sink_is_paused_by_the_relay() {
        let not_ready = |change: fn(&mut Status, &mut Live)| {
            let (mut status, mut live) = healthy();
            change(&mut status, &mut live);
            status.add(live);
            let kinds: Vec<ProblemKind> = readiness_problems(&status).into_iter().map(|problem| problem.kind).collect();
            kinds
        };
        assert_eq!(not_ready(|_, _| ()), []);
        assert_eq!(not_ready(|_, live| failing_since(live, ago(961))), [], "only the receiver fails");
        assert_eq!(not_ready(|_, live| live.polling.numbers_since = Some(ago(961))), []);
        assert_eq!(not_ready(|status, _| paused(status, PauseReason::Operator)), []);
        assert_eq!(not_ready(|status, _| paused(status, PauseReason::Gone)), [ProblemKind::SinkPaused]);
        let begun = |_: &mut Status, live: &mut Live| {
            live.polling.last_poll_at = None;
            live.relay.started_at = ago(5);
        };
        assert_eq!(not_ready(begun), [ProblemKind::Starting]);
        assert_eq!(not_ready(|_, live| live.polling.last_poll_at = None), [ProblemKind::NotPolled]);
        let no_key = |_: &mut Status, live: &mut Live| {
            live.polling.last_poll_at = None;
            live.polling.condition = Condition::NoKey("401 UNAUTHORIZED".into());
        };
        assert_eq!(not_ready(no_key), [ProblemKind::NoKey]);
        assert_eq!(not_ready(|status, _| status.relay.running = false), [ProblemKind::NotRunning]);
        let standing_by = |_: &mut Status, live: &mut Live| {
            live.relay.stands_by = true;
            live.polling.last_poll_at = None;
        };
        assert_eq!(not_ready(standing_by), [], "the active relay polls");
        assert_eq!(
            not_ready(|_, live| (live.relay.stands_by, live.relay.last_heard_at) = (true, ago(31))),
            [ProblemKind::StandsStill]
        );
    }

    #[test]
    fn a_once_that_caught_up_within_the_limit_is_healthy() {
        let hour = Some(Duration::from_secs(3600));
        let report = |caught_up_at: Option<UnixMs>, failure: Option<&str>| RelayReport {
            once: true,
            caught_up_at,
            failure: failure.map(str::to_owned),
            stopped_at: Some(ago(60)),
            ..RelayReport::default()
        };
        let damaged = RelayReport { damaged: true, ..report(None, Some("state.db is damaged")) };
        let cases: [(&str, RelayReport, Option<Duration>, Option<&str>); 8] = [
            ("within the hour", report(Some(ago(3600)), None), hour, None),
            (
                "without --once-within",
                report(Some(ago(60)), None),
                None,
                Some("no relay runs on this state; `once` caught up 60 s ago (--once-within counts that as healthy)"),
            ),
            (
                "longer ago",
                report(Some(ago(3601)), None),
                hour,
                Some("no relay runs on this state, and `once` caught up 60 min ago"),
            ),
            (
                "failed",
                report(None, Some("502 from the API")),
                hour,
                Some("no relay runs on this state, and the last `once` did not catch up: 502 from the API"),
            ),
            (
                "killed",
                report(None, None),
                hour,
                Some("no relay runs on this state, and the last `once` did not catch up: it did not end as it should"),
            ),
            ("failed, without --once-within", report(None, Some("502")), None, Some("no relay runs on this state")),
            ("a relay that was stopped", RelayReport::default(), hour, Some("no relay runs on this state")),
            (
                "damaged",
                damaged,
                hour,
                Some("no relay runs on this state: the last one ended because state.db is damaged"),
            ),
        ];
        for (name, relay, once_within, expected) in cases {
            let (mut status, live) = healthy();
            status.relay.running = false;
            status.add(Live { relay, ..live });
            assert_eq!(details(&problems(&status, once_within)), expected.into_iter().collect::<Vec<_>>(), "{name}");
        }
        let (mut status, live) = healthy();
        (status.relay.running, status.sinks[0].live) = (false, None);
        paused(&mut status, PauseReason::Gone);
        status.add(Live { relay: report(Some(ago(60)), None), ..live });
        assert_eq!(details(&problems(&status, hour)), ["crm is paused: its receiver is gone"]);
    }

    fn details(problems: &[HealthProblem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.detail.as_str()).collect()
    }
}
