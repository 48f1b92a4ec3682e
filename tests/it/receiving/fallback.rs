//! Tests of `fallback`: what becomes a dead letter of one sink is handed over to another.

use std::fs;

use joltsms_relay::delivery::log_sentences::MESSAGE_IS_DEAD;

use crate::support::prerequisites::has_type;
use crate::support::relay::process::id_of;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

#[test]
fn a_dead_letter_is_handed_over_once_and_trace_says_so() {
    if !has_type("file") {
        return;
    }
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(422);
    let lines = scene.dir().join("lines.jsonl");
    let config = scene.file(&format!(
        "[sinks.crm]\ntype = \"http\"\nurl = \"{}\"\nreject_status = [422]\nfallback = \"ops\"\n\
         [sinks.ops]\ntype = \"file\"\npath = \"{}\"\nfilter = {{ from = \"nobody\" }}\n",
        receiver.url(),
        lines.display()
    ));
    let setup = || scene.setup().args(&["--config", &config]);
    let mut relay = setup().start();
    relay.wait_for_log("relaying what comes from now on");
    let ids = [scene.add(), scene.add()];
    let arrived = || -> Vec<String> { fs::read_to_string(&lines).unwrap_or_default().lines().map(id_of).collect() };
    wait_until("the messages at the fallback", || arrived().len() == 2, || relay.log());
    let mut sorted = arrived();
    sorted.sort_unstable();
    let mut expected = ids.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    // The log may come a moment after the message.
    relay.wait_for_log(MESSAGE_IS_DEAD);
    relay.wait_for_log("fallback=\"ops\"");
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    wait_until("the records", || delivered() == 2, || relay.log());
    let (code, traced, _) = setup().args(&["trace", &ids[0]]).output();
    let handed_over = traced.lines().find(|line| line.contains("; handed over by crm"));
    assert!(code == 0 && handed_over.is_some_and(|line| line.contains(" delivered ")), "{traced}");
    assert!(traced.contains(" dead letter (rejected), given up "), "{traced}");
    let (_, traced, _) = setup().args(&["trace", &ids[0], "--json"]).output();
    let traced: serde_json::Value = serde_json::from_str(&traced).unwrap();
    let by: Vec<_> = traced["sinks"].as_array().unwrap().iter().map(|sink| sink["handed_over_by"].as_str()).collect();
    assert_eq!(by, [None, Some("crm")]);
    // What becomes of the dead letters does not concern the fallback.
    assert_eq!(setup().args(&["dead-letters", "retry", "--id", &ids[0]]).output().0, 0);
    receiver.wait(3, &relay);
    let dead = || scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'");
    wait_until("the second death", || dead() == 2, || relay.log());
    assert_eq!(setup().args(&["dead-letters", "drop", "--all"]).output().0, 0);
    scene.wait_for_polls(2);
    assert_eq!(relay.stop().code(), Some(0));
    assert_eq!(arrived().len(), 2, "each once");
    assert_eq!(delivered(), 2);
}

#[test]
fn once_ends_when_the_fallback_has_the_messages() {
    let scene = Scene::new();
    scene.add_past(5);
    let receiver = Receiver::in_background();
    receiver.answer_with(422);
    let mut setup = scene
        .setup_from_beginning()
        .sink(&receiver.url())
        .set("SINKS__CRM__REJECT_STATUS", "422")
        .set("SINKS__CRM__FALLBACK", "out")
        .set("SINKS__OUT__TYPE", "stdout")
        .set("SINKS__OUT__FILTER__FROM", "nobody")
        .args(&["once"]);
    let (code, said, log) = setup.output();
    assert_eq!((code, said.lines().count()), (0, 5), "{log}");
}
