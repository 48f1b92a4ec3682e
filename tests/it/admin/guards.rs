//! Tests of who gets an answer: by token, Host and Origin.

use super::client::{Answer, TOKEN, address, get, get_with_token, parsed, raw, request, with_token};
use crate::support::scene::{Scene, ends_with_nothing_more};

#[test]
fn only_the_token_opens_what_is_not_for_everybody() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let host = address.to_string();
    for open in ["/healthz", "/metrics"] {
        assert_eq!(get(address, open).status, 200, "{open}");
    }
    assert_eq!(get_with_token(address, "/api/v1/status").status, 200);
    let shorter = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    let longer = format!("Bearer {TOKEN}0");
    for shown in ["", "Bearer", "Bearer x", "Basic dTpw", TOKEN, &shorter, &longer] {
        let answer = request(address, "GET", "/api/v1/status", &[("Host", &host), ("Authorization", shown)]);
        answer.assert_problem(401);
        assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
        assert!(!answer.body.contains(TOKEN));
    }
    get(address, "/api/v1/status").assert_problem(401);
    get(address, "/api/v1/nonsense").assert_problem(404);
    get_with_token(address, "/nonsense").assert_problem(404);
    assert!(!relay.log().contains(TOKEN), "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_name_that_is_not_the_relays_reads_nothing() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).set("ADMIN__HOSTS", "Relay.example.com").start();
    let address = address(&relay);
    let port = address.port();
    let ask = |host: &str| -> Answer { request(address, "GET", "/metrics", &[("Host", host)]) };
    for host in [&format!("127.0.0.1:{port}"), &format!("localhost:{port}"), "relay.example.com", "RELAY.example.com:1"]
    {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in
        [&format!("evil.example:{port}"), "127.0.0.1.evil.example", "192.0.2.9", "relay.example.com.evil.example"]
    {
        let problem = ask(host).assert_problem(421);
        assert!(problem["detail"].as_str().unwrap().contains("admin.hosts"), "{problem}");
    }
    request(address, "GET", "/metrics", &[]).assert_problem(400);
    request(address, "GET", "/metrics", &[("Host", "localhost"), ("Host", "localhost")]).assert_problem(400);
    let bearer = format!("Bearer {TOKEN}");
    let with_token = [("Host", "evil.example"), ("Authorization", bearer.as_str())];
    request(address, "GET", "/api/v1/status", &with_token).assert_problem(421);
    ends_with_nothing_more(relay);
}

#[test]
fn a_page_of_another_host_changes_nothing() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    let host = address.to_string();
    let post = |origin: &str| request(address, "POST", "/healthz", &[("Host", &host), ("Origin", origin)]);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        post(origin).assert_problem(403);
    }
    post(&format!("http://{host}")).assert_problem(405);
    request(address, "POST", "/healthz", &[("Host", &host)]).assert_problem(405);
    let answer = request(address, "HEAD", "/healthz", &[("Host", &host), ("Origin", "https://evil.example")]);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(!answer.head.contains("access-control-allow-origin"), "{answer:?}");
    ends_with_nothing_more(relay);
}

#[test]
fn what_is_no_request_is_refused_and_harms_nothing() {
    let scene = Scene::new();
    let relay = with_token(scene.setup()).start();
    let address = address(&relay);
    for bytes in [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = raw(address, bytes.as_bytes());
        assert!(answer.is_empty() || parsed(&answer).status >= 400, "{bytes:?}: {answer}");
    }
    assert_eq!(get(address, "/healthz").status, 200);
    ends_with_nothing_more(relay);
}
