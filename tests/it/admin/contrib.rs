//! Tests of the dashboard and the alert rules in `contrib/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::prerequisites::{all_there, libraries, missing_programs, program};

const PREFIX: &str = "joltsms_relay_";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Labels of every metric: one of the relay, and two that Prometheus adds.
const COMMON_LABELS: [&str; 3] = ["account", "instance", "job"];

/// Returns the metrics that docs/metrics.md lists, with the labels of each.
fn documented_labels() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').collect::<Vec<_>>());
    let row = |cells: Vec<&str>| {
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let own = quoted(cells[3]).into_iter().chain((cells[2].trim() == "histogram").then(|| "le".to_owned()));
        (quoted(cells[1]).remove(0), own.chain(COMMON_LABELS.map(str::to_owned)).collect())
    };
    rows.map(row).collect()
}

/// Returns the metrics that docs/metrics.md lists.
fn documented() -> BTreeSet<String> {
    documented_labels().into_keys().collect()
}

/// Returns the labels that an expression of PromQL selects, groups or matches by.
fn labels_used(expression: &str) -> BTreeSet<String> {
    let words = |list: &str| list.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
    let lists = ["by (", "on ("].into_iter().flat_map(|opening| expression.split(opening).skip(1));
    let grouped = lists.flat_map(|rest| words(rest.split(')').next().unwrap()));
    let selectors = expression.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
    let selected = selectors.flat_map(|selector| {
        let parts = selector.split('"').step_by(2).filter(|part| part.contains('='));
        parts.map(|part| part.trim_matches(|next: char| !next.is_ascii_alphanumeric()).to_owned()).collect::<Vec<_>>()
    });
    grouped.chain(selected).collect()
}

/// Fails if an expression uses a label that none of its metrics has, or if `further` names such a label.
fn assert_labels_exist(expression: &str, further: impl Iterator<Item = String>) {
    let documented = documented_labels();
    let common = COMMON_LABELS.map(str::to_owned);
    let known: BTreeSet<String> =
        named(expression).iter().flat_map(|metric| documented[metric].clone()).chain(common).collect();
    let used: BTreeSet<String> = labels_used(expression).into_iter().chain(further).collect();
    assert!(used.is_subset(&known), "{expression}: {used:?} of {known:?}");
}

/// Returns the queries of the panels of the dashboard.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("contrib/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
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
    assert_eq!(named(&dashboard_queries().join("\n")), documented());
    let elsewhere = named(&dashboard.to_string());
    assert!(elsewhere.is_subset(&documented()), "variables and texts: {elsewhere:?}");
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
fn dashboard_and_alert_rules_use_only_labels_that_there_are() {
    for query in dashboard_queries() {
        assert_labels_exist(&query, std::iter::empty());
    }
    for rule in read("contrib/alerts.yaml").split("- alert: ").skip(1) {
        let (_, rest) = rule.split_once("expr: ").unwrap();
        let (expression, rest) = ["\n        for: ", "\n        labels:"]
            .iter()
            .filter_map(|end| rest.split_once(end))
            .min_by_key(|(expression, _)| expression.len())
            .unwrap();
        let in_texts = rest.split("$labels.").skip(1);
        let in_texts = in_texts.map(|text| text.split(|next: char| !next.is_ascii_alphanumeric()).next().unwrap());
        assert_labels_exist(expression, in_texts.map(str::to_owned));
    }
}

#[test]
fn labels_of_an_expression_are_found() {
    let expression = "histogram_quantile(0.9, sum by (sink, le) (rate(joltsms_relay_x_bucket{account=~\"$a\", kind!=\"b\"}[5m])))\
                      unless on (instance) joltsms_relay_y";
    let expected = ["account", "instance", "kind", "le", "sink"].map(str::to_owned);
    assert_eq!(labels_used(expression), BTreeSet::from(expected));
}

/// Runs promtool in a directory, and fails if promtool fails.
fn promtool(dir: &Path, arguments: [&str; 3]) {
    let output = Command::new(program("promtool").unwrap()).args(arguments).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
fn promtool_takes_the_alert_rules_and_their_tests() {
    if !all_there(&missing_programs(&["promtool"])) {
        return;
    }
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    promtool(&contrib, ["check", "rules", "alerts.yaml"]);
    promtool(&contrib, ["test", "rules", "alerts.test.yaml"]);
}

/// Grafana puts values into the variables of a query before Prometheus reads the query.
#[test]
fn promtool_takes_the_queries_of_the_dashboard() {
    if !all_there(&missing_programs(&["promtool"])) {
        return;
    }
    let rule = |(number, query): (usize, String)| {
        let query = query.replace("$__rate_interval", "5m").replace("$account", "shop");
        assert!(!query.contains('$'), "a variable without a value: {query}");
        serde_json::json!({ "record": format!("query:{number}"), "expr": query })
    };
    let rules: Vec<Value> = dashboard_queries().into_iter().enumerate().map(rule).collect();
    let dir = tempfile::tempdir().unwrap();
    // JSON is YAML, too.
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(dir.path().join("queries.yaml"), groups.to_string()).unwrap();
    promtool(dir.path(), ["check", "rules", "queries.yaml"]);
}

#[test]
fn the_dashboard_keeps_the_schema_of_grafana() {
    let python = libraries().join("venv/bin/python");
    let library = Command::new(&python).args(["-c", "import grafana_foundation_sdk"]).output();
    let missing = match library {
        Ok(output) if output.status.success() => None,
        _ => Some("grafana-foundation-sdk".to_owned()),
    };
    if !all_there(&missing.into_iter().collect::<Vec<_>>()) {
        return;
    }
    let paths = ["tests/interop/dashboard.py", "contrib/grafana-dashboard.json"];
    let paths = paths.map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let output = Command::new(python).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}
