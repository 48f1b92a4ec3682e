//! The JSON shapes that scripts rely on. docs/status.md describes every field; a test holds the two together.

use serde_json::{Value, json};

use super::health::problems;
use super::live::LiveSink;
use super::status::{Status, WalkView};
use crate::domain::{UnixMs, WalkKind, time_for};
use crate::store::{DeadLetter, Fate, SinkView, Trace};

fn instant(millis: i64) -> String {
    UnixMs(millis).to_string()
}

/// `status --json`.
pub fn status_json(status: &Status) -> Value {
    let problems = problems(status);
    let live = status.live.as_ref();
    let seconds_since = |at: i64| status.now.since(UnixMs(at)).as_secs_f64();
    let marks = status.marks.as_ref();
    let sinks: Vec<Value> = status.sinks.iter().map(|sink| with_live(status, sink)).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "healthy": problems.is_empty(),
        "problems": problems,
        "state": {
            "dir": status.dir.display().to_string(),
            "bytes": status.bytes,
            "journal_held_bytes": live.filter(|_| status.running).and_then(|live| live.journal_held),
        },
        "relay": {
            "running": status.running,
            "pid": live.filter(|_| status.running).map(|live| live.pid),
            "version": live.map(|live| live.version.as_str()),
            "started_at": live.map(|live| instant(live.started_at)),
            "last_heard_at": live.map(|live| instant(live.written_at)),
            "stopped_at": live.and_then(|live| live.stopped_at).map(instant),
        },
        "polling": {
            "condition": live.map(|live| live.condition.as_str()),
            "why": live.and_then(|live| live.why.as_deref()),
            "since": live.and_then(|live| live.condition_since).map(instant),
            "interval_seconds": live.map(|live| seconds(live.interval_ms)),
            "last_poll_at": live.and_then(|live| live.last_poll).map(instant),
            "last_poll_age_seconds": live.and_then(|live| live.last_poll).map(seconds_since),
            "numbers_why": live.and_then(|live| live.numbers_why.as_deref()),
            "numbers_since": live.and_then(|live| live.numbers_since).map(instant),
        },
        "coverage": marks.map(|marks| json!({
            "start": status.start,
            "frontier": marks.frontier.to_string(),
            "frontier_age_seconds": status.age_of_server_time(marks.frontier).as_secs_f64(),
            "last_sweep_at": marks.anchor.to_string(),
            "last_sweep_age_seconds": status.age_of_server_time(marks.anchor).as_secs_f64(),
            "walks": status.walks.iter().map(|view| walk_json(status, view)).collect::<Vec<_>>(),
        })),
        "budget": {
            "limit": status.budget.map(|budget| budget.limit),
            "used": status.budget.map(|budget| budget.used),
            "left": status.budget.map(|budget| budget.limit.saturating_sub(budget.used)),
            "foreign": live.filter(|_| status.running).map(|live| live.foreign),
            "server_limit": live.filter(|_| status.running).and_then(|live| live.server_limit),
            "server_remaining": live.filter(|_| status.running).and_then(|live| live.server_remaining),
            "server_resets_at": live.filter(|_| status.running).and_then(|live| live.server_resets_at).map(instant),
        },
        "sinks": sinks,
    })
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

fn walk_json(status: &Status, view: &WalkView) -> Value {
    let WalkView { walk, held, pages_left } = view;
    let (kind, streaming) = match walk.kind {
        WalkKind::Gap { streaming, .. } => ("gap", streaming),
        WalkKind::Sweep => ("sweep", false),
        WalkKind::Seed => ("seed", false),
    };
    let pace = status.live.as_ref().filter(|_| status.running).and_then(|live| live.pages_per_minute);
    let left = pages_left.zip(pace).and_then(|(pages, pace)| time_for(pages, pace));
    let down_to = Some(walk.floor).filter(|floor| *floor > UnixMs::MIN);
    json!({
        "kind": kind,
        "opened_at": walk.opened_at.to_string(),
        "reached": walk.lowest.to_string(),
        "down_to": down_to.map(|floor| floor.to_string()),
        "held_messages": held,
        "streaming": streaming,
        "failures": walk.progress.failures,
        "pages_left": pages_left,
        "seconds_left": left.map(|left| left.as_secs()),
    })
}

/// A sink as `sinks list --json` shows it; `live` is what a running relay says of the sink.
pub fn sink_json(sink: &SinkView, live: Option<&LiveSink>, now: UnixMs) -> Value {
    json!({
        "name": sink.name,
        "configured": sink.configured,
        "paused": sink.pause.map(|pause| pause.reason.as_str()),
        "paused_at": sink.pause.map(|pause| pause.since.to_string()),
        "waiting": sink.waiting,
        "retrying": sink.retrying,
        "dead": sink.dead,
        "oldest_waiting_at": sink.oldest.map(|oldest| oldest.to_string()),
        "oldest_waiting_age_seconds": sink.oldest.map(|oldest| now.since(oldest).as_secs_f64()),
        "learned_requests_per_minute": live.and_then(|live| live.learned_per_minute),
    })
}

/// The same with what the running relay says.
fn with_live(status: &Status, sink: &SinkView) -> Value {
    let live = status.live_sink(&sink.name);
    let mut value = sink_json(sink, live, status.now);
    value["in_flight"] = json!(live.map(|live| live.in_flight));
    value["failing_since"] = json!(live.and_then(|live| live.failing_since).map(instant));
    value["held"] = json!(live.and_then(|live| live.held.as_deref()));
    value["held_until"] = json!(live.and_then(|live| live.held_until).map(instant));
    value
}

/// An element of `dead-letters list --json`.
pub fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "sink": letter.sink,
        "reason": letter.reason,
        "received_at": letter.received.to_string(),
        "first_attempt_at": letter.first_attempt.map(|at| at.to_string()),
        "died_at": letter.died.map(|at| at.to_string()),
        "attempts": letter.attempts,
        "status": letter.status,
        "answer": letter.answer,
        "replays": letter.replays,
    })
}

/// `trace --json`.
pub fn trace_json(trace: &Trace) -> Value {
    let instant = |at: Option<UnixMs>| at.map(|at| at.to_string());
    let fate = |fate: &Fate| {
        json!({
            "sink": fate.sink,
            "configured": fate.configured,
            "paused": fate.paused,
            "state": fate.state.as_str(),
            "reason": fate.reason,
            "attempts": fate.attempts,
            "first_attempt_at": instant(fate.first_attempt),
            "settled_at": instant(fate.settled),
            "due_at": instant(fate.due),
            "status": fate.status,
            "answer": fate.answer,
            "replays": fate.replays,
        })
    };
    json!({
        "id": trace.id,
        "number_id": trace.number,
        "received_at": trace.received.to_string(),
        "ingested_at": instant(trace.ingested),
        "first_read_at": trace.first_read.to_string(),
        "standing": trace.standing.as_str(),
        "held": trace.held_by.is_some(),
        "release": trace.release_no,
        "bytes": trace.bytes,
        "sinks": trace.fates.iter().map(fate).collect::<Vec<_>>(),
        "not_for": trace.without,
    })
}
