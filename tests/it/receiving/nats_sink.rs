//! Tests of sinks of type `nats`, with the server of NATS.

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;
use serde_json::json;

use super::server_sinks::{relay_with, wait_until_delivered};
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::certificates::Authority;
use crate::support::servers::nats::{NatsServer, StreamMessage};

/// A user who may do everything, for the client of the test.
const ADMIN: &str = r#"{"verbose":false,"user":"admin","pass":"admin"}"#;

/// The seed of a key of a user, made for these tests, and the public key.
const SEED: &str = "SUAFDTL3L2IOW5M4N3EIDJ35YKUSAC2EYQ4OIFVYQK7ZVB6DHX7O3XDIZQ";
const PUBLIC_KEY: &str = "UCQCY4WRM5SX2XM5E3W6OFLZSCGF7IRZRYA7OSK3BLTKVKNKVQOP5K3Z";

/// The seed of a key that the server does not know.
const STRANGER: &str = "SUACVJILI7ESGQW53IO4ZN3U4UHES7LVSYZNWLB2RODLGGU5ON7YCUKBWM";

/// Prepares a relay whose only sink publishes to this server. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, url: &str, keys: &str) -> Setup {
    let keys = format!("type = \"nats\"\nurl = \"{url}\"\nsubject = \"sms.{{{{ message.to }}}}\"\n{keys}");
    relay_with(scene, &keys)
}

#[test]
fn messages_are_stored_once_with_their_subject_and_their_id() {
    if !NatsServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let server = NatsServer::start_with_stream(scene.dir());
    let id = scene.handle().add(NewMessage::new().number("+16505550199").body("Your code is 123456"));
    let setup = || relay_to(&scene, &server.url("nats", ""), "");
    let mut relay = setup().start();
    wait_until_delivered(&scene, 1, &relay);
    let header = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\nContent-Type: application/json\r\n\r\n");
    let body = scene.handle().row(&id).unwrap().json;
    let subject = "sms.+16505550199".to_owned();
    let expected = [StreamMessage { subject, header, body }];
    assert_eq!(server.messages(), expected);
    // The stream has the message already, and says so: that is a delivery, too.
    let (code, _, log) = setup().args(&["replay", "--sink", "trial", "--id", &id]).output();
    assert_eq!(code, 0, "{log}");
    scene.add();
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(server.messages().len(), 2);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_lost_server_is_a_retry_and_its_return_is_noticed() {
    if !NatsServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut server = NatsServer::start_with_stream(scene.dir());
    let mut relay = relay_to(&scene, &server.url("nats", ""), "").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    server.kill();
    scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"trial\" reason=\"connection refused"));
    server.start_again();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_refused_login_pauses_the_sink_and_no_secret_is_shown() {
    if !NatsServer::is_installed() {
        return;
    }
    let users = format!(
        "authorization {{ users: [ {{ user: admin, password: admin }}, {{ user: relay, password: right-hunter2 }}, \
         {{ nkey: {PUBLIC_KEY} }} ] }}"
    );
    let scene = Scene::new();
    let server = NatsServer::start(scene.dir(), &users, ADMIN);
    server.make_stream(&json!({}));
    scene.add();
    let with = |password: &str| relay_to(&scene, &server.url("nats", &format!("relay:{password}@")), "");
    let refusal = "the server refuses the login: authorization violation";
    let (code, said, log) = with("wrong-hunter2").args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains(refusal), "{code} {said} {log}");
    let mut relay = with("wrong-hunter2").start();
    relay.wait_for_log(refusal);
    assert_eq!(relay.stop().code(), Some(0));
    let (_, checked, log) = with("right-hunter2").args(&["check", "--online"]).output();
    assert!(checked.contains("logged in to nats://…@localhost"), "{checked} {log}");
    let (code, _, log) = with("right-hunter2").args(&["sinks", "resume", "trial"]).output();
    assert_eq!(code, 0, "{log}");
    let mut again = with("right-hunter2").start();
    wait_until_delivered(&scene, 1, &again);
    assert_eq!(again.stop().code(), Some(0));
    // With a key, nothing of the secret leaves: the server gets a signature.
    let key = || relay_to(&scene, &server.url("nats", ""), "credentials = { env = \"CREDS\" }").env("CREDS", SEED);
    let (_, by_key, key_log) = key().args(&["check", "--online"]).output();
    assert!(by_key.contains("logged in to nats://localhost"), "{by_key} {key_log}");
    let (code, by_stranger, _) = key().env("CREDS", STRANGER).args(&["check", "--online"]).output();
    assert!(code == 1 && by_stranger.contains(refusal), "{by_stranger}");
    for shown in [said, checked, by_key, key_log, by_stranger, relay.log(), again.log()] {
        assert!(!shown.contains("hunter2") && !shown.contains(SEED) && !shown.contains(STRANGER), "{shown}");
    }
}

