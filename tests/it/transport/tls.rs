//! Tests of TLS handshakes that fail. The log gives the reason and a remedy, nothing is sent, and the relay goes on
//! when the fault is repaired.

use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};
use std::net::SocketAddr;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::certificates::{Authority, self_signed, with_http2};
use crate::support::servers::receiver::Receiver;
use crate::support::servers::reverse_proxy::{Manner, ReverseProxy};
use crate::support::waiting::wait_until;

/// The faulty server that answers in place of a correct server, and the text with which the log reports the fault.
struct Case {
    manner: fn(&Authority) -> Manner,
    said: &'static str,
}

impl Case {
    /// Returns the connect timeout. The timeout is short only where it is the subject of the case, since a busy machine
    /// may be late by itself.
    fn connect_timeout(&self) -> &'static str {
        if self.said.contains("within 1s") { "1s" } else { "20s" }
    }
}

const EXPIRED: &str =
    "the server's certificate expired at 2020-02-01T00:00:00.000Z: renew it there, or is this machine's clock wrong?";
const NOT_YET: &str =
    "the server's certificate is not valid before 2090-01-01T00:00:00.000Z: is this machine's clock wrong?";
const UNKNOWN: &str = "the server's certificate is signed by nobody that is trusted here: name its authority's certificate in tls.ca_file, or should the server send an intermediate one?";
const MADE_FOR_AN_AUTHORITY: &str = "the server's certificate is self-signed, and made for an authority (CA:TRUE) instead of a server: make one with CA:FALSE for it";
const WRONG_NAME: &str =
    "the server's certificate is for other.example, not for the host in the URL: which of the two is wrong?";
const WRONG_NAMES: &str = "the server's certificate is for 10.1.2.3, a.example, b.example, …, not for the host in the URL: which of the two is wrong?";
const NO_TLS: &str = "the answer is not TLS: should the URL begin with http:// instead of https://?";

fn expire(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 2, 1);
}

fn not_yet(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2090, 1, 1);
    params.not_after = date_time_ymd(2091, 1, 1);
}

fn name(params: &mut CertificateParams, names: &[&str]) {
    params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
}

fn cases() -> Vec<(&'static str, Case)> {
    fn case(manner: fn(&Authority) -> Manner, said: &'static str) -> Case {
        Case { manner, said }
    }
    vec![
        ("expired", case(|ca| Manner::Tls(ca.sign(expire)), EXPIRED)),
        ("not valid yet", case(|ca| Manner::Tls(ca.sign(not_yet)), NOT_YET)),
        ("self-signed", case(|_| Manner::Tls(self_signed(|_| ())), UNKNOWN)),
        (
            "self-signed as openssl does",
            case(
                |_| Manner::Tls(self_signed(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained))),
                MADE_FOR_AN_AUTHORITY,
            ),
        ),
        (
            "an unknown authority",
            case(
                |_| {
                    let dir = tempfile::tempdir().unwrap();
                    Manner::Tls(Authority::new(dir.path(), "other").good())
                },
                UNKNOWN,
            ),
        ),
        ("another name", case(|ca| Manner::Tls(ca.sign(|params| name(params, &["other.example"]))), WRONG_NAME)),
        (
            "many other names",
            case(
                |ca| {
                    Manner::Tls(ca.sign(|params| {
                        name(params, &["a.example", "b.example", "c.example", "d.example"]);
                        params.subject_alt_names.insert(0, SanType::IpAddress([10, 1, 2, 3].into()));
                    }))
                },
                WRONG_NAMES,
            ),
        ),
        (
            "for clients",
            case(
                |ca| {
                    Manner::Tls(
                        ca.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
                    )
                },
                "the server's certificate is not made for servers: it needs the use",
            ),
        ),
        (
            "plain http",
            case(|_| Manner::Say(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_vec()), NO_TLS),
        ),
        ("garbage", case(|_| Manner::Say(vec![0x90; 600]), NO_TLS)),
        (
            "an alert",
            case(
                |_| Manner::Say(b"\x15\x03\x03\x00\x02\x02\x28".to_vec()),
                "the other side refuses the TLS handshake: HandshakeFailure",
            ),
        ),
        ("closed in the handshake", case(|_| Manner::Close, "connection reset by the other side")),
        (
            "closed after the greeting",
            case(|_| Manner::Say(Vec::new()), "the connection was closed during the TLS handshake"),
        ),
        ("reset in the handshake", case(|_| Manner::Reset, "connection reset by the other side")),
        ("silent in the handshake", case(|_| Manner::Silence, "no connection within 1s")),
    ]
}

/// Checks that the log contains one warning and the report of its end, and no other report of a failure.
fn is_said_once(relay: &Relay, said: &str) {
    let log = relay.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains(said), "{log}");
}

