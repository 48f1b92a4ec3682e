//! Tests of sinks of type `smtp`, with the mail server aiosmtpd.

use std::fs;

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;

use super::server_sinks::{relay_with_sink, wait_until_delivered};
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::smtp::MailServer;

/// Prepares a relay whose only sink sends e-mails to this server. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, url: &str, keys: &str) -> Setup {
    relay_with_sink(
        scene,
        "mail",
        &format!("type = \"smtp\"\nurl = \"{url}\"\nfrom = \"SMS <sms@example.com>\"\n{keys}"),
    )
}

const TO: &str = "to = [\"ops@example.com\", \"Ann <ann@example.com>\"]";

#[test]
fn a_message_becomes_an_e_mail_into_which_it_can_write_no_header() {
    if !MailServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let server = MailServer::start(scene.dir(), &[]);
    let url = format!("smtp://{}", server.address());
    let body = "Ihr Code für „Größe“:\r\nBcc: eve@example.com\r\n.\r\n123456";
    let id = scene.handle().add(NewMessage::new().from("Bank\r\nBcc: eve@example.com").body(body));
    let keys = format!("{TO}\nsubject = \"{{{{ message.from }}}}: {{{{ message.body }}}}\"");
    let mut relay = relay_to(&scene, &url, &keys).start();
    wait_until_delivered(&scene, 1, &relay);
    let [mail] = server.received().try_into().unwrap();
    assert_eq!(mail["subject"], "Bank Bcc: eve@example.com: Ihr Code für „Größe“: Bcc: eve@example.com . 123456");
    assert_eq!(mail["to"], serde_json::json!(["ops@example.com", "ann@example.com"]));
    assert_eq!((&mail["from"], &mail["type"]), (&"sms@example.com".into(), &"text/plain".into()));
    assert_eq!(mail["id"], format!("<{id}@example.com>"));
    assert!(mail["body"].as_str().unwrap().contains("Größe“"), "{mail}");
    let headers = mail["headers"].as_array().unwrap();
    assert!(!headers.contains(&"bcc".into()) && headers.contains(&"auto-submitted".into()), "{mail}");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn answers_with_4_are_tried_again_and_with_5_rejected_and_nothing_of_their_text_is_shown() {
    if !MailServer::is_installed() {
        return;
    }
    for (recipient, expected) in [("550@hunter2.example", MESSAGE_IS_DEAD), ("450@hunter2.example", SINK_FAILS)] {
        let scene = Scene::new();
        let server = MailServer::start(scene.dir(), &[]);
        scene.add();
        let url = format!("smtp://{}", server.address());
        let mut relay = relay_to(&scene, &url, &format!("to = \"{recipient}\"")).start();
        relay.wait_for_log(expected);
        let code = &recipient[..3];
        relay.wait_for_log(&format!("the server answers {code} {}.7.1", &code[..1]));
        assert!(!relay.log().contains("not for"), "{}", relay.log());
        assert_eq!(relay.stop().code(), Some(0));
    }
}

#[test]
fn a_lost_server_is_a_retry() {
    if !MailServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut server = MailServer::start(scene.dir(), &[]);
    scene.add();
    let mut relay = relay_to(&scene, &format!("smtp://{}", server.address()), TO).start();
    wait_until_delivered(&scene, 1, &relay);
    server.kill();
    scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"mail\" reason=\"connection refused"));
    server.start_again();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn logins_and_starttls() {
    if !MailServer::is_installed() {
        return;
    }
    let scene = Scene::new();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| scene.dir().join(name).display().to_string();
    fs::write(path("cert.pem"), cert.pem()).unwrap();
    fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let server = MailServer::start(scene.dir(), &["--tls", &cert, &key, "--login", "relay", "hunter2-right"]);
    let url = format!("smtp://{}", server.address().replace("127.0.0.1", "localhost"));
    let keys =
        format!("{TO}\nuser = \"relay\"\npassword = {{ env = \"MAIL_PASSWORD\" }}\ntls = {{ ca_file = \"{cert}\" }}");
    let with = |password: &str| relay_to(&scene, &url, &keys).env("MAIL_PASSWORD", password);
    let (code, said, log) = with("hunter2-wrong").args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains("the server answers 535 5.7.8 to the login"), "{code} {said} {log}");
    let (_, checked, log) = with("hunter2-right").args(&["check", "--online"]).output();
    assert!(checked.contains("logged in to smtp://localhost"), "{checked} {log}");
    scene.add();
    let mut relay = with("hunter2-right").start();
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(server.received()[0]["tls"], true);
    assert_eq!(relay.stop().code(), Some(0));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    fs::write(path("other.pem"), other.pem()).unwrap();
    let untrusted = keys.replace(&cert, &path("other.pem"));
    let (code, distrusted, log) =
        relay_to(&scene, &url, &untrusted).env("MAIL_PASSWORD", "hunter2-right").args(&["check", "--online"]).output();
    assert!(code == 1 && distrusted.contains("certificate"), "{code} {distrusted} {log}");
    for shown in [said, checked, distrusted, relay.log()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn check_shows_the_e_mail_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    fs::write(&message, r#"{"id":"m.1","to":"+1650","from":"+1","body":"hello"}"#).unwrap();
    let arguments = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, "smtps://mail.example.com", TO).args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    for part in
        ["e-mail from sms@example.com to 2 recipients", "Subject: SMS from +1 to +1650", "Message-ID: <msg_", "hello"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (url, keys, wrong) in [
        ("http://mail.example", TO, "must begin with smtps:// or smtp://"),
        ("smtps://mail.example", "to = []", "`sinks.mail.to`"),
        ("smtps://mail.example", "to = \"ops\"", "`sinks.mail.to` = \"ops\" is not an e-mail address"),
        ("smtps://mail.example", "to = \"a@b.c\\r\\nBcc: x@y.z\"", "is not an e-mail address"),
        ("smtps://mail.example", "", "`sinks.mail.to` is missing"),
        ("smtps://mail.example", "to = \"a@b.c\"\nsubject = \"{{ x }}\"", "`sinks.mail.subject`"),
    ] {
        let (code, said, log) = relay_to(&scene, url, keys).args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{url} {keys}: {code} {said} {log}");
    }
}