#[test]
fn what_a_stream_refuses_is_told_and_tried_again_until_it_fits() {
    if !NatsServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let server = NatsServer::start(scene.dir(), "", "{\"verbose\":false}");
    let check = || relay_to(&scene, &server.url("nats", ""), "").args(&["check", "--online"]).output();
    let (code, said, log) = check();
    let parts = ["logged in to nats://localhost", "but no stream takes subjects that match sms.*", "nats stream add"];
    assert!(code == 1 && parts.iter().all(|part| said.contains(part)), "{code} {said} {log}");
    let mut relay = relay_to(&scene, &server.url("nats", ""), "").start();
    scene.add();
    relay.wait_for_log("no stream takes messages with this subject");
    server.make_stream(&json!({"max_msgs": 1, "discard": "new"}));
    let (code, said, log) = check();
    assert!(said.contains("stream SMS takes subjects that match sms.*"), "{code} {said} {log}");
    wait_until_delivered(&scene, 1, &relay);
    scene.add();
    relay.wait_for_log("JetStream refuses the message: the stream is full (maximum messages exceeded)");
    server.make_stream(&json!({"max_msgs": 10, "discard": "new"}));
    wait_until_delivered(&scene, 2, &relay);
    server.make_stream(&json!({"max_msgs": 10, "discard": "new", "max_msg_size": 10}));
    scene.add();
    relay.wait_for_log("JetStream refuses the message: longer than the stream takes");
    relay.wait_for_log(MESSAGE_IS_DEAD);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_message_that_is_not_allowed_or_too_long_fails_at_once() {
    if !NatsServer::is_installed() {
        return;
    }
    let users = "max_payload: 1000\nauthorization { users: [ { user: admin, password: admin }, \
                 { user: relay, password: relay, permissions: { publish: \"other\" } } ] }";
    let scene = Scene::new();
    let server = NatsServer::start(scene.dir(), users, ADMIN);
    let id = scene.add();
    let setup = || relay_to(&scene, &server.url("nats", "relay:relay@"), "");
    let (code, said, log) = setup().args(&["check", "--online"]).output();
    assert!(said.contains("sms.*: the user may not ask for streams"), "{code} {said} {log}");
    let mut relay = setup().start();
    relay.wait_for_log("the user may not publish to this subject");
    let long = scene.handle().add(NewMessage::new().body("x".repeat(1000)));
    relay.wait_for_log("longer than the 1000 bytes that the server takes");
    relay.wait_for_log(MESSAGE_IS_DEAD);
    assert_eq!(relay.stop().code(), Some(0));
    for id in [id, long] {
        let number = scene.handle().row(&id).unwrap().json;
        assert!(!relay.log().contains(&number), "{}", relay.log());
    }
}

#[test]
fn tls_begins_after_the_server_has_described_itself() {
    if !NatsServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let authority = Authority::new(scene.dir(), "authority");
    let (certificate, key) = authority.files(scene.dir(), "server");
    let tls = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}");
    let server = NatsServer::start(scene.dir(), &tls, "{}");
    let check = |scheme: &str, keys: &str| {
        let (_, said, log) = relay_to(&scene, &server.url(scheme, ""), keys).args(&["check", "--online"]).output();
        said + &log
    };
    let trusted = format!("tls = {{ ca_file = \"{}\" }}", authority.file());
    let said = check("tls", &trusted);
    assert!(said.contains("logged in to tls://localhost"), "{said}");
    let said = check("tls", "");
    assert!(said.contains("the server's certificate is signed by nobody that is trusted here"), "{said}");
    let said = check("nats", "");
    assert!(said.contains("the server wants an encrypted connection: write tls:// instead of nats://"), "{said}");
}

#[test]
fn check_shows_what_is_published_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    let text = r#"{"id":"m.1","to":"+1650.5>","from":"+1","body":"hello","parsedCode":"42"}"#;
    std::fs::write(&message, text).unwrap();
    let arguments = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, "nats://localhost", "").args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    for part in ["NATS server nats://localhost", "subject: sms.+1650_5_\n", "Nats-Msg-Id: msg_", text] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (url, keys, wrong) in [
        ("nats://nats.example", "", "goes to nats.example without encryption"),
        ("http://nats.example", "", "must begin with tls:// or nats://"),
        ("tls://n.example", "credentials = \"SUAHUNTER2\"", "`sinks.trial.credentials`"),
        ("tls://n.example", "credentials = { env = \"P\" }", "`sinks.trial.credentials` holds a seed"),
        ("tls://n.example", "qos = 1", "`sinks.trial.qos`"),
    ] {
        let (code, said, log) = relay_to(&scene, url, keys).env("P", "SUAHUNTER2").args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{url} {keys}: {code} {said} {log}");
        assert!(!log.contains("HUNTER2"), "{log}");
    }
    for subject in ["sms.>", "sms.*", "sms. x", ".sms", "sms..x", "{{ number.serviceName }}", "{{ x", "$JS.x"] {
        let keys = format!("type = \"nats\"\nurl = \"tls://n.example\"\nsubject = \"{subject}\"");
        let (code, _, log) = relay_with(&scene, &keys).args(&["check"]).output();
        assert!(code == 78 && log.contains("`sinks.trial.subject`"), "{subject}: {code} {log}");
    }
}
