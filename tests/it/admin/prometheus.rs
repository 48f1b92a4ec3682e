//! Tests of `/metrics` with a running relay, with promtool, and with a Prometheus.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::client::{address, get, parsed, raw, wait_for, with_endpoint};
use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::relay::Relay;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Waits until the metrics have all of these samples, written without `joltsms_relay_` and the label `account`. Returns
/// the text.
fn wait_for_samples(relay: &Relay, address: SocketAddr, samples: &[&str]) -> String {
    let complete = |sample: &&str| match sample.split_once('}') {
        Some((before, value)) => format!("joltsms_relay_{before},account=\"main\"}}{value}"),
        None => format!("joltsms_relay_{}", sample.replacen(' ', "{account=\"main\"} ", 1)),
    };
    let samples: Vec<String> = samples.iter().map(complete).collect();
    let has_all = |text: &str| samples.iter().all(|sample| text.lines().any(|line| line == sample));
    let answer = wait_for(relay, address, "/metrics", &format!("{samples:#?}"), |answer| {
        answer.status == 200 && has_all(&answer.body)
    });
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    answer.body
}

#[test]
fn a_sink_that_a_reload_adds_is_counted() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let sink = |name: &str| format!("[sinks.{name}]\ntype = \"http\"\nurl = \"{}\"\n", receiver.url());
    let file = scene.file(&sink("crm"));
    let relay = with_endpoint(scene.setup_from_beginning()).env("JOLTSMS_RELAY_CONFIG", &file).start();
    let address = address(&relay);
    scene.file(&(sink("crm") + &sink("desk")));
    relay.signal("HUP");
    relay.wait_for_log("sinks.added=\"desk\"");
    scene.add();
    receiver.wait(2, &relay);
    let delivered = |sink| format!("deliveries_total{{outcome=\"delivered\",sink=\"{sink}\"}} 1");
    wait_for_samples(&relay, address, &[&delivered("crm"), &delivered("desk")]);
}

#[test]
fn an_event_of_a_number_is_a_delivery_and_no_message() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let soon = scene.handle().now() + jiff::SignedDuration::from_hours(1);
    scene.handle().add_number(joltsms_simulator::NewNumber { expires_at: Some(soon), ..Default::default() });
    let setup = with_endpoint(scene.setup().sink(&receiver.url())).set("SINKS__CRM__EVENTS", "true");
    let relay = setup.set("EVENTS__NUMBER_EXPIRING", "1d").start();
    let samples = ["deliveries_total{outcome=\"delivered\",sink=\"crm\"} 1", "messages_total 0"];
    wait_for_samples(&relay, address(&relay), &samples);
}

#[test]
fn what_happens_is_counted() {
    let scene = Scene::new();
    scene.add_past(25);
    let receiver = Receiver::in_background();
    receiver
        .answer(|place| if place == 0 { (500, std::time::Duration::ZERO) } else { (200, std::time::Duration::ZERO) });
    let setup = with_endpoint(scene.setup_from_beginning().sink(&receiver.url()));
    let relay = setup.set("SINKS__CRM__RETRY__INITIAL", "100ms").start();
    let address = address(&relay);
    let text = wait_for_samples(
        &relay,
        address,
        &[
            "messages_total 25",
            "gaps 0",
            "deliveries_total{outcome=\"delivered\",sink=\"crm\"} 25",
            "deliveries_total{outcome=\"retry\",sink=\"crm\"} 1",
            "deliveries_total{outcome=\"dead\",sink=\"crm\"} 0",
            "delivery_duration_seconds_count{sink=\"crm\"} 26",
            "delivery_lag_seconds_count{sink=\"crm\"} 25",
            "queue_messages{sink=\"crm\"} 0",
            "queue_oldest_age_seconds{sink=\"crm\"} 0",
            "api_budget_limit 10000",
        ],
    );
    let has_polled = wait_for(&relay, address, "/metrics", "the first poll", |answer| {
        answer.body.contains("joltsms_relay_last_poll_timestamp_seconds{")
    });
    let text = text + &has_polled.body;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("joltsms_relay_{name}"))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("api_requests_total{status=\"200\"") >= 3.0 && value("gap_pages_total") >= 1.0, "{text}");
    assert!(value("state_bytes") > 4096.0 && value("last_poll_timestamp_seconds") > 1.7e9, "{text}");
    for row in scene.handle().rows() {
        for private in [&row.from, &row.id, &row.number_id] {
            assert!(!text.contains(private.as_str()), "{private} stands in {text}");
        }
    }
    receiver.answer_with(410);
    scene.add();
    let paused = ["sink_paused{reason=\"gone\",sink=\"crm\"} 1", "queue_messages{sink=\"crm\"} 1"];
    wait_for_samples(&relay, address, &paused);
    ends_with_nothing_more(relay);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !all_there(&missing_programs(&["promtool"])) {
        return;
    }
    let scene = Scene::new();
    scene.add_past(12);
    let relay = with_endpoint(scene.setup_from_beginning()).start();
    let address = address(&relay);
    let sample = ["deliveries_total{outcome=\"delivered\",sink=\"stdout\"} 12"];
    let text = wait_for_samples(&relay, address, &sample);
    let mut promtool = Command::new(program("promtool").unwrap())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    relay.ids(12);
    ends_with_nothing_more(relay);
}

/// A process that is killed when this value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_prometheus_scrapes_the_relay() {
    if !all_there(&missing_programs(&["prometheus"])) {
        return;
    }
    let scene = Scene::new();
    let relay = with_endpoint(scene.setup_from_beginning()).start();
    let address = address(&relay);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n- job_name: joltsms-relay\n  static_configs:\n  - targets: [\"{address}\"]\n"
    );
    fs::write(&config, text).unwrap();
    let log = dir.path().join("log");
    let _prometheus = Process(
        Command::new(program("prometheus").unwrap())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let told = || fs::read_to_string(&log).unwrap_or_default();
    let ask = |query: &str| -> Option<String> {
        std::net::TcpStream::connect(free).ok()?;
        let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {free}\r\n\r\n");
        let answer = raw(free, request.as_bytes());
        let answer: Value = serde_json::from_str(&parsed(&answer).body).ok()?;
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    wait_until("up = 1", || ask("up").as_deref() == Some("1"), told);
    wait_until("a metric", || ask("joltsms_relay_build_info").as_deref() == Some("1"), told);
    assert_eq!(get(address, "/healthz").status, 200);
    ends_with_nothing_more(relay);
}
