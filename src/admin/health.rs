//! Is it well? Pure.
//!
//! A relay is healthy if it runs, reads, and every sink takes messages or was paused by a person. Messages that wait for a
//! while, dead letters, and messages for a sink that is not configured any more are shown, but they are not illness.

use std::time::Duration;

use super::status::Status;
use crate::domain::{PauseReason, UnixMs};

/// So long, or five intervals if that is more, the API may go without an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// So long a sink may fail.
const FAILING: Duration = Duration::from_secs(15 * 60);

/// A relay that runs writes at least every five seconds.
const STANDSTILL: Duration = Duration::from_secs(30);

/// What is wrong, each in a few words; nothing = healthy.
pub fn problems(status: &Status) -> Vec<String> {
    if !status.running {
        return vec!["no relay runs on this state".to_owned()];
    }
    let Some(live) = &status.live else {
        // It has just begun, or is of a version that says nothing of itself.
        return vec!["the relay has not said anything of itself yet".to_owned()];
    };
    let mut found = Vec::new();
    let since = |at: i64| status.now.since(UnixMs(at));
    if since(live.written_at) > STANDSTILL {
        found.push(format!(
            "the relay stands still: nothing was heard of it for {} s",
            since(live.written_at).as_secs()
        ));
    }
    let why = live.why.as_deref().unwrap_or("no answer");
    let silence = since(live.last_poll.unwrap_or(live.started_at));
    let patience = SILENCE.max(5 * Duration::from_millis(live.interval_ms));
    match live.condition.as_str() {
        "no_key" => found.push(format!("no API key is accepted: {why}")),
        "full" => found.push(format!("nothing new is read: {why}")),
        _ if silence > patience => found.push(format!("the API was not read for {} s: {why}", silence.as_secs())),
        _ => {}
    }
    if let Some(failing) = live.numbers_since.map(since).filter(|failing| *failing > FAILING) {
        let why = live.numbers_why.as_deref().unwrap_or("no answer");
        let minutes = failing.as_secs() / 60;
        found.push(format!(
            "messages wait for details of their number, and the list of numbers was not read for {minutes} min: {why}"
        ));
    }
    for sink in status.sinks.iter().filter(|sink| sink.configured) {
        match sink.pause.map(|pause| pause.reason) {
            Some(PauseReason::Gone) => found.push(format!("{} is paused: its receiver is gone (410)", sink.name)),
            Some(PauseReason::Closed) => found.push(format!("{} is paused: nobody reads the output", sink.name)),
            Some(PauseReason::Operator | PauseReason::Disabled) => {}
            None => {
                let failing = status.live_sink(&sink.name).and_then(|sink| sink.failing_since).map(since);
                if let Some(failing) = failing.filter(|failing| *failing > FAILING) {
                    found.push(format!("{} has accepted nothing for {} min", sink.name, failing.as_secs() / 60));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Live, LiveSink};
    use crate::store::{Pause, SinkId, SinkView};

    const NOW: UnixMs = UnixMs(1_750_000_000_000);

    fn ago(seconds: i64) -> i64 {
        NOW.0 - seconds * 1000
    }

    fn healthy() -> Status {
        let sink = SinkView {
            id: SinkId(1),
            name: "crm".into(),
            configured: true,
            pause: None,
            waiting: 3,
            retrying: 1,
            dead: 9,
            oldest: Some(UnixMs(ago(5000))),
        };
        let live = Live {
            started_at: ago(9000),
            written_at: ago(2),
            last_poll: Some(ago(2)),
            interval_ms: 1000,
            condition: "polling".into(),
            sinks: vec![LiveSink { name: "crm".into(), ..LiveSink::default() }],
            ..Live::default()
        };
        Status {
            now: NOW,
            dir: "/state".into(),
            bytes: 0,
            running: true,
            live: Some(live),
            start: None,
            marks: None,
            walks: Vec::new(),
            budget: None,
            sinks: vec![sink],
        }
    }

    fn paused(status: &mut Status, reason: PauseReason) {
        status.sinks[0].pause = Some(Pause { reason, since: NOW });
    }

    #[test]
    fn what_is_healthy_and_what_is_not() {
        type Change = fn(&mut Status, &mut Live);
        let cases: [(&str, Change, Option<&str>); 19] = [
            (
                "the API wants silence",
                |_, live| {
                    (live.last_poll, live.condition) = (Some(ago(75)), "limited".into());
                    live.why = Some("rate limited until 2025-06-15T15:08:20.000Z".into());
                },
                Some("the API was not read for 75 s: rate limited until 2025-06-15T15:08:20.000Z"),
            ),
            ("well", |_, _| {}, None),
            ("not running", |status, _| status.running = false, Some("no relay runs on this state")),
            (
                "stuck",
                |_, live| live.written_at = ago(31),
                Some("the relay stands still: nothing was heard of it for 31 s"),
            ),
            ("a short silence", |_, live| live.last_poll = Some(ago(60)), None),
            ("silence", |_, live| live.last_poll = Some(ago(61)), Some("the API was not read for 61 s: no answer")),
            (
                "silence, and why",
                |_, live| (live.last_poll, live.why) = (None, Some("502 from the API".into())),
                Some("the API was not read for 9000 s: 502 from the API"),
            ),
            ("it has just begun", |_, live| (live.last_poll, live.started_at) = (None, ago(20)), None),
            ("polls are rare", |_, live| (live.last_poll, live.interval_ms) = (Some(ago(290)), 60_000), None),
            (
                "no key",
                |_, live| (live.condition, live.why) = ("no_key".into(), Some("401 UNAUTHORIZED".into())),
                Some("no API key is accepted: 401 UNAUTHORIZED"),
            ),
            (
                "no room",
                |_, live| (live.condition, live.why) = ("full".into(), Some("1 GiB is reached".into())),
                Some("nothing new is read: 1 GiB is reached"),
            ),
            ("numbers fail", |_, live| live.numbers_since = Some(ago(900)), None),
            (
                "numbers fail for long",
                |_, live| (live.numbers_since, live.numbers_why) = (Some(ago(961)), Some("it is HTML".into())),
                Some(
                    "messages wait for details of their number, and the list of numbers was not read for 16 min: it is HTML",
                ),
            ),
            ("paused by a person", |status, _| paused(status, PauseReason::Operator), None),
            ("switched off", |status, _| paused(status, PauseReason::Disabled), None),
            ("gone", |status, _| paused(status, PauseReason::Gone), Some("crm is paused: its receiver is gone (410)")),
            (
                "gone, but not configured any more",
                |status, _| {
                    paused(status, PauseReason::Gone);
                    status.sinks[0].configured = false;
                },
                None,
            ),
            ("failing", |_, live| live.sinks[0].failing_since = Some(ago(900)), None),
            (
                "failing for long",
                |_, live| live.sinks[0].failing_since = Some(ago(961)),
                Some("crm has accepted nothing for 16 min"),
            ),
        ];
        for (name, change, expected) in cases {
            let mut status = healthy();
            let mut live = status.live.take().unwrap();
            change(&mut status, &mut live);
            status.live = Some(live);
            assert_eq!(problems(&status), expected.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let mut status = healthy();
        paused(&mut status, PauseReason::Closed);
        status.live.as_mut().unwrap().last_poll = Some(ago(600));
        assert_eq!(problems(&status).len(), 2);
        status.live = None;
        assert_eq!(problems(&status), ["the relay has not said anything of itself yet"]);
    }
}
