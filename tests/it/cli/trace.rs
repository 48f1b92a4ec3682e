//! Tests of `trace`, which shows what the state knows of one message.

use std::collections::BTreeSet;

use joltsms_simulator::NewMessage;
use serde_json::Value;

use super::status::{documented, fields};
use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

fn trace(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    Setup::bare(scene.dir()).args(&["trace"]).args(arguments).output()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn each_sink_s_part_is_told_and_the_text_is_not() {
    let scene = Scene::new();
    let [crm, ops] = [(); 2].map(|()| Receiver::in_background());
    ops.answer_with(503);
    let at = scene.handle().now() - jiff::SignedDuration::from_secs(600);
    let number = scene.handle().numbers()[0].id.clone();
    let message = NewMessage::new().id("m-1").number(&number).body("the secret is 4711");
    scene.handle().add(message.received_at(at).ingested_at(at));
    let setup = scene.setup_from_beginning().sink(&crm.url()).set("SINKS__OPS__TYPE", "http");
    let setup = setup.set("SINKS__OPS__URL", &ops.url()).set("SINKS__OPS__RETRY__INITIAL", "1h");
    let setup = setup.set("SINKS__NONE__TYPE", "stdout").set("SINKS__NONE__FILTER__BODY", "^nothing$");
    let mut relay = { setup }.start();
    let settled = || {
        scene.dir().join("state/state.db").exists()
            && scene.count("SELECT count(*) FROM delivery WHERE state IN ('delivered', 'retry')") == 2
    };
    crm.wait(1, &relay);
    ops.wait(1, &relay);
    wait_until("both settlements", settled, || relay.log());
    let (code, told, log) = trace(&scene, &["m-1"]);
    assert_eq!((code, log.as_str()), (0, ""));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(words(lines[0]), ["message", "m-1"]);
    assert_eq!(words(lines[1]), ["number", number.as_str()]);
    assert!(lines[2].starts_with("received ") && lines[2].ends_with("(10 min ago)"), "{told}");
    assert!(lines[4].starts_with("first read "), "{told}");
    assert_eq!(lines[5], "handed on   yes: to the sinks, as message 1 of this state");
    assert!(lines[6].starts_with("text ") && lines[6].contains("kept, "), "{told}");
    let [crm_line, ops_line] = [lines[8], lines[9]];
    assert!(
        crm_line.starts_with("crm  delivered ") && crm_line.ends_with(" ago; 1 attempt; last answer: 200"),
        "{told}"
    );
    assert!(ops_line.starts_with("ops  failed ") && ops_line.contains(" ago, next attempt in "), "{told}");
    assert!(ops_line.ends_with("; 1 attempt; last answer: 503 Service Unavailable"), "{told}");
    assert_eq!(lines[11], "not for none: the filter of the sink did not want the message, or the sink was added later");
    assert!(!told.contains("4711"), "no body");

    let (code, json, _) = trace(&scene, &["m-1", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["id"], &json["standing"], &json["release"]), (0, &"m-1".into(), &"news".into(), &1.into()));
    assert_eq!((&json["sinks"][0]["state"], &json["sinks"][0]["status"]), (&"delivered".into(), &200.into()));
    assert_eq!((&json["sinks"][1]["state"], &json["sinks"][1]["attempts"]), (&"retry".into(), &1.into()));
    assert!(json["sinks"][1]["due_at"].as_str() > json["sinks"][1]["settled_at"].as_str(), "{json}");
    assert_eq!(json["not_for"], serde_json::json!(["none"]));
    let mut found = BTreeSet::new();
    fields(&json, "", &mut found);
    assert_eq!(found, documented("## `trace ID --json`"), "what there is (left), what docs/status.md has (right)");
    assert!(!json.to_string().contains("4711"), "no body");
    assert!(relay.stop().success());
}

#[test]
fn what_was_not_handed_on_has_its_reason() {
    let scene = Scene::new();
    let crm = Receiver::in_background();
    scene.add_past(2);
    let old = scene.ids()[0].clone();
    // With `start = "now"`, the messages that exist already become known, but are not delivered.
    let mut relay = scene.setup().sink(&crm.url()).start();
    scene.wait_for_polls(2);
    let (code, told, log) = trace(&scene, &[&old]);
    assert_eq!(code, 0, "{log}");
    assert!(told.contains("handed on   no: it was there before the first run (see poll.start)"), "{told}");
    assert!(!told.contains("crm") && !told.contains("not for"), "{told}");
    assert!(relay.stop().success());
    let (code, told, log) = trace(&scene, &["never\u{1b}[2J"]);
    assert_eq!((code, told.as_str()), (1, ""));
    assert!(log.contains(" knows no message \"never\\u{1b}[2J\""), "{log}");
}
