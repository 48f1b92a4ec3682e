//! Tests of `/healthz`, `/readyz` and `/api/v1/status`, and of the beginning and the end of the endpoint.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use joltsms_relay::daemon::log_sentences::{ADMIN_LISTENS, STOPPING};
use joltsms_simulator::{Effect, Rule};
use serde_json::Value;

use super::client::{address, get, get_with_token, wait_for, with_endpoint, with_token};
use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::{Receiver, Reply};

/// Waits until the relay is not ready for exactly these reasons.
fn wait_for_reasons(relay: &Relay, address: SocketAddr, expected: &[&str]) -> Value {
    let reasons = |problem: &Value| -> Vec<String> {
        let list = problem["reasons"].as_array().cloned().unwrap_or_default();
        list.iter().map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect()
    };
    let what = format!("{expected:?} as the reasons");
    let answer = wait_for(relay, address, "/readyz", &what, |answer| {
        answer.status == 503 && reasons(&answer.json()) == expected
    });
    answer.assert_problem(503)
}

fn wait_until_ready(relay: &Relay, address: SocketAddr) {
    wait_for(relay, address, "/readyz", "the relay to be ready", |answer| answer.status == 200);
}

#[test]
fn a_relay_that_works_is_healthy_and_ready() {
    let scene = Scene::new();
    let relay = with_endpoint(scene.setup_from_beginning()).start();
    let address = address(&relay);
    assert!(address.ip().is_loopback() && address.port() != 0);
    wait_until_ready(&relay, address);
    assert_eq!(get(address, "/readyz").json(), serde_json::json!({ "ready": true, "reasons": [] }));
    let healthy = get(address, "/healthz");
    assert_eq!((healthy.status, healthy.json()), (200, serde_json::json!({ "healthy": true })));
    assert!(healthy.head.contains("cache-control: no-store"), "{healthy:?}");
    assert_eq!(get(address, "/metrics").status, 200);
    for path in ["/", "/nonsense", "/healthz/", "/healthz/x", "/api/v1/status", "/%2e%2e/etc/passwd"] {
        get(address, path).assert_problem(404);
    }
    ends_with_nothing_more(relay);
}

#[test]
fn each_reason_why_a_relay_is_not_ready_is_told() {
    let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
    let fault = scene.handle().add_fault(Rule::always(Effect::status(502)));
    let receiver = Receiver::in_background();
    receiver.answer_with(410);
    let relay = with_endpoint(scene.setup_from_beginning().sink(&receiver.url())).start();
    let address = address(&relay);
    let problem = wait_for_reasons(&relay, address, &["starting"]);
    wait_for(&relay, address, "/readyz", "the API's answer", |answer| answer.body.contains("502 from the API"));
    assert_eq!(get(address, "/healthz").status, 200, "a restart would not help: {problem}");
    scene.handle().remove_fault(fault);
    wait_until_ready(&relay, address);
    scene.add();
    let problem = wait_for_reasons(&relay, address, &["sink_paused"]);
    assert_eq!(problem["reasons"][0]["sink"], "crm", "{problem}");
    assert_eq!(problem["detail"], "crm is paused: its receiver is gone");
    scene.handle().add_fault(Rule::always(Effect::status(401)));
    wait_for_reasons(&relay, address, &["no_key", "sink_paused"]);
    assert_eq!(Setup::bare(scene.dir()).args(&["sinks", "pause", "crm"]).output().0, 0);
    wait_for_reasons(&relay, address, &["no_key"]);
    ends_with_nothing_more(relay);
}

#[test]
fn a_relay_that_stops_is_healthy_and_not_ready_and_answers_until_the_end() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.reply(|_| Reply::never());
    let mut relay = with_endpoint(scene.setup_from_beginning().sink(&receiver.url())).start();
    let address = address(&relay);
    wait_until_ready(&relay, address);
    scene.add();
    receiver.wait(1, &relay);
    relay.signal("TERM");
    relay.wait_for_log(STOPPING);
    wait_for_reasons(&relay, address, &["stopping"]);
    assert_eq!(get(address, "/healthz").status, 200);
    relay.signal("TERM");
    assert_eq!(relay.wait().code(), Some(0), "{}", relay.log());
    assert!(TcpStream::connect(address).is_err(), "the port is free");
}

#[test]
fn the_status_is_the_one_of_the_command() {
    let scene = Scene::new();
    scene.add_past(3);
    let relay = with_token(scene.setup_from_beginning()).start();
    let address = address(&relay);
    wait_until_ready(&relay, address);
    relay.ids(3);
    let answer = get_with_token(address, "/api/v1/status");
    assert!(answer.status == 200 && answer.head.contains("content-type: application/json"), "{answer:?}");
    let shown = answer.json();
    let (code, printed, log) = Setup::bare(scene.dir()).args(&["status", "--json"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(names(&shown, ""), names(&printed, ""));
    assert_eq!(shown["relay"]["pid"], relay.id());
    assert_eq!(shown["healthy"], true, "{shown}");
    assert_eq!(shown["state"]["dir"], printed["state"]["dir"]);
    ends_with_nothing_more(relay);
}

/// Returns the names of all fields, with those of the objects in it.
fn names(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| names(value, &format!("{path}.{name}"))).collect()
        }
        Value::Array(elements) => {
            elements.iter().take(1).flat_map(|value| names(value, &format!("{path}[]"))).collect()
        }
        _ => vec![path.to_owned()],
    }
}

#[test]
fn a_port_in_use_is_told_and_nothing_begins() {
    let scene = Scene::new();
    scene.add_past(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, printed, log) = scene.setup_from_beginning().set("ADMIN__LISTEN", &address).output();
    assert_eq!((code, printed.as_str()), (1, ""), "{log}");
    assert!(log.contains(&format!("the admin endpoint cannot listen at {address}: ")), "{log}");
    assert!(log.contains("uses the port: set another `admin.listen`"), "{log}");
    assert!(scene.handle().requests().is_empty());
}

#[test]
fn an_address_that_others_reach_is_refused_without_a_token() {
    let scene = Scene::new();
    let (code, _, log) = scene.setup().set("ADMIN__LISTEN", "0.0.0.0:0").output();
    assert_eq!(code, 78, "{log}");
    assert!(log.contains("can be reached from other machines, so it needs `admin.token`"), "{log}");
}

#[test]
fn a_relay_that_catches_up_once_has_no_endpoint() {
    let scene = Scene::new();
    scene.add_past(1);
    let (code, printed, log) = with_endpoint(scene.setup_from_beginning()).args(&["once"]).output();
    assert_eq!((code, printed.lines().count()), (0, 1), "{log}");
    assert!(!log.contains(ADMIN_LISTENS), "{log}");
}
