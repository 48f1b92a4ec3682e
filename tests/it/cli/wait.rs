//! Tests of `wait`: with a running relay, and without one.

use std::process::Stdio;

use joltsms_simulator::NewMessage;

use crate::support::relay::process::id_of;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Prepares a `wait` that knows the state and no API.
fn beside_relay(scene: &Scene, arguments: &[&str]) -> Setup {
    Setup::bare(scene.dir()).args(&["wait"]).args(arguments)
}

/// Prepares a `wait` that can poll the API.
fn without_relay(scene: &Scene, arguments: &[&str]) -> Setup {
    scene.setup().args(&["wait"]).args(arguments)
}

/// Starts a `wait`, and returns when it waits.
fn waiting(mut setup: Setup) -> Relay {
    let wait = setup.start();
    wait.wait_for_log("waiting for a message");
    wait
}

/// Returns the exit code and the lines of a command that ends by itself.
fn ended(mut wait: Relay) -> (Option<i32>, Vec<String>, String) {
    let status = wait.wait();
    (status.code(), wait.rest(), wait.log())
}

fn code(from: &str, code: &str) -> NewMessage {
    NewMessage::new().from(from).body(format!("Your code is {code}")).code(code)
}

/// Makes messages whose times are a millisecond apart, so that nobody can mistake their order.
fn in_order(scene: &Scene, messages: impl IntoIterator<Item = NewMessage>) {
    let now = scene.handle().now();
    let later = |(place, message): (i64, NewMessage)| {
        message.received_at(now + jiff::SignedDuration::from_millis(place)).ingested_at(now)
    };
    scene.handle().add_many((0..).zip(messages).map(later));
}

fn scene_with_relay() -> (Scene, Receiver, Relay) {
    let scene = Scene::new();
    let crm = Receiver::in_background();
    scene.add_past(3);
    let relay = scene.setup().sink(&crm.url()).start();
    scene.wait_for_polls(2);
    (scene, crm, relay)
}

#[test]
fn the_next_code_is_printed_and_nothing_else() {
    let (scene, _crm, mut relay) = scene_with_relay();
    let wait = waiting(beside_relay(&scene, &["--code", "--from", "+1800*"]));
    let without_code = NewMessage::new().from("+18005550000").body("nothing to see here");
    let codes = [code("+18005550000", "2222"), code("+18005550000", "3333")];
    in_order(&scene, [code("+17005550000", "1111"), without_code].into_iter().chain(codes));
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines), (Some(0), vec!["2222".to_owned()]), "{log}");
    assert!(log.contains("reading the relay's state"), "{log}");
    assert!(relay.stop().success());
}

#[test]
fn the_message_itself_is_printed_as_the_api_sent_it() {
    let (scene, _crm, mut relay) = scene_with_relay();
    let wait = waiting(beside_relay(&scene, &[]));
    let id = scene.add();
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines.len()), (Some(0), 1), "{log}");
    assert_eq!(id_of(&lines[0]), id);
    assert!(relay.stop().success());
}

#[test]
fn without_a_relay_the_api_is_polled_and_no_trace_of_a_text_stays() {
    let scene = Scene::new();
    scene.add_past(15);
    let wait = waiting(without_relay(&scene, &["--code-regex", r"\d{3}-\d{3}"]));
    scene.add();
    scene.handle().add(NewMessage::new().body("it is 123-456 today"));
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines), (Some(0), vec!["123-456".to_owned()]), "{log}");
    assert!(log.contains("no relay runs, so the API is polled"), "{log}");
    let scratch = scene.dir().join("state/scratch");
    let left: Vec<_> = std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["relay.lock"]);
    assert!(!scene.dir().join("state/state.db").exists(), "no position moved");
}

