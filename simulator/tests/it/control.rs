//! Tests of the control API: most functions of the handle over HTTP.

use std::time::Duration;

use joltsms_simulator::{Simulator, Switches};
use serde_json::{Value, json};

use crate::client::{Broken, Request, at, fill, get, start, try_get, until, with};

fn control(simulator: &Simulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    let target = format!("/_simulator/{path}");
    let response = Request::new(method, &target).body(body).send(simulator);
    (response.status, response.json())
}

/// Sends a control request that must succeed. Returns the answer.
fn done(simulator: &Simulator, method: &str, path: &str, body: &str) -> Value {
    let (status, value) = control(simulator, method, path, body);
    assert_eq!(status, 200, "{method} {path}: {value}");
    value
}

#[test]
fn messages_are_added_shown_and_taken_away() {
    let simulator = start();
    let added = done(
        &simulator,
        "POST",
        "messages",
        r#"{"id": "a b/c", "to": "+16505550100", "body": "x", "receivedAt": "2025-06-15T11:00:00Z"}"#,
    );
    assert_eq!(added, json!({"ids": ["a b/c"]}));
    let added = done(&simulator, "POST", "messages", r#"[{"id": "two", "extra": {"cost": 1.10}}, {}]"#);
    assert_eq!(added["ids"].as_array().unwrap().len(), 2);
    let ids = get(&simulator, "/v1/messages").ids();
    assert_eq!((ids.len(), ids[2].as_str()), (3, "a b/c"));
    assert!(get(&simulator, "/v1/messages").text().contains("\"cost\":1.10"));
    assert_eq!(done(&simulator, "GET", "messages?limit=1", "").as_array().unwrap().len(), 1);
    assert_eq!(done(&simulator, "GET", "messages/a%20b%2Fc", "")["message"]["to"], "+16505550100");

    done(&simulator, "DELETE", "messages/two", "");
    assert!(!get(&simulator, "/v1/messages").ids().contains(&"two".to_owned()));
    assert_eq!(done(&simulator, "GET", "messages/two", "")["vanished"], true);
    done(&simulator, "POST", "messages/two/restore", "");
    done(&simulator, "POST", "messages/two/relocate", r#"{"to": "2020-01-01T00:00:00Z"}"#);
    assert_eq!(get(&simulator, "/v1/messages").ids()[2], "two");
    for (method, path) in [("DELETE", "messages/no"), ("POST", "messages/two/restore"), ("GET", "messages/no")] {
        assert_eq!(control(&simulator, method, path, "").0, 404, "{path}");
    }
    done(&simulator, "DELETE", "messages", "");
    assert_eq!(get(&simulator, "/v1/messages").ids().len(), 0);
    done(&simulator, "POST", "history", r#"{"count": 25, "length": "2d"}"#);
    assert_eq!(get(&simulator, "/v1/messages").json()["meta"]["total"], 25);
    let oldest = simulator.handle().rows()[24].received_at;
    assert!(oldest < at(-86_400_000) && oldest > at(-2 * 86_400_000 - 2000));
}

#[test]
fn switches_are_shown_and_changed() {
    let simulator = start();
    assert_eq!(done(&simulator, "GET", "switches", ""), json!(Switches::default()));
    let changed = done(&simulator, "PATCH", "switches", r#"{"pretty": true, "window": "5s", "cursorLifetime": "1m"}"#);
    let expected = Switches {
        pretty: true,
        window: Duration::from_secs(5),
        cursor_lifetime: Some(Duration::from_secs(60)),
        ..Switches::default()
    };
    assert_eq!((changed, simulator.handle().switches()), (json!(expected), expected.clone()));
    for wrong in [r#"{"prety": true}"#, r#"{"pretty": 1}"#, "{", r#"{"pretty": false, "ties": "random"}"#] {
        let (status, problem) = control(&simulator, "PATCH", "switches", wrong);
        assert_eq!((status, problem["message"].is_string()), (400, true), "{wrong}");
    }
    assert_eq!(simulator.handle().switches(), expected, "a request that is not understood changes nothing");
}

#[test]
fn faults_are_added_shown_and_taken_away() {
    let simulator = start();
    let numbers = done(
        &simulator,
        "POST",
        "faults",
        r#"[{"effects": ["hang"], "when": {"path": "/x"}}, {"effects": [{"status": {"status": 503}}], "times": null}]"#,
    );
    assert_eq!(numbers, json!({"numbers": [1, 2]}));
    assert_eq!(get(&simulator, "/v1/messages").status, 503);
    let shown = done(&simulator, "GET", "faults", "");
    assert_eq!((&shown[1]["number"], &shown[1]["acted"], &shown[0]["acted"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!(shown[0]["rule"]["effects"], json!(["hang"]));
    done(&simulator, "DELETE", "faults/2", "");
    assert_eq!((get(&simulator, "/v1/messages").status, simulator.handle().faults().len()), (200, 1));
    assert_eq!(control(&simulator, "DELETE", "faults/2", "").0, 404);
    done(&simulator, "DELETE", "faults", "");
    assert_eq!(simulator.handle().faults().len(), 0);
    let (status, problem) = control(&simulator, "POST", "faults", r#"{"effects": ["explode"]}"#);
    assert_eq!(status, 400);
    assert!(problem["message"].as_str().unwrap().contains("unknown variant `explode`"));
}

#[test]
fn keys_and_numbers_are_made_and_ended() {
    let simulator = with(Switches { key_cache: Duration::ZERO, ..Switches::default() });
    let key = done(&simulator, "POST", "keys", r#"{"name": "ci", "expiresAt": "2025-06-15T13:00:00Z"}"#);
    let ask = || Request::new("GET", "/v1/numbers").bearer(key["key"].as_str().unwrap()).send(&simulator).status;
    assert_eq!(ask(), 200);
    done(&simulator, "PATCH", "keys/ci", r#"{"expiresAt": "2025-06-15T11:00:00Z"}"#);
    assert_eq!(ask(), 401);
    done(&simulator, "PATCH", "keys/ci", r#"{"expiresAt": null}"#);
    assert_eq!(ask(), 200);
    done(&simulator, "DELETE", "keys/ci", "");
    assert_eq!((ask(), control(&simulator, "DELETE", "keys/ci", "").0), (401, 404));
    let keys = done(&simulator, "GET", "keys", "");
    assert_eq!(keys[1]["name"], "ci");
    assert!(!keys.to_string().contains(key["key"].as_str().unwrap()));

    let number =
        done(&simulator, "POST", "numbers", r#"{"id": "num_x", "phoneNumber": "+16505550123", "tags": ["prod"]}"#);
    assert_eq!(number["phoneNumber"], "+16505550123");
    assert_eq!(done(&simulator, "GET", "numbers", "")[1], number);
    assert_eq!(get(&simulator, "/v1/numbers/num_x").json()["data"]["tags"], json!(["prod"]));
}

#[test]
fn a_number_expires_when_it_is_asked_to() {
    let simulator = start();
    let number = done(&simulator, "POST", "numbers", r#"{"id": "num_x", "expiresIn": "6d", "serviceName": "PayPal"}"#);
    let expires = at(6 * 86_400_000).to_string();
    assert_eq!((&number["expiresAt"], &number["serviceName"]), (&json!(expires), &json!("PayPal")));
    let listed = || get(&simulator, "/v1/numbers/num_x").json()["data"]["expiresAt"].clone();
    assert_eq!(listed(), "2025-06-21T12:00:00.000Z");
    done(&simulator, "POST", "clock", r#"{"advance": "2d"}"#);
    assert_eq!((simulator.handle().now(), listed()), (at(2 * 86_400_000), json!("2025-06-21T12:00:00.000Z")));
    let dated = done(&simulator, "POST", "numbers", r#"{"expiresAt": "2030-01-01T00:00:00Z", "expiresIn": "1d"}"#);
    assert_eq!(dated["expiresAt"], "2030-01-01T00:00:00Z");
    let before = simulator.handle().numbers().len();
    for (wrong, words) in [
        (r#"{"expires": "6d"}"#, "unknown field `expires`, expected one of `id`, `phoneNumber`"),
        (r#"{"expiresIn": "soon"}"#, "\"soon\" is not a duration such as 90s, 5m or 2d"),
        (r#"{"expiresIn": 6}"#, "expected a string"),
    ] {
        let (status, problem) = control(&simulator, "POST", "numbers", wrong);
        let said = problem["message"].as_str().unwrap();
        assert!(status == 400 && said.contains(words), "{wrong}: {said}");
    }
    assert_eq!(simulator.handle().numbers().len(), before, "a request that is not understood changes nothing");
}

#[test]
fn another_program_spends_through_it() {
    let simulator = start();
    let other = done(&simulator, "POST", "keys", r#"{"name": "other"}"#);
    let left = |key: &str| {
        let response = Request::new("GET", "/v1/numbers").bearer(key).send(&simulator);
        response.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap()
    };
    done(&simulator, "POST", "foreign", r#"{"requests": 20}"#);
    done(&simulator, "POST", "foreign", r#"{"requests": 50, "key": "other"}"#);
    assert_eq!((left(&simulator.key()), left(other["key"].as_str().unwrap())), (99, 69));
    done(&simulator, "PUT", "foreign", r#"{"perMinute": 60}"#);
    done(&simulator, "PUT", "foreign", r#"{"perMinute": 120, "key": "other"}"#);
    assert_eq!(done(&simulator, "GET", "state", "")["foreign"].as_array().unwrap().len(), 2);
    done(&simulator, "POST", "clock", r#"{"advance": "10s"}"#);
    assert_eq!((left(&simulator.key()), left(other["key"].as_str().unwrap())), (88, 48));
}

#[test]
fn the_log_and_the_state_are_shown() {
    let simulator = start();
    fill(&simulator.handle(), 3);
    get(&simulator, "/v1/messages?limit=2");
    simulator.handle().advance(Duration::from_millis(1500));
    get(&simulator, "/v1/numbers");
    let log = done(&simulator, "GET", "requests", "");
    assert_eq!((log.as_array().unwrap().len(), &log[0]["query"], &log[0]["rows"]), (2, &json!("limit=2"), &json!(2)));
    assert_eq!(log[1]["at"], 1.5);
    assert!(!log.to_string().contains(&simulator.key()));
    assert_eq!(done(&simulator, "GET", "requests?after=1", "")[0]["path"], "/v1/numbers");
    let state = done(&simulator, "GET", "state", "");
    assert_eq!((&state["messages"], &state["counters"]["requests"]), (&json!(3), &json!(2)));
    assert!(!state.to_string().contains(&simulator.key()));
    done(&simulator, "DELETE", "requests", "");
    assert_eq!(simulator.handle().requests().len(), 0);
}

#[test]
fn control_requests_are_neither_counted_nor_spoiled() {
    let simulator = start();
    done(&simulator, "POST", "faults", r#"{"effects": ["hang"], "times": null}"#);
    done(&simulator, "POST", "foreign", r#"{"requests": 120}"#);
    done(&simulator, "GET", "state", "");
    assert_eq!(simulator.handle().requests().len(), 0);
    let (status, routes) = control(&simulator, "GET", "nowhere", "");
    assert_eq!(status, 404);
    assert!(routes["routes"].as_array().unwrap().contains(&json!("GET /_simulator/state")));
    assert_eq!(Request::new("GET", "/_simulator").send(&simulator).json()["routes"], routes["routes"]);
    assert_eq!(
        Request::new("GET", "/_simulators").bearer("x").patience(200).try_send(&simulator).unwrap_err(),
        Broken::Silent(vec![])
    );
}

#[test]
fn an_outage_begins_after_its_answer_and_ends() {
    let simulator = start();
    let handle = simulator.handle();
    done(&simulator, "POST", "outage", r#"{"length": "30s"}"#);
    assert_eq!(get(&simulator, "/v1/messages").status, 200);
    handle.advance(Duration::from_millis(100));
    // A task notices the change. Connections that are made before that are answered or closed.
    until(|| try_get(&simulator, "/v1/messages") == Err(Broken::Refused));
    handle.advance(Duration::from_millis(29_999));
    assert_eq!(try_get(&simulator, "/v1/messages").unwrap_err(), Broken::Refused);
    handle.advance(Duration::from_millis(1));
    until(|| try_get(&simulator, "/v1/messages").is_ok());
}

#[test]
fn traffic_is_set_through_it() {
    let simulator = start();
    let traffic = done(&simulator, "PUT", "traffic", r#"{"perMinute": 60, "late": 0.5, "lateBy": "2m"}"#);
    assert_eq!(
        (&traffic["perMinute"], &traffic["lateBy"], &traffic["future"]),
        (&json!(60.0), &json!("2m"), &json!(0.0))
    );
    done(&simulator, "POST", "clock", r#"{"advance": "10m"}"#);
    assert!(simulator.handle().message_count() > 400);
}