fn behind(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

/// Returns a relay that trusts this authority only.
fn setup(scene: &Scene, authority: &Authority) -> Setup {
    scene
        .setup_from_beginning()
        .env("SSL_CERT_FILE", authority.file())
        .set("SINKS__CRM__RETRY__INITIAL", "200ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1")
}

#[test]
fn the_api_is_asked_nothing_until_its_tls_is_right() {
    side_by_side(&cases(), |case| {
        let scene = Scene::new();
        scene.add_past(12);
        let authority = Authority::new(scene.dir(), "ca");
        let front = ReverseProxy::on_loopback(behind(&scene.simulator().url()), (case.manner)(&authority));
        let relay = Setup::bare(scene.dir())
            .env("JOLTSMS_API_URL", &front.url("https", Some("localhost")))
            .env("JOLTSMS_API_KEY", &scene.simulator().key())
            .env("SSL_CERT_FILE", authority.file())
            .set("POLL__INTERVAL", "150ms")
            .set("POLL__START", "beginning")
            .set("API__CONNECT_TIMEOUT", case.connect_timeout())
            .start();
        relay.wait_for_log("the API cannot be polled; trying again until it can kind=\"transport\" error=");
        let connections = front.accepted();
        wait_until("two more attempts", || front.accepted() >= connections + 2, || relay.log());
        is_said_once(&relay, case.said);
        assert!(scene.handle().requests().is_empty(), "something was sent");
        front.set(Manner::Tls(authority.good()));
        assert_eq!(relay.ids(12), scene.ids());
        relay.wait_for_log("the API can be polled again");
        ends_with_nothing_more(relay);
    });
}

#[test]
fn a_receiver_is_sent_nothing_until_its_tls_is_right() {
    side_by_side(&cases(), |case| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let authority = Authority::new(scene.dir(), "ca");
        let front = ReverseProxy::on_loopback(receiver.address(), (case.manner)(&authority));
        let url = front.url("https", Some("localhost"));
        let mut relay = setup(&scene, &authority)
            .sink(&format!("{url}/hook"))
            .set("SINKS__CRM__CONNECT_TIMEOUT", case.connect_timeout())
            .start();
        let ids = [scene.add(), scene.add(), scene.add()];
        relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"crm\" reason="));
        let connections = front.accepted();
        wait_until("four more attempts", || front.accepted() >= connections + 4, || relay.log());
        is_said_once(&relay, case.said);
        assert_eq!(receiver.count(), 0, "something was sent");
        front.set(Manner::Tls(authority.good()));
        receiver.wait(3, &relay);
        relay.wait_for_log(&format!("{SINK_WORKS_AGAIN} sink.name=\"crm\""));
        assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
        let mut received = receiver.webhook_ids();
        received.sort_by_key(|id| ids.iter().position(|known| known == id));
        assert_eq!(received, ids, "each once");
    });
}

#[test]
fn both_ends_speak_http_2_where_it_is_offered() {
    let scene = Scene::new();
    scene.add_past(25);
    let receiver = Receiver::in_background();
    let authority = Authority::new(scene.dir(), "ca");
    let identity = with_http2(&authority.good());
    let api = ReverseProxy::on_loopback(behind(&scene.simulator().url()), Manner::Http2(identity.clone()));
    let hooks = ReverseProxy::on_loopback(receiver.address(), Manner::Http2(identity));
    let mut relay = setup(&scene, &authority)
        .env("JOLTSMS_API_URL", &api.url("https", Some("localhost")))
        .sink(&format!("{}/hook", hooks.url("https", Some("localhost"))))
        .start();
    receiver.wait(25, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let mut received = receiver.webhook_ids();
    received.sort();
    let mut ids = scene.ids();
    ids.sort();
    assert_eq!(received, ids, "each once");
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
}

/// The machine has no certificates of authorities, and the configuration uses no TLS.
#[test]
fn no_certificates_are_needed_for_plain_http() {
    let scene = Scene::new();
    scene.add_past(1);
    let receiver = Receiver::in_background();
    let bare = |setup: Setup| {
        let none = scene.dir().join("none").display().to_string();
        setup.env("SSL_CERT_FILE", &none).env("SSL_CERT_DIR", &none)
    };
    let relay = bare(scene.setup_from_beginning().sink(&receiver.url())).start();
    receiver.wait(1, &relay);
    ends_with_nothing_more(relay);
    let (code, _, stderr) = bare(scene.setup_from_beginning().sink("https://crm.example/x")).output();
    assert_eq!(code, 1, "{stderr}");
    let said = "cannot set up HTTPS for https://crm.example/…: this machine has no CA certificates to check the other \
                side's certificate with; install the package ca-certificates, or name a file that has them in tls.ca_file or \
                SSL_CERT_FILE";
    assert!(stderr.contains(said), "{stderr}");
}
