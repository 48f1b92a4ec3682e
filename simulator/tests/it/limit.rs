//! Tests of the rate limit: the documented window, headers and 429, and other programs whose requests count.

use std::time::Duration;

use joltsms_simulator::{LimitScope, LimitText, ResetRounding, Simulator, Switches, WindowKind};
use serde_json::json;

use crate::client::{Request, Response, get, session, start, with};

/// Returns the values of `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
fn told(response: &Response) -> [i64; 3] {
    ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
        .map(|name| response.header(name).unwrap_or_else(|| panic!("{name}: {response:?}")).parse().unwrap())
}

fn ask(simulator: &Simulator) -> Response {
    get(simulator, "/v1/messages?limit=1")
}

#[test]
fn the_121st_request_of_a_minute_is_the_documented_429() {
    let simulator = start();
    let handle = simulator.handle();
    handle.advance(Duration::from_millis(7_777));
    assert_eq!(told(&ask(&simulator)), [120, 119, 60]);
    handle.advance(Duration::from_millis(18_500));
    for remaining in (0..119).rev() {
        assert_eq!(told(&ask(&simulator)), [120, remaining, 42]);
    }
    let refused = ask(&simulator);
    assert_eq!(refused.status, 429);
    assert_eq!(told(&refused), [120, 0, 42]);
    assert_eq!(refused.header("retry-after"), Some("42"));
    let expected = json!({"error": "RATE_LIMIT_EXCEEDED", "message": "Rate limit exceeded, retry in 42 seconds"});
    assert_eq!(refused.json(), expected);
    handle.advance(Duration::from_millis(41_499));
    assert_eq!(ask(&simulator).status, 429);
    handle.advance(Duration::from_millis(1));
    let fresh = ask(&simulator);
    assert_eq!((fresh.status, told(&fresh), fresh.header("retry-after")), (200, [120, 119, 60], None));
}

#[test]
fn every_response_carries_the_headers_and_only_keys_are_counted() {
    let simulator = start();
    let unknown = Request::new("GET", "/v1/messages").bearer("nobody").send(&simulator);
    assert_eq!((unknown.status, told(&unknown)), (401, [120, 120, 60]));
    assert_eq!(told(&session(&simulator, "GET", "/v1/api-keys", "")), [120, 120, 60]);
    let forbidden = get(&simulator, "/v1/api-keys");
    assert_eq!((forbidden.status, told(&forbidden)), (403, [120, 119, 60]));
    let lost = get(&simulator, "/nowhere");
    assert_eq!((lost.status, told(&lost)), (404, [120, 118, 60]));
}

#[test]
fn limit_and_window_are_switches() {
    let switches = Switches { limit: 2, window: Duration::from_millis(500), ..Switches::default() };
    let simulator = with(switches);
    assert_eq!([ask(&simulator), ask(&simulator), ask(&simulator)].map(|r| r.status), [200, 200, 429]);
    simulator.handle().advance(Duration::from_millis(500));
    assert_eq!(told(&ask(&simulator)), [2, 1, 1]);
}

#[test]
fn a_calendar_window_begins_without_a_request() {
    let simulator = with(Switches { window_kind: WindowKind::Calendar, limit: 1, ..Switches::default() });
    simulator.handle().advance(Duration::from_secs(50));
    assert_eq!(told(&ask(&simulator)), [1, 0, 10]);
    assert_eq!(ask(&simulator).status, 429);
    simulator.handle().advance(Duration::from_secs(10));
    assert_eq!(told(&ask(&simulator)), [1, 0, 60]);
}

#[test]
fn a_sliding_window_forgets_request_by_request() {
    let simulator = with(Switches { window_kind: WindowKind::Sliding, limit: 2, ..Switches::default() });
    let handle = simulator.handle();
    ask(&simulator);
    handle.advance(Duration::from_secs(30));
    ask(&simulator);
    handle.advance(Duration::from_secs(30));
    assert_eq!([ask(&simulator), ask(&simulator)].map(|r| r.status), [200, 429]);
}

#[test]
fn the_limit_belongs_to_a_key_or_to_the_account() {
    for (limit_scope, status) in [(LimitScope::Key, 200), (LimitScope::Account, 429)] {
        let simulator = with(Switches { limit_scope, limit: 1, ..Switches::default() });
        let other = simulator.handle().create_key("other", None).unwrap().secret;
        assert_eq!(ask(&simulator).status, 200);
        assert_eq!(Request::new("GET", "/v1/numbers").bearer(other).send(&simulator).status, status);
    }
}

#[test]
fn the_reset_is_rounded_as_the_switch_says() {
    for (reset, seconds) in [(ResetRounding::Up, 60), (ResetRounding::Down, 59)] {
        let simulator = with(Switches { reset, ..Switches::default() });
        ask(&simulator);
        simulator.handle().advance(Duration::from_millis(1));
        assert_eq!(told(&ask(&simulator))[2], seconds);
    }
}

#[test]
fn retry_after_and_the_text_are_switches() {
    let switches = Switches { limit: 0, retry_after: false, limit_text: LimitText::Minutes, ..Switches::default() };
    let refused = ask(&with(switches));
    assert_eq!((refused.status, refused.header("retry-after")), (429, None));
    assert_eq!(refused.json()["message"], "Rate limit exceeded, retry in 1 minute");
}

#[test]
fn another_program_spends_at_once() {
    let simulator = start();
    let handle = simulator.handle();
    ask(&simulator);
    handle.spend(18);
    assert_eq!(told(&ask(&simulator))[1], 100);
    let other = handle.create_key("other", None).unwrap();
    handle.spend_with("other", 50);
    assert_eq!(told(&ask(&simulator))[1], 99);
    let theirs = Request::new("GET", "/v1/numbers").bearer(other.secret).send(&simulator);
    assert_eq!(told(&theirs)[1], 69);
    handle.spend(10_000);
    assert_eq!(ask(&simulator).status, 429);
    handle.reset_limits();
    assert_eq!(told(&ask(&simulator))[1], 119);
}

#[test]
fn another_program_spends_steadily() {
    let simulator = start();
    let handle = simulator.handle();
    ask(&simulator);
    handle.set_foreign_client(60.0);
    handle.advance(Duration::from_millis(20_500));
    assert_eq!(told(&ask(&simulator))[1], 98);
    handle.set_foreign_client(0.0);
    handle.advance(Duration::from_secs(20));
    assert_eq!(told(&ask(&simulator))[1], 97);
}

#[test]
fn no_pace_is_too_fast() {
    let simulator = start();
    let handle = simulator.handle();
    handle.set_foreign_client(1e300);
    handle.set_traffic(joltsms_simulator::Traffic { per_minute: 1e300, ..Default::default() });
    handle.advance(Duration::from_millis(150));
    handle.set_traffic(joltsms_simulator::Traffic::default());
    assert_eq!(ask(&simulator).status, 429);
    assert!(handle.message_count() > 1000);
    handle.advance(Duration::from_secs(1 << 39));
    ask(&simulator);
    handle.advance(Duration::from_secs(1));
    assert_eq!(ask(&simulator).status, 429, "they go on");
    handle.advance(Duration::MAX);
    handle.advance(Duration::MAX);
    assert_eq!(told(&ask(&simulator))[0], 120, "and beyond the end of time it answers still");
}