#[test]
fn since_finds_a_code_that_was_faster_than_the_command() {
    for with_relay in [true, false] {
        let (scene, crm) = (Scene::new(), Receiver::in_background());
        let mut relay = with_relay.then(|| scene.setup_from_beginning().sink(&crm.url()).start());
        let ago = |seconds| scene.handle().now() - jiff::SignedDuration::from_secs(seconds);
        let at = |message: NewMessage, seconds| message.received_at(ago(seconds)).ingested_at(ago(seconds));
        scene.handle().add_many([at(code("+1", "1111"), 600), at(code("+1", "2222"), 20), at(code("+1", "3333"), 10)]);
        if let Some(relay) = &relay {
            crm.wait(3, relay);
        }
        let arguments = ["--code", "--since", "60s"];
        let setup = if with_relay { beside_relay(&scene, &arguments) } else { without_relay(&scene, &arguments) };
        let (exit, printed, log) = { setup }.output();
        assert_eq!((exit, printed.as_str()), (0, "2222"), "{log}");
        if let Some(relay) = &mut relay {
            assert!(relay.stop().success());
        }
    }
}

#[test]
fn a_timeout_says_what_arrived_and_no_text() {
    for with_relay in [true, false] {
        let scene = Scene::new();
        let mut relay = with_relay.then(|| scene.setup().set("SINKS__CRM__TYPE", "stdout").start());
        if relay.is_some() {
            scene.wait_for_polls(2);
        }
        let arguments = ["--to", "+999*", "--timeout", "3s"];
        let setup = if with_relay { beside_relay(&scene, &arguments) } else { without_relay(&scene, &arguments) };
        let wait = waiting(setup);
        scene.handle().add(code("+18005550000", "4711"));
        let (exit, lines, log) = ended(wait);
        assert_eq!((exit, lines), (Some(124), vec![]), "{log}");
        assert!(log.contains("no matching message within 3 s; 1 other message arrived:"), "{log}");
        assert!(log.contains("from +18005550000 to +1") && log.contains(": does not match"), "{log}");
        assert!(!log.contains("4711"), "no text: {log}");
        if let Some(relay) = &mut relay {
            assert!(relay.stop().success());
        }
    }
}

#[test]
fn waiters_with_claim_get_different_codes() {
    for with_relay in [true, false] {
        let (scene, crm) = (Scene::new(), Receiver::in_background());
        let mut relay = with_relay.then(|| scene.setup().sink(&crm.url()).start());
        if relay.is_some() {
            scene.wait_for_polls(2);
        }
        let arguments = ["--code", "--claim"];
        let setup = || if with_relay { beside_relay(&scene, &arguments) } else { without_relay(&scene, &arguments) };
        let mut waiters: Vec<Relay> = (0..5).map(|_| setup().start()).collect();
        for wait in &waiters {
            wait.wait_for_log("waiting for a message");
        }
        let expected: Vec<String> = (0..5).map(|number| format!("10{number}")).collect();
        scene.handle().add_many(expected.iter().map(|number| code("+1800", number)));
        let mut found = Vec::new();
        for wait in &mut waiters {
            assert!(wait.wait().success(), "{}", wait.log());
            found.extend(wait.rest());
        }
        found.sort_unstable();
        assert_eq!(found, expected);
        if let Some(relay) = &mut relay {
            assert!(relay.stop().success());
        }
    }
}

#[test]
fn a_relay_that_starts_and_one_that_stops_are_no_hindrance() {
    let scene = Scene::new();
    let crm = Receiver::in_background();
    scene.add_past(3);
    let wait = waiting(without_relay(&scene, &["--code"]));
    scene.handle().add(NewMessage::new().body("nothing to see here"));
    let mut relay = scene.setup_from_beginning().sink(&crm.url()).start();
    crm.wait(4, &relay);
    // The messages that the relay hands on now are old for the command.
    let state = scene.dir().join("state/scratch");
    let is_left = || !state.join("state.db").exists();
    wait_until("the end of the command's own polls", is_left, || wait.log());
    scene.handle().add(code("+1800", "4711"));
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines), (Some(0), vec!["4711".to_owned()]), "{log}");

    let wait = waiting(without_relay(&scene, &["--code"]));
    assert!(relay.stop().success());
    wait_until("polls without a relay", || state.join("state.db").exists(), || wait.log());
    scene.handle().add(code("+1800", "4712"));
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines), (Some(0), vec!["4712".to_owned()]), "{log}");
}

