//! Tests of `mask_codes`: a sink gets messages without their codes.

use joltsms_simulator::NewMessage;
use serde_json::Value;

use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;

const MASK: &str = "••••••";

#[test]
fn one_sink_gets_codes_and_the_other_gets_none() {
    let scene = Scene::new();
    let (plain, masked) = (Receiver::in_background(), Receiver::in_background());
    let mut relay = scene
        .setup()
        .sink(&plain.url())
        .set("SINKS__CHAT__TYPE", "http")
        .set("SINKS__CHAT__URL", &masked.url())
        .set("SINKS__CHAT__MASK_CODES", "true")
        .set("CODES__PATTERN", "pin (\\d+)")
        .start();
    relay.wait_for_log("relaying what comes from now on");
    let id = scene.handle().add(NewMessage::new().body("Your code is 482913. Not 1.").code("482913"));
    plain.wait(1, &relay);
    masked.wait(1, &relay);
    let row = scene.handle().row(&id).unwrap().json;
    let text =
        |receiver: &Receiver, request: usize| String::from_utf8(receiver.received()[request].body.to_vec()).unwrap();
    assert_eq!(text(&plain, 0), row);
    assert!(row.contains("482913"), "{row}");
    assert_eq!(text(&masked, 0), row.replace("482913", MASK), "everything else stays");
    scene.handle().add(NewMessage::new().body("pin 77 for today"));
    masked.wait(2, &relay);
    let second: Value = serde_json::from_str(&text(&masked, 1)).unwrap();
    assert_eq!(second["body"], format!("pin {MASK} for today"));
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn every_format_and_the_preview_are_masked() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    let json = r#"{"id":"m1","from":"+1","to":"+2","body":"Your code is 482-913","parsedCode":"482913"}"#;
    std::fs::write(&message, json).unwrap();
    for format in ["message", "jolt-event", "cloudevents", "slack", "discord", "teams", "text", "template"] {
        let mut setup = scene
            .setup()
            .sink("http://127.0.0.1:1/")
            .set("SINKS__CRM__FORMAT", format)
            .set("SINKS__CRM__MASK_CODES", "true");
        if format == "template" {
            setup =
                setup.set("SINKS__CRM__TEMPLATE", r#"{"code":"{{ message.parsedCode }}","t":"{{ message.body }}"}"#);
        }
        let (code, said, log) = setup.args(&["check", "--message", message.to_str().unwrap()]).output();
        assert_eq!(code, 0, "{log}");
        assert!(said.contains(MASK) && !said.contains("482913") && !said.contains("482-913"), "{format}: {said}");
    }
}
