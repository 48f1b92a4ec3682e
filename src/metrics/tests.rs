//! Compares the text of the metrics with docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::domain::{Anomaly, PauseReason};

/// A metric as docs/metrics.md and the text describe it: its type and its labels.
type Description = (String, BTreeSet<String>);

/// Returns the text of metrics with a value in every metric.
fn everything() -> String {
    let metrics = Metrics::new("main").unwrap();
    let ingest = metrics.ingest();
    ingest.request_answered(None);
    ingest.foreign_requests_seen(3);
    ingest.foreign_requests_seen(2);
    ingest.page_read(1, 1);
    ingest.messages_stored(5);
    ingest.anomaly_met(Anomaly::NoProgress);
    let sink = metrics.sink("crm");
    sink.attempt_took(Duration::from_millis(20));
    sink.delivered(Some(Duration::from_secs(2)));
    sink.delivered(None);
    sink.retried();
    sink.refused();
    sink.died(2);
    let gauges = Gauges {
        budget_limit: Some(120),
        budget_remaining: Some(60),
        last_poll_ms: Some(1_750_000_000_250),
        frontier_ms: Some(1_750_000_000_000),
        gaps: 1,
        state_bytes: 4096,
        active: Some(true),
        lease_seconds: Some(4.5),
        epoch: Some(3),
        version: "0.1.0",
        queues: vec![QueueGauge { sink: "crm".into(), messages: 4, oldest_age_seconds: 1.5 }],
        pauses: vec![PauseGauge { sink: "crm".into(), reason: PauseReason::Gone }],
        dead_letters: vec![DeadLetterCount { sink: "crm".into(), reason: "expired".into(), count: 7 }],
    };
    metrics.text(&gauges).unwrap()
}

fn exposed(text: &str) -> BTreeMap<String, Description> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            let of_metric = samples.filter(|line| {
                let sample = line.split(['{', ' ']).next().unwrap_or_default();
                sample == name || ["_bucket", "_sum", "_count"].iter().any(|end| sample == format!("{name}{end}"))
            });
            let labels = of_metric.flat_map(|line| {
                let inside =
                    line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
                let names = inside.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                names.filter(|label| label != "le").collect::<Vec<_>>()
            });
            (name.to_owned(), (kind.to_owned(), labels.collect()))
        })
        .collect()
}

/// Reads the table of docs/metrics.md. Every metric has the label `account`, which the table does not repeat.
fn documented() -> BTreeMap<String, Description> {
    let rows = include_str!("../../docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `joltsms_relay_"));
    let read = |row: &str| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, kind, labels, meaning, query] = cells.as_slice() else { panic!("not five cells: {row}") };
        assert!(!meaning.is_empty() && query.contains("joltsms_relay_"), "{row}");
        let labels = labels.split(", ").filter(|label| *label != "–").map(|label| label.trim_matches('`').to_owned());
        let labels = labels.chain(["account".to_owned()]).collect();
        (format!("joltsms_relay_{}", name.trim_end_matches('`')), ((*kind).to_owned(), labels))
    };
    rows.map(read).collect()
}

#[test]
fn the_document_has_every_metric_with_type_and_labels() {
    let (exposed, documented) = (exposed(&everything()), documented());
    assert_eq!(exposed.len(), 23, "{exposed:?}");
    assert_eq!(exposed, documented, "the program (left), docs/metrics.md (right)");
}

#[test]
fn every_value_stands_in_the_text() {
    let text = everything();
    for sample in [
        "api_requests_total{status=\"none\",account=\"main\"} 1",
        "api_requests_total{status=\"200\",account=\"main\"} 0",
        "api_foreign_requests_total{account=\"main\"} 3",
        "gap_pages_total{account=\"main\"} 1",
        "messages_total{account=\"main\"} 5",
        "late_messages_total{account=\"main\"} 1",
        "anomalies_total{kind=\"no_progress\",account=\"main\"} 1",
        "anomalies_total{kind=\"stalled\",account=\"main\"} 0",
        "deliveries_total{outcome=\"delivered\",sink=\"crm\",account=\"main\"} 2",
        "deliveries_total{outcome=\"dead\",sink=\"crm\",account=\"main\"} 2",
        "delivery_lag_seconds_count{sink=\"crm\",account=\"main\"} 1",
        "delivery_duration_seconds_sum{sink=\"crm\",account=\"main\"} 0.02",
        "last_poll_timestamp_seconds{account=\"main\"} 1750000000.25",
        "queue_messages{sink=\"crm\",account=\"main\"} 4",
        "queue_oldest_age_seconds{sink=\"crm\",account=\"main\"} 1.5",
        "dead_letters{reason=\"expired\",sink=\"crm\",account=\"main\"} 7",
        "dead_letters{reason=\"gave_up\",sink=\"crm\",account=\"main\"} 0",
        "sink_paused{reason=\"gone\",sink=\"crm\",account=\"main\"} 1",
        "sink_paused{reason=\"operator\",sink=\"crm\",account=\"main\"} 0",
        "build_info{version=\"0.1.0\",account=\"main\"} 1",
    ] {
        let line = format!("joltsms_relay_{sample}");
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn gauges_without_a_value_are_left_out() {
    let text = Metrics::new("main").unwrap().text(&Gauges::default()).unwrap();
    assert!(!text.contains("last_poll_timestamp_seconds"), "{text}");
    assert!(text.contains("joltsms_relay_gaps{account=\"main\"} 0"), "{text}");
}