#[test]
fn a_message_behind_newer_ones_on_a_later_page_is_found() {
    let (scene, _crm, mut relay) = scene_with_relay();
    let wait = waiting(beside_relay(&scene, &["--code", "--from", "+1800"]));
    let others = |count: usize| (0..count).map(|number| code(&format!("+17{number}"), "1"));
    in_order(&scene, others(15).chain([code("+1800", "4711")]).chain(others(25)));
    let (exit, lines, log) = ended(wait);
    assert_eq!((exit, lines), (Some(0), vec!["4711".to_owned()]), "{log}");
    assert!(relay.stop().success());
}

#[test]
fn a_code_is_seen_where_texts_go_at_once_and_no_byte_stays() {
    let scene = Scene::new();
    let mut setup = scene.setup().set("SINKS__OUT__TYPE", "stdout").set("STATE__KEEP_DELIVERED", "0s");
    let mut relay = setup.start_with_stdout(Stdio::null());
    scene.wait_for_polls(2);
    for number in 0..5 {
        let arguments = ["--code-regex", "secret is (.*)"];
        let wait = waiting(beside_relay(&scene, &arguments).set("STATE__KEEP_DELIVERED", "0s"));
        scene.handle().add(NewMessage::new().body(format!("the secret is s{number}7777")));
        let (exit, lines, log) = ended(wait);
        assert_eq!((exit, lines), (Some(0), vec![format!("s{number}7777")]), "{log}");
    }
    let holds_text = || {
        let files = std::fs::read_dir(scene.dir().join("state"))
            .unwrap()
            .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok());
        files.into_iter().any(|bytes| bytes.windows(4).any(|window| window == b"7777"))
    };
    wait_until("no byte of a text", || !holds_text(), || relay.log());
    assert!(relay.stop().success());
}

#[test]
fn what_cannot_be_done_is_refused() {
    let scene = Scene::new();
    for (arguments, exit, said) in [
        (&["--timeout", "48h"][..], 2, "a timeout that can be kept is 1s to 24h"),
        (&["--timeout", "0s"], 2, "a timeout that can be kept is 1s to 24h"),
        (&["--to", "[1"], 2, "--to is not a pattern: unclosed character class"),
        (&["--code-regex", "("], 2, "--code-regex is not a regular expression: unclosed group"),
        (&["--code-regex", "()"], 2, "--code-regex matches an empty text, so it finds no code"),
        (&["--since", "soon"], 2, "it must be a time such as"),
        (&[], 78, "no relay runs on this state, so the API has to be polled, and that is not possible:"),
    ] {
        let (code, printed, log) = beside_relay(&scene, arguments).output();
        assert_eq!((code, printed.as_str()), (exit, ""), "{arguments:?}: {log}");
        assert!(log.contains(said), "{arguments:?}: {log}");
    }
    let refused = scene.setup().env("JOLTSMS_API_KEY", "jolt_sk_00000000000000000000000000000000").args(&["wait"]);
    let (code, _, log) = { refused }.output();
    assert_eq!(code, 77, "{log}");
    assert!(log.contains("the API accepts no key"), "{log}");
    let (code, help, _) = Setup::bare(scene.dir()).args(&["wait", "--help"]).output();
    assert!(code == 0 && help.contains("code=$(joltsms-relay wait --code"), "{help}");
}

#[test]
fn ctrl_c_ends_the_wait_with_130() {
    let scene = Scene::new();
    let mut wait = waiting(without_relay(&scene, &[]));
    wait.signal("INT");
    assert_eq!(wait.wait().code(), Some(130), "{}", wait.log());
    assert!(!scene.dir().join("state/scratch/state.db").exists(), "erased");
}
