//! Tests of keys. The secret of a key is shown once, when the key is made; lists show only its prefix. Keys expire or are
//! revoked, and are still accepted for a short time after that.

use std::time::Duration;

use joltsms_simulator::{Simulator, Switches};
use serde_json::json;

use crate::client::{Request, Response, at, session, start, with};

fn ask(simulator: &Simulator, key: &str) -> u16 {
    Request::new("GET", "/v1/messages").bearer(key).send(simulator).status
}

fn create(simulator: &Simulator, body: &str) -> Response {
    session(simulator, "POST", "/v1/api-keys", body)
}

#[test]
fn whatever_is_no_valid_key_gets_the_documented_401() {
    let simulator = start();
    let key = simulator.key();
    assert!(
        key.strip_prefix("jolt_sk_").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    );
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(key.clone()),
        Some(format!("Basic {key}")),
        Some(format!("Bearer {}", &key[..key.len() - 1])),
        Some(format!("Bearer {key}0")),
        Some(format!("Bearer {}", key.to_uppercase())),
        Some("Bearer jolt_sk_00000000000000000000000000000000".to_owned()),
    ];
    for authorization in wrong {
        let mut request = Request::new("GET", "/v1/messages");
        if let Some(value) = &authorization {
            request = request.header("Authorization", value.clone());
        }
        let response = request.send(&simulator);
        assert_eq!(response.status, 401, "{authorization:?}");
        assert_eq!(response.json(), json!({"error": "UNAUTHORIZED", "message": "Authentication required"}));
    }
    assert_eq!(ask(&simulator, &key), 200);
    assert_eq!(
        Request::new("GET", "/v1/numbers").header("authorization", format!("bearer {key}")).send(&simulator).status,
        200
    );
}

#[test]
fn session_only_endpoints_refuse_a_key_and_obey_a_session() {
    let simulator = start();
    for (method, target) in [
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"),
        ("DELETE", "/v1/api-keys/key_1"),
        ("POST", "/auth/change-password"),
        ("POST", "/auth/two-factor/enable"),
    ] {
        let response = Request::new(method, target).bearer(simulator.key()).send(&simulator);
        assert_eq!(response.status, 403, "{target}");
        let message =
            "This endpoint requires browser session authentication. API keys cannot be used for this operation.";
        assert_eq!(response.json(), json!({"error": "SESSION_REQUIRED", "message": message}));
        assert_eq!(Request::new(method, target).send(&simulator).status, 401, "{target}");
    }
    for target in ["/auth/change-password", "/auth/two-factor/enable"] {
        assert_eq!(session(&simulator, "POST", target, "").json(), json!({"success": true}));
    }
    let cookie = format!("theme=dark; session={}", simulator.session());
    assert_eq!(Request::new("GET", "/v1/api-keys").header("Cookie", cookie).send(&simulator).status, 200);
    assert_eq!(Request::new("GET", "/v1/api-keys").header("Cookie", "session=guess").send(&simulator).status, 401);
}

#[test]
fn a_key_is_shown_once_and_listed_by_its_prefix() {
    let simulator = start();
    let created = create(&simulator, r#"{"name": "laptop", "expiresAt": "2025-07-01T00:00:00Z"}"#);
    assert_eq!(created.status, 201);
    let created = created.json();
    let secret = created["key"].as_str().unwrap().to_owned();
    assert_eq!(ask(&simulator, &secret), 200);
    let listed = session(&simulator, "GET", "/v1/api-keys", "");
    assert!(!listed.text().contains(&secret));
    let listed = &listed.json()["data"][1];
    assert_eq!((&listed["name"], &listed["id"]), (&json!("laptop"), &created["id"]));
    assert!(secret.starts_with(listed["prefix"].as_str().unwrap()));
    assert_eq!(listed["expiresAt"], "2025-07-01T00:00:00.000Z");
    assert_eq!((&listed["createdAt"], &listed["revokedAt"]), (&json!("2025-06-15T12:00:00.000Z"), &json!(null)));
    assert_eq!(create(&simulator, "{}").status, 400);
}

#[test]
fn five_keys_may_be_active_and_no_more() {
    let simulator = with(Switches { key_cache: Duration::ZERO, ..Switches::default() });
    let ids: Vec<String> = (0..4)
        .map(|n| create(&simulator, &format!(r#"{{"name": "key {n}"}}"#)).json()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(create(&simulator, r#"{"name": "sixth"}"#).json()["error"], "API_KEY_LIMIT_REACHED");
    assert_eq!(session(&simulator, "DELETE", &format!("/v1/api-keys/{}", ids[0]), "").status, 204);
    assert_eq!(session(&simulator, "DELETE", &format!("/v1/api-keys/{}", ids[0]), "").status, 404);
    assert_eq!(create(&simulator, r#"{"name": "sixth"}"#).status, 201);
    assert_eq!(simulator.handle().create_key("seventh", None).unwrap_err().allowed, 5);
    // An expired key does not count as active.
    assert!(simulator.handle().expire_key(&ids[1], Some(at(0))));
    assert!(simulator.handle().create_key("seventh", None).is_ok());
    simulator.handle().set_switches(|switches| switches.max_keys = 6);
    assert!(simulator.handle().create_key("eighth", None).is_ok());
}

#[test]
fn a_revocation_bites_when_the_cache_time_is_over() {
    let simulator = start();
    let handle = simulator.handle();
    let used = handle.create_key("used", None).unwrap();
    let unused = handle.create_key("unused", None).unwrap();
    assert_eq!(ask(&simulator, &used.secret), 200);
    handle.advance(Duration::from_secs(10));
    assert!(handle.revoke_key(&used.id) && handle.revoke_key("unused") && !handle.revoke_key("unused"));
    assert_eq!((ask(&simulator, &used.secret), ask(&simulator, &unused.secret)), (200, 401));
    handle.advance(Duration::from_millis(49_999));
    assert_eq!(ask(&simulator, &used.secret), 200);
    handle.advance(Duration::from_millis(1));
    assert_eq!(ask(&simulator, &used.secret), 401);
    assert_eq!(ask(&simulator, &simulator.key()), 200);
    assert!(handle.keys()[1].revoked_at.is_some());
}

#[test]
fn the_cache_time_is_a_switch_and_can_be_ended() {
    let simulator = with(Switches { key_cache: Duration::from_secs(2), ..Switches::default() });
    let handle = simulator.handle();
    assert_eq!(ask(&simulator, &simulator.key()), 200);
    handle.revoke_key(&simulator.key());
    assert_eq!(ask(&simulator, &simulator.key()), 200);
    handle.advance(Duration::from_secs(2));
    assert_eq!(ask(&simulator, &simulator.key()), 401);

    let other = handle.create_key("other", None).unwrap().secret;
    assert_eq!(ask(&simulator, &other), 200);
    handle.revoke_key(&other);
    handle.forget_key_cache();
    assert_eq!(ask(&simulator, &other), 401);
}

#[test]
fn an_expiry_bites_like_a_revocation() {
    let simulator = start();
    let handle = simulator.handle();
    let key = handle.create_key("short", Some(at(30_000))).unwrap().secret;
    assert_eq!(ask(&simulator, &key), 200);
    handle.advance(Duration::from_secs(59));
    assert_eq!(ask(&simulator, &key), 200);
    handle.advance(Duration::from_secs(1));
    assert_eq!(ask(&simulator, &key), 401);
}
