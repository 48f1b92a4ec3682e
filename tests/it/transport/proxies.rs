//! Tests of proxies that the environment names. Each end uses a proxy or goes directly, as configured, and never
//! bypasses a configured proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::raw::{RawAnswer, RawServer};
use crate::support::servers::receiver::Receiver;

#[test]
fn a_proxy_variable_that_cannot_be_used_ends_the_start() {
    let cases = [
        (
            "in quotes",
            ("http_proxy", "\"http://127.0.0.1:9\"", "http_proxy: cannot be used to choose a proxy: it is in quotes"),
        ),
        (
            "carriage return",
            ("HTTP_PROXY", "http://127.0.0.1:9\r", "HTTP_PROXY: cannot be used to choose a proxy: it holds white"),
        ),
        (
            "socks",
            (
                "ALL_PROXY",
                "socks://127.0.0.1:9/",
                "ALL_PROXY: cannot be used to choose a proxy: it begins with socks://",
            ),
        ),
        (
            "no address",
            ("http_proxy", "::::", "http_proxy: cannot be used to choose a proxy: it is not the URL of a proxy"),
        ),
    ];
    side_by_side(&cases, |(name, value, said)| {
        let api = RawServer::answering_each(|_| RawAnswer::close(""));
        let dir = tempfile::tempdir().unwrap();
        for command in [&["run"][..], &["once"], &["check"]] {
            let (code, _, stderr) = Setup::bare(dir.path())
                .env("JOLTSMS_API_KEY", "jolt_sk_0123456789abcdef0123456789abcdef")
                .env("JOLTSMS_API_URL", api.url("/").as_str())
                .env(name, value)
                .args(command)
                .output();
            assert_eq!(code, 78, "{stderr}");
            assert!(stderr.contains(said), "{stderr}");
        }
        assert_eq!(api.requests().len(), 0, "something went past the proxy");
    });
}

#[test]
fn check_shows_the_way_to_each_end() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = Setup::bare(dir.path())
        .env("JOLTSMS_API_KEY", "jolt_sk_0123456789abcdef0123456789abcdef")
        .env("HTTPS_PROXY", "http://ann:hunter2@proxy.example:3128")
        .env("NO_PROXY", "crm.example")
        .sink("https://crm.example/x")
        .set("SINKS__OTHER__TYPE", "http")
        .set("SINKS__OTHER__URL", "https://other.example/x")
        .set("SINKS__OTHER__PROXY", "socks5h://ann:hunter2@socks.example:1080")
        .set("SINKS__PLAIN__TYPE", "http")
        .set("SINKS__PLAIN__URL", "http://127.0.0.1:9/x")
        .args(&["check"])
        .output();
    assert_eq!(code, 0, "{stderr}");
    for line in [
        "proxy          the API: through http://…@proxy.example:3128/ (HTTPS_PROXY)",
        "               crm: direct (NO_PROXY)",
        "               other: through socks5h://…@socks.example:1080/",
        "               plain: direct",
    ] {
        assert!(stdout.lines().any(|shown| shown == line), "{line}\n{stdout}");
    }
    assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");
}

#[test]
fn an_answer_that_a_proxy_may_have_made_names_the_proxy() {
    let cases: [(&str, (&'static str, &str)); 3] = [
        ("forbidden", ("403 Forbidden", "403 Forbidden, answered through the proxy {}, maybe by the proxy itself")),
        (
            "wants a password",
            (
                "407 Proxy Authentication Required",
                "407 Proxy Authentication Required: the proxy {} requires a valid user and password",
            ),
        ),
        (
            "bad gateway",
            ("502 Bad Gateway", "502 Bad Gateway, answered through the proxy {}, maybe by the proxy itself"),
        ),
    ];
    side_by_side(&cases, |&(status, reason)| {
        let proxy = RawServer::answering_each(move |_| RawAnswer::json(status, b""));
        let address = proxy.url("/").as_str().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let scene = Scene::new();
        scene.add_past(1);
        let setup = scene.setup_from_beginning().sink("http://127.0.0.1:9/x");
        let relay = { setup }.set("SINKS__CRM__PROXY", proxy.url("/").as_str()).start();
        relay.wait_for_log(&format!("reason=\"{}\"", reason.replace("{}", &address)));
        // The API's answers come through the proxy, too.
        let setup = Setup::bare(scene.dir()).env("JOLTSMS_API_KEY", &scene.simulator().key());
        let api = { setup }.set("API__URL", "http://127.0.0.1:9").set("API__PROXY", proxy.url("/").as_str());
        let (code, _, log) =
            { api }.set("STATE__DIR", scene.dir().join("other").to_str().unwrap()).args(&["once"]).output();
        let code_of_status = status.split(' ').next().unwrap();
        let expected =
            format!("{code_of_status} through the proxy {address}, which may have answered instead of the API");
        assert!(code == 75 && log.contains(&expected), "{code} {log}");
        drop(relay);
    });
}

#[test]
fn an_exception_that_never_matches_is_told_at_check_and_at_the_start() {
    let scene = Scene::new();
    let said = "NO_PROXY: `http://crm.example` never matches a host; write the host alone: crm.example";
    let setup = || {
        let setup = scene.setup().env("HTTPS_PROXY", "http://127.0.0.1:9");
        setup.env("NO_PROXY", "127.0.0.1,http://crm.example,crm.example.")
    };
    for command in ["check", "once"] {
        let (code, _, log) = setup().args(&[command]).output();
        assert!(code == 0 && log.matches(said).count() == 1, "{command} {code} {log}");
        assert_eq!(log.matches("never matches").count(), 1, "{log}");
    }
}

/// Copies one direction of a connection until it ends.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Both).ok();
}

/// Runs a SOCKS 5 proxy without authentication, for names and IPv4 addresses. `None`: the client sent a greeting that
/// the proxy does not know.
fn socks(mut client: TcpStream) -> Option<()> {
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let methods = read(2)?;
    read(methods[1].into())?;
    client.write_all(&[5, 0]).ok()?;
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let host = match read(4)?[3] {
        1 => read(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = read(1)?[0];
            String::from_utf8(read(length.into())?).ok()?
        }
        _ => return None,
    };
    let port = u16::from_be_bytes(read(2)?.try_into().ok()?);
    let server = TcpStream::connect((host.as_str(), port)).ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    let (to_client, from_client) = (client.try_clone().ok()?, client);
    let from_server = server.try_clone().ok()?;
    std::thread::spawn(move || copy(from_server, to_client));
    copy(from_client, server);
    Some(())
}

#[test]
fn through_a_socks_proxy_every_message_arrives() {
    for scheme in ["socks5", "socks5h"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || socks(client));
            }
        });
        let scene = Scene::new();
        scene.add_past(3);
        let receiver = Receiver::in_background();
        let setup = scene.setup_from_beginning().sink(&receiver.url());
        let relay = { setup }.env("ALL_PROXY", &format!("{scheme}://{address}")).start();
        receiver.wait(3, &relay);
        assert!(connections.load(Ordering::Relaxed) >= 2, "the API and the receiver are reached through it");
        ends_with_nothing_more(relay);
    }
}
