//! Tests of the limits: of sizes, of the time of slow clients, and of the number of connections.

use std::io::{ErrorKind, Read as _, Write as _};

use super::client::{TOKEN, address, connect, get, parsed, raw, request, with_endpoint, with_token};
use crate::support::scene::{Scene, ends_with_nothing_more};

#[test]
fn large_requests_are_refused() {
    let scene = Scene::new();
    let relay = with_endpoint(scene.setup()).start();
    let address = address(&relay);
    let host = address.to_string();
    let large = "x".repeat(20_000);
    assert_eq!(request(address, "GET", "/healthz", &[("Host", &host), ("X", &large)]).status, 431);
    let path = format!("/{}", "x".repeat(40_000));
    assert!([414, 431].contains(&request(address, "GET", &path, &[("Host", &host)]).status));
    let many: Vec<(&str, &str)> = [("Host", host.as_str())].into_iter().chain([("X", "y"); 100]).collect();
    assert_eq!(request(address, "GET", "/healthz", &many).status, 431);
    let announced = [("Host", host.as_str()), ("Content-Length", "1000000000")];
    request(address, "POST", "/healthz", &announced).assert_problem(413);
    let endless = format!("POST /healthz HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = raw(address, (endless + &"5\r\nhello\r\n".repeat(100_000)).as_bytes());
    assert!(answer.is_empty() || parsed(&answer).status == 405, "{answer}");
    assert_eq!(get(address, "/healthz").status, 200);
    ends_with_nothing_more(relay);
}

/// Requests that are refused before their path or their body can be read get an error as JSON, too.
#[test]
fn every_refusal_is_json() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let head = |path: &str, more: &str| {
        let host = format!("Host: {address}\r\nConnection: close\r\n");
        format!("POST {path} HTTP/1.1\r\n{host}Authorization: Bearer {TOKEN}\r\n{more}\r\n")
    };
    let chunks = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3) + "0\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (request, status) in [
        (head("/api/v1/sinks/%FF/pause", "Content-Length: 0\r\n"), 400),
        (head("/api/v1/replay", chunked) + &chunks, 413),
        (head("/login", chunked) + &chunks, 413),
        (head("/api/v1/replay", &format!("{chunked}Content-Type: application/json\r\n")) + "zz\r\n", 400),
        (head("/api/v1/replay", "Content-Type: Application/JSON;a=b\r\nContent-Length: 1\r\n") + "{", 400),
        (head("/api/v1/replay", "Content-Type: text/json\r\nContent-Length: 14\r\n") + r#"{"sink":"nop"}"#, 404),
    ] {
        let answer = raw(address, request.as_bytes());
        let problem = parsed(&answer).assert_problem(status);
        assert_ne!(problem["detail"], "", "{request:.200}");
    }
    ends_with_nothing_more(relay);
}

/// Clients that send nothing, or half a head, take all places. They are cut off, then another client gets its answer.
/// The relay goes on meanwhile.
#[test]
fn slow_clients_are_cut_off_and_do_not_hold_up_the_relay() {
    let scene = Scene::new();
    let relay = with_endpoint(scene.setup_from_beginning()).start();
    let address = address(&relay);
    let mut slow: Vec<_> = (0..64).map(|_| connect(address)).collect();
    for client in slow.iter_mut().step_by(2) {
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    }
    let ids: Vec<String> = (0..3).map(|_| scene.add()).collect();
    assert_eq!(relay.ids(3), ids, "the relay goes on");
    assert_eq!(get(address, "/healthz").status, 200);
    for client in &mut slow {
        let mut answer = Vec::new();
        match client.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    ends_with_nothing_more(relay);
}

#[test]
fn a_connection_takes_several_requests() {
    let scene = Scene::new();
    let relay = with_endpoint(scene.setup()).start();
    let address = address(&relay);
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n");
    let answers = raw(address, format!("{one}\r\n{one}Connection: close\r\n\r\n").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    ends_with_nothing_more(relay);
}
