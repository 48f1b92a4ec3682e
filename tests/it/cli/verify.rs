//! Tests of `verify`, which compares the API's list of messages with the state.

use std::fs;

use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

fn verify(setup: Setup) -> (i32, String, String) {
    { setup }.args(&["verify", "--since", "24h"]).output()
}

/// Runs `once`, whatever its end.
fn once(setup: Setup) -> String {
    let (_, _, log) = { setup }.args(&["once"]).output();
    log
}

#[test]
fn a_state_that_has_everything_is_complete() {
    let scene = Scene::new();
    scene.add_past(25);
    let receiver = Receiver::in_background();
    let setup = || scene.setup_from_beginning().sink(&receiver.url());
    let mut relay = setup().start();
    receiver.wait(25, &relay);
    let (code, output, log) = verify(setup());
    assert!(output.starts_with("the API lists 25 messages received since "), "{output}");
    assert!(output.ends_with("none is missing, and every sink has the messages that it wants"), "{output}");
    assert_eq!((code, log.as_str()), (0, ""));
    // The relay gets time to receive a message that it has not read yet.
    scene.add();
    let (code, output, log) = verify(setup());
    assert!(code == 0 && output.starts_with("the API lists 26 messages "), "{output}\n{log}");
    relay.stop();
}

#[test]
fn what_is_missing_is_listed_and_nothing_is_changed() {
    let scene = Scene::new();
    scene.add_past(12);
    let receiver = Receiver::in_background();
    let setup = || scene.setup_from_beginning().sink(&receiver.url());
    let log = once(setup());
    assert_eq!(receiver.count(), 12, "{log}");
    let missing = [scene.add(), scene.add()];
    let before = fs::read(scene.dir().join("state/state.db")).unwrap();
    let (code, output, log) = verify(setup());
    assert_eq!((code, log.as_str()), (1, ""), "{output}");
    assert!(output.contains("\nmissing here: 2 messages\n"), "{output}");
    for id in missing {
        assert!(output.contains(&format!("\n  {id}  20")), "{output}");
    }
    assert!(output.contains("no relay runs; start it, or run: joltsms-relay once"), "{output}");
    assert_eq!((fs::read(scene.dir().join("state/state.db")).unwrap() == before, receiver.count()), (true, 12));
    once(setup());
    let (code, output, _) = verify(setup());
    assert_eq!(code, 0, "{output}");
}

#[test]
fn what_is_undelivered_is_listed_for_each_sink() {
    let scene = Scene::new();
    scene.add_past(2);
    let [crm, ops, fine] = [(); 3].map(|()| Receiver::in_background());
    crm.answer_with(400);
    ops.answer_with(503);
    let setup = || {
        let setup = scene.setup_from_beginning().sink(&crm.url()).set("SINKS__CRM__REJECT_STATUS", "400");
        let setup = setup.set("SINKS__OPS__TYPE", "http").set("SINKS__OPS__URL", &ops.url());
        setup.set("SINKS__FINE__TYPE", "http").set("SINKS__FINE__URL", &fine.url())
    };
    let log = once(setup());
    assert_eq!(fine.count(), 2, "{log}");
    let (code, output, log) = verify(setup());
    assert_eq!((code, log.as_str()), (1, ""), "{output}");
    assert!(output.contains("\nundelivered to crm: 2 messages\n"), "{output}");
    assert!(output.contains("dead letter, rejected: 400 Bad Request\n"), "{output}");
    assert!(
        output.contains("  next: send dead letters again: joltsms-relay dead-letters retry --sink crm\n"),
        "{output}"
    );
    assert!(output.contains("\nundelivered to ops: 2 messages\n"), "{output}");
    assert!(output.contains("waits after 1 attempt: 503 Service Unavailable\n"), "{output}");
    assert!(!output.contains("fine"), "{output}");
}

#[test]
fn messages_from_before_the_first_run_are_none_of_the_relay_s() {
    let scene = Scene::new();
    scene.add_past(15);
    let receiver = Receiver::in_background();
    let setup = || scene.setup().sink(&receiver.url());
    let mut relay = setup().start();
    let id = wait_for_a_state(&scene, || relay.log());
    receiver.wait(1, &relay);
    relay.stop();
    let (code, output, log) = verify(setup());
    assert_eq!((code, log.as_str()), (0, ""), "{output}");
    assert!(output.contains("15 messages from before the first run (poll.start): not relayed\n"), "{id}\n{output}");
}

/// Waits until the relay has read what was there, and adds a message.
fn wait_for_a_state(scene: &Scene, log: impl Fn() -> String) -> String {
    let file = scene.dir().join("state/state.db");
    wait_until("a first run", || file.exists() && scene.count("SELECT count(*) FROM message") >= 15, log);
    scene.add()
}

#[test]
fn a_list_that_cannot_be_read_proves_nothing() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    let setup = || scene.setup_from_beginning().sink(&receiver.url());
    let (code, _, log) = verify(setup());
    assert!(code == 1 && log.contains("no relay has run on it yet"), "{log}");
    once(setup());
    scene.handle().revoke_key("start");
    scene.handle().forget_key_cache();
    let (code, output, log) = verify(setup());
    assert_eq!((code, output.as_str()), (77, ""), "{log}");
    assert!(log.contains("make a new key in the dashboard"), "{log}");
    scene.handle().set_listening(false);
    let (code, output, log) = verify(setup());
    assert_eq!((code, output.as_str()), (75, ""), "{log}");
    assert!(log.contains("the API could not be read completely: connection refused"), "{log}");
}
