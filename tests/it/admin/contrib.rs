//! Tests of the dashboard and the alert rules in `contrib/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::prerequisites::{all_there, missing_programs, program};

const PREFIX: &str = "joltsms_relay_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns the metrics that docs/metrics.md lists.
fn documented() -> BTreeSet<String> {
    let text = read("docs/metrics.md");
    let names = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// Returns the metrics that a text names. The parts of a histogram count as the histogram.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |next: char| next.is_ascii_alphanumeric() || next == '_';
    let names = text.match_indices(PREFIX).map(|(at, _)| text[at..].split(|next| !is_part(next)).next().unwrap());
    let whole = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
    };
    names.map(whole).collect()
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("contrib/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert_eq!(named(&queries.join("\n")), documented());
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        assert!(panel["title"].is_string() && panel["gridPos"]["w"].is_u64(), "{panel}");
        let explained = panel["type"] == "row" || panel["description"].is_string();
        assert!(explained, "{panel}");
    }
}

#[test]
fn the_alert_rules_use_only_metrics_that_there_are() {
    let documented = documented();
    for file in ["contrib/alerts.yaml", "contrib/alerts.test.yaml"] {
        let text = read(file);
        let unknown: Vec<String> = named(&text).difference(&documented).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let (rules, tests) = (read("contrib/alerts.yaml"), read("contrib/alerts.test.yaml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(tests.matches(alert).count() >= 2, "{alert}: a test where it fires, and one where it does not");
    }
}

#[test]
fn promtool_takes_the_alert_rules_and_their_tests() {
    if !all_there(&missing_programs(&["promtool"])) {
        return;
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
        let output = Command::new(program("promtool").unwrap()).args(arguments).current_dir(contrib).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
