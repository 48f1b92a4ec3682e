//! Tests of sinks of type `mqtt`, with the broker mosquitto.

use std::path::Path;
use std::process::Command;

use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;

use super::server_sinks::{relay_with_sink, wait_until_delivered};
use crate::support::prerequisites::program;
use crate::support::relay::Relay;
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::mosquitto::Mosquitto;
use crate::support::waiting::wait_until;

/// Prepares a relay whose only sink publishes to this broker. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, url: &str, keys: &str) -> Setup {
    relay_with_sink(
        scene,
        "home",
        &format!("type = \"mqtt\"\nurl = \"{url}\"\ntopic = \"sms/{{{{ message.to }}}}\"\n{keys}"),
    )
}

fn wait_until_received(broker: &Mosquitto, count: usize, relay: &Relay) {
    wait_until("what the subscriber gets", || broker.received().len() >= count, || relay.log());
}

/// Writes a file with the password of a user, as mosquitto reads it.
fn password_file(dir: &Path, user: &str, password: &str) -> String {
    let path = dir.join("passwords");
    let tool = program("mosquitto_passwd").unwrap();
    assert!(Command::new(tool).args(["-b", "-c"]).arg(&path).args([user, password]).status().unwrap().success());
    path.display().to_string()
}

#[test]
fn messages_are_published_to_their_topics_with_their_ids() {
    if !Mosquitto::is_installed() {
        return;
    }
    for qos in [1, 2] {
        let scene = Scene::new();
        let mut broker = Mosquitto::start(scene.dir(), "allow_anonymous true");
        broker.subscribe();
        let id = scene.handle().add(NewMessage::new().number("+16505550199").body("Your code is 123456"));
        let mut relay = relay_to(&scene, &broker.url(), &format!("qos = {qos}")).start();
        wait_until_delivered(&scene, 1, &relay);
        wait_until_received(&broker, 1, &relay);
        let json = scene.handle().row(&id).unwrap().json;
        assert_eq!(broker.received(), [("sms/16505550199".to_owned(), format!("webhook-id:{id}"), json)]);
        assert_eq!(relay.stop().code(), Some(0));
    }
}

#[test]
fn a_lost_broker_is_a_retry_and_its_return_is_noticed() {
    if !Mosquitto::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut broker = Mosquitto::start(scene.dir(), "allow_anonymous true");
    let mut relay = relay_to(&scene, &broker.url(), "").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    relay.wait_for_log("the MQTT broker took a message for which it has no subscriber");
    broker.kill();
    scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"home\" reason=\"connection refused"));
    broker.start_again();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.log().matches("has no subscriber").count(), 1, "told once: {}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_wrong_password_pauses_the_sink_and_is_never_shown() {
    if !Mosquitto::is_installed() {
        return;
    }
    let scene = Scene::new();
    let passwords = password_file(scene.dir(), "relay", "right-hunter2");
    let broker = Mosquitto::start(scene.dir(), &format!("allow_anonymous false\npassword_file {passwords}"));
    scene.add();
    let login = "user = \"relay\"\npassword = { env = \"MQTT_PASSWORD\" }";
    let wrong = || relay_to(&scene, &broker.url(), login).env("MQTT_PASSWORD", "wrong-hunter2");
    let (code, said, log) = wrong().args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains("the broker refuses the login: not authorized"), "{code} {said} {log}");
    let mut relay = wrong().start();
    relay.wait_for_log("the broker refuses the login: not authorized");
    assert_eq!(relay.stop().code(), Some(0));
    let right = || relay_to(&scene, &broker.url(), login).env("MQTT_PASSWORD", "right-hunter2");
    let (_, checked, log) = right().args(&["check", "--online"]).output();
    assert!(checked.contains("logged in to mqtt://127.0.0.1"), "{checked} {log}");
    let (code, _, log) = right().args(&["sinks", "resume", "home"]).output();
    assert_eq!(code, 0, "{log}");
    let mut again = right().start();
    wait_until_delivered(&scene, 1, &again);
    assert_eq!(again.stop().code(), Some(0));
    // The user and the password may stand in the address, too, which then is a secret.
    let url = broker.url().replace("mqtt://", "mqtt://relay:right-hunter2@");
    let (code, in_url, log) = relay_to(&scene, &url, "").args(&["check", "--online"]).output();
    assert!(in_url.contains("logged in to mqtt://…@127.0.0.1"), "{code} {in_url} {log}");
    for shown in [said, checked, in_url, relay.log(), again.log()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn home_assistant_finds_a_sensor_with_the_last_code_of_each_number() {
    if !Mosquitto::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut broker = Mosquitto::start(scene.dir(), "allow_anonymous true");
    broker.subscribe();
    let mut relay = relay_to(&scene, &broker.url(), "home_assistant = true\nconcurrency = 1").start();
    let with_code = |code: &str| {
        scene.handle().add(NewMessage::new().number("+16505550199").body(format!("Your code is {code}")).code(code));
    };
    with_code("123456");
    wait_until_delivered(&scene, 1, &relay);
    with_code("654321");
    wait_until_delivered(&scene, 2, &relay);
    wait_until_received(&broker, 5, &relay);
    let received = broker.received();
    let topics: Vec<&str> = received.iter().map(|(topic, ..)| topic.as_str()).collect();
    let (config, state) = ("homeassistant/sensor/joltsms_16505550199/config", "joltsms/16505550199/code");
    assert_eq!(topics, [config, state, "sms/16505550199", state, "sms/16505550199"]);
    assert_eq!((received[1].2.as_str(), received[3].2.as_str()), ("123456", "654321"));
    let sensor: serde_json::Value = serde_json::from_str(&received[0].2).unwrap();
    assert_eq!((sensor["state_topic"].as_str(), sensor["name"].as_str()), (Some(state), Some("Code +16505550199")));
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn check_shows_the_publication_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    let text = r#"{"id":"m.1","to":"+1650/5#","from":"+1","body":"hello","parsedCode":"42"}"#;
    std::fs::write(&message, text).unwrap();
    let path = message.to_str().unwrap();
    let arguments = ["check", "--message", path];
    let (code, said, log) = relay_to(&scene, "mqtt://localhost", "retain = true").args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    for part in ["MQTT broker mqtt://localhost/, QoS 1, retained", "topic: sms/1650_5_\n", "webhook-id: msg_", text] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (url, keys, wrong) in [
        ("mqtt://broker.example", "", "goes to broker.example without encryption"),
        ("http://broker.example", "", "must begin with mqtts:// or mqtt://"),
        ("mqtts://", "", "`sinks.home.url`"),
        ("mqtts://b.example", "qos = 0", "`sinks.home.qos`"),
        ("mqtts://b.example", "password = { env = \"P\" }", "`sinks.home.user` is missing"),
        ("mqtts://b.example", "password = \"hunter2\"", "`sinks.home.password`"),
    ] {
        let (code, said, log) = relay_to(&scene, url, keys).env("P", "hunter2").args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{url} {keys}: {code} {said} {log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
    let topics = ["sms/#", "sms/+/x", "sms/{{ message.nothing }}", "{{ number.serviceName }}", "{{ account }}", "{{ x"];
    for topic in topics {
        let text = format!("[sinks.home]\ntype = \"mqtt\"\nurl = \"mqtts://b.example\"\ntopic = \"{topic}\"\n");
        let config = scene.file(&text);
        let (code, _, log) = scene.setup().args(&["--config", &config, "check"]).output();
        assert!(code == 78 && log.contains("`sinks.home.topic`"), "{topic}: {code} {log}");
    }
}
