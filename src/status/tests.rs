//! Compares the JSON of `status` and of related commands with `tests/fixtures/status.json`, which has the fields that
//! scripts rely on. Also compares docs/status.md with the JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, RowStanding, Seq, UnixMs, Walk, WalkId, WalkKind, WalkProgress};
use crate::ingest::{ApiBudget, CatchUp, Condition, FeedReport, PollReport, StorageReport};
use crate::store::{DeadLetter, DeliveryState, Pause, SinkView, Trace, TracedDelivery};

const NOW: UnixMs = UnixMs(1_750_000_000_000);

fn ago(milliseconds: i64) -> UnixMs {
    UnixMs(NOW.0 - milliseconds)
}

fn sink(name: &str) -> SinkView {
    SinkView {
        name: name.into(),
        configured: true,
        waiting: 3,
        retrying: 1,
        dead: 9,
        oldest: Some(ago(5_250)),
        ..SinkView::default()
    }
}

fn sinks() -> [SinkView; 2] {
    let pause = Pause { reason: PauseReason::Gone, since: ago(60_000) };
    [sink("crm"), SinkView { pause: Some(pause), configured: false, oldest: None, ..sink("old") }]
}

fn reload() -> ReloadReport {
    let mut reload = ReloadReport::default();
    reload.reloaded(ago(500_000));
    reload.reload_failed(ago(400_000), "config.toml:3: `poll.intervall` is not known");
    reload
}

fn walk(kind: WalkKind, floor: UnixMs, held: u64, pages_left: Option<u64>, pace: Option<f64>) -> WalkStatus {
    let walk = Walk {
        id: WalkId(1),
        kind,
        cursor: None,
        trail: Vec::new(),
        opened_seq: Seq(1),
        lowest: UnixMs(1_749_999_000_000),
        floor,
        opened_at: UnixMs(1_749_999_900_000),
        progress: WalkProgress { failures: 2, ..WalkProgress::default() },
    };
    WalkStatus::of(&walk, held, pages_left, pace)
}

/// The status of a state on which a relay runs, or has run, with a value in every field.
fn everything(running: bool) -> Status {
    let pace = Some(30.0).filter(|_| running);
    let gap = WalkKind::Gap { sweep_floor: None, streaming: true };
    let mut status = Status::before_reports(NOW, Path::new("/var/lib/relay"), running);
    status.state.bytes = 123_456;
    status.coverage = Some(CoverageStatus {
        start: Some("beginning".into()),
        frontier: ago(3_000),
        frontier_age_seconds: Seconds(std::time::Duration::from_millis(3_250)),
        last_sweep_at: ago(33_000),
        last_sweep_age_seconds: Seconds(std::time::Duration::from_millis(33_250)),
        walks: vec![
            walk(gap, UnixMs::MIN, 40, Some(12), pace),
            walk(WalkKind::Sweep, UnixMs(1_749_998_000_000), 0, None, pace),
        ],
    });
    status.budget.own = Some(OwnBudget { limit: 120, used: 20, left: 100 });
    status.replicas = Some(ReplicasStatus {
        namespace: "joltsms_relay".into(),
        active: Some("a-1-0001".into()),
        epoch: 4,
        lease_seconds: Some(Seconds(std::time::Duration::from_millis(5_125))),
        replicas: vec![ReplicaStatus {
            name: "a-1-0001".into(),
            active: true,
            joined_age_seconds: Seconds(std::time::Duration::from_millis(60_125)),
            seen_age_seconds: Seconds(std::time::Duration::from_millis(750)),
        }],
    });
    let sinks = sinks().into_iter();
    status.sinks = sinks.map(|sink| SinkSection { stored: StoredSink::at(NOW, sink), live: None }).collect();
    status.add(Live {
        relay: RelayReport {
            version: "0.1.0".into(),
            pid: Some(4711),
            started_at: ago(9_000_000),
            last_heard_at: ago(1_500),
            stopped_at: (!running).then(|| ago(1_000)),
            reload: reload(),
            ..RelayReport::default()
        },
        interval_ms: 1500,
        spacing_ms: 0,
        polling: PollReport {
            condition: Condition::Failing("502 from the API".into()),
            since: Some(ago(70_000)),
            last_poll_at: Some(ago(75_125)),
            key_ending: Some("89ab".into()),
            key_since: Some(ago(600_000)),
            numbers_why: Some("it is HTML".into()),
            numbers_since: Some(ago(5_000)),
            ..PollReport::default()
        },
        budget: ApiBudget {
            foreign: 7,
            server_limit: Some(120),
            server_remaining: Some(100),
            server_resets_at: Some(ago(-30_000)),
        },
        storage: StorageReport { journal_held_bytes: Some(4096) },
        feed: FeedReport::default(),
        catch_up: None::<CatchUp>,
        sinks: BTreeMap::from([(
            "crm".into(),
            SinkStatus {
                in_flight: 2,
                failing_since: Some(ago(61_000)),
                blocked_by: Some(BlockedBy::Silence { until: ago(-4_000) }),
                learned_per_minute: Some(60),
                ..SinkStatus::default()
            },
        )]),
    });
    judged(status)
}

/// The status of a state on which no relay has run yet.
fn nothing() -> Status {
    let mut status = Status::before_reports(NOW, Path::new("/var/lib/relay"), false);
    status.state.bytes = 123_456;
    judged(status)
}

fn judged(mut status: Status) -> Status {
    status.problems = problems(&status, None).into_iter().map(|problem| problem.detail).collect();
    status.healthy = status.problems.is_empty();
    status
}

fn json(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

#[test]
fn the_json_is_what_scripts_rely_on() {
    let letter = DeadLetter {
        seq: Seq(5),
        sink: "crm".into(),
        id: "m-1".into(),
        received: ago(90_000),
        attempts: 4,
        first_attempt: Some(ago(80_000)),
        died: None,
        status: Some(503),
        reason: "gave_up".into(),
        answer: "503".into(),
        replays: 1,
    };
    let fate = TracedDelivery {
        sink: "crm".into(),
        configured: true,
        paused: false,
        state: DeliveryState::Dead,
        attempts: 4,
        first_attempt: Some(ago(80_000)),
        settled: Some(NOW),
        due: None,
        status: Some(503),
        reason: Some("gave_up".into()),
        answer: None,
        replays: 2,
        handed_over_by: Some("sms".into()),
    };
    let trace = Trace {
        id: "m-1".into(),
        received: ago(90_000),
        ingested: None,
        first_read: NOW,
        standing: RowStanding::BelowWatermark,
        held_by: Some(WalkId(4)),
        release_no: Some(17),
        bytes: None,
        number: Some("n-1".into()),
        deliveries: vec![fate],
        sinks_without_delivery: vec!["ops".into()],
    };
    let listed =
        sinks().map(|sink| ListedSink { stored: StoredSink::at(NOW, sink), learned_requests_per_minute: None });
    let shown = Value::Array(vec![
        json(&everything(true)),
        json(&everything(false)),
        json(&nothing()),
        json(&listed),
        json(&letter),
        json(&trace),
    ]);
    let relied_on: Value = serde_json::from_str(include_str!("../../tests/fixtures/status.json")).unwrap();
    contains(&shown, &relied_on, "");
}

/// Asserts that `shown` has every field of `relied_on`, with the same value. `shown` may have further fields.
fn contains(shown: &Value, relied_on: &Value, path: &str) {
    match (shown, relied_on) {
        (Value::Object(shown), Value::Object(relied_on)) => {
            for (name, value) in relied_on {
                let path = format!("{path}.{name}");
                let shown = shown.get(name).unwrap_or_else(|| panic!("{path} is gone"));
                contains(shown, value, &path);
            }
        }
        (Value::Array(shown), Value::Array(relied_on)) => {
            assert_eq!(shown.len(), relied_on.len(), "{path}");
            for (index, (shown, value)) in shown.iter().zip(relied_on).enumerate() {
                contains(shown, value, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(shown, relied_on, "{path}"),
    }
}

/// Collects the fields of an object and of the objects in it, under the names of docs/status.md, each with its values.
fn fields<'v>(value: &'v Value, path: &str, found: &mut BTreeMap<String, Vec<&'v Value>>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(value, &path, found);
                let is_section = matches!(path.as_str(), "state" | "relay" | "polling" | "budget");
                if !is_section {
                    found.entry(path).or_default().push(value);
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| fields(element, &format!("{path}[]"), found)),
        _ => {}
    }
}

/// Returns whether a value has one of the types that docs/status.md names.
fn is_of(value: &Value, types: &str) -> bool {
    types.split(" or ").any(|kind| match kind {
        "text" => value.is_string(),
        "instant" => value.as_str().is_some_and(|text| UnixMs::parse(text).is_some()),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_f64(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "array of text" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        "null" => value.is_null(),
        _ => panic!("docs/status.md has the type {kind}"),
    })
}

#[test]
fn the_document_has_every_field_and_its_type() {
    let (_, section) = include_str!("../../docs/status.md").split_once("## `status --json`").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let cells = |row: &'static str| {
        let mut cells = row.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`'), cells.next()?))
    };
    let documented: BTreeMap<&str, &str> = section.lines().filter_map(cells).collect();
    let shown = [everything(true), everything(false), nothing()].map(|status| json(&status));
    let mut found = BTreeMap::new();
    shown.iter().for_each(|status| fields(status, "", &mut found));
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, documented.keys().copied().collect(), "the program (left), docs/status.md (right)");
    for (name, values) in &found {
        let types = documented[name.as_str()];
        for value in values {
            assert!(is_of(value, types), "{name} is {value}, and docs/status.md says: {types}");
        }
    }
}
