//! Tests of `dead-letters list | show | retry | drop`, beside a running relay and without a relay.

use serde_json::Value;

use crate::support::relay::Setup;
use crate::support::relay::process::id_of;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

fn command(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    Setup::bare(scene.dir()).args(&["dead-letters"]).args(arguments).output()
}

/// Returns a relay to `crm` and `ops` that gives up after the first attempt.
fn impatient(scene: &Scene, crm: &Receiver, ops: &Receiver) -> Setup {
    let setup = scene.setup_from_beginning().sink(&crm.url()).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "0s");
    let setup = setup.set("SINKS__OPS__TYPE", "http").set("SINKS__OPS__URL", &ops.url());
    setup.set("SINKS__OPS__RETRY__GIVE_UP_AFTER", "0s")
}

/// Makes three messages dead letters at both sinks, and stops the relay.
fn three_dead(scene: &Scene, crm: &Receiver, ops: &Receiver) {
    scene.add_past(3);
    crm.answer_with(422);
    ops.answer_with(500);
    let mut relay = impatient(scene, crm, ops).start();
    crm.wait(3, &relay);
    wait_until("the dead letters", || count(scene, "dead") == 6, || relay.log());
    assert!(relay.stop().success());
}

fn count(scene: &Scene, state: &str) -> i64 {
    scene.count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
}

fn receivers() -> (Receiver, Receiver) {
    (Receiver::in_background(), Receiver::in_background())
}

#[test]
fn they_are_listed_and_shown() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    three_dead(&scene, &crm, &ops);
    let (code, table, log) = command(&scene, &["list"]);
    assert_eq!((code, log.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "SINK", "REASON", "RECEIVED", "DIED", "ATTEMPTS", "LAST", "ANSWER"]);
    assert_eq!(lines.len(), 7);
    let ids = scene.ids();
    assert_eq!(
        (lines[1][1], lines[1][2], &lines[1][9..]),
        ("crm", "gave_up", ["1", "422", "Unprocessable", "Entity"].as_slice()),
        "{table}"
    );
    assert!(ids.contains(&lines[1][0].to_owned()));
    let text = &scene.handle().rows()[0].body;
    let (code, list, _) = command(&scene, &["list", "--sink", "ops", "--json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!((code, list.len()), (0, 3));
    for letter in &list {
        assert_eq!(
            (&letter["sink"], &letter["reason"], &letter["status"]),
            (&"ops".into(), &"gave_up".into(), &500.into())
        );
        assert_eq!((&letter["attempts"], &letter["replays"]), (&1.into(), &0.into()));
        assert!(letter["died_at"].as_str() >= letter["first_attempt_at"].as_str(), "{letter}");
        assert!(!letter.to_string().contains(text.as_str()), "no body");
    }
    let (code, shown, _) = command(&scene, &["show", "--id", &ids[1], "--sink", "crm"]);
    assert_eq!((code, id_of(&shown)), (0, ids[1].clone()));
    let (_, shown, _) = command(&scene, &["show", "--sink", "crm"]);
    let mut shown: Vec<String> = shown.lines().map(id_of).collect();
    shown.sort_unstable();
    let mut expected = ids;
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

#[test]
fn they_are_sent_again_by_a_running_relay() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    three_dead(&scene, &crm, &ops);
    let relay = impatient(&scene, &crm, &ops).start();
    scene.wait_for_polls(2);
    assert_eq!((crm.count(), ops.count()), (3, 3), "not by themselves");
    crm.answer_with(200);
    ops.answer_with(200);
    let (code, said, log) = command(&scene, &["retry", "--sink", "crm"]);
    assert_eq!((code, said.as_str()), (0, "3 dead letters are sent again; a running relay begins within 5 s"), "{log}");
    crm.wait(6, &relay);
    let ids = crm.webhook_ids();
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(&ids[3..]), sorted(&ids[..3]), "with the same ids");
    wait_until("the settlement", || count(&scene, "delivered") == 3, || relay.log());
    assert_eq!((count(&scene, "dead"), ops.count()), (3, 3), "the other sink's stay");
    assert_eq!(scene.count("SELECT min(attempts * 10 + replays) FROM delivery WHERE state = 'delivered'"), 11);
    ends_with_nothing_more(relay);
}

#[test]
fn without_a_relay_they_are_sent_at_the_next_start() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    three_dead(&scene, &crm, &ops);
    let id = scene.ids()[0].clone();
    let (code, said, _) = command(&scene, &["retry", "--id", &id]);
    assert_eq!((code, said.as_str()), (0, "2 dead letters are sent again; a running relay begins within 5 s"));
    let (code, said, _) = command(&scene, &["retry", "--id", &id]);
    assert_eq!((code, said.as_str()), (1, ""), "they are no dead letters any more");
    crm.answer_with(200);
    let relay = impatient(&scene, &crm, &ops).start();
    crm.wait(4, &relay);
    ops.wait(4, &relay);
    assert_eq!((&crm.webhook_ids()[3], &ops.webhook_ids()[3]), (&id, &id));
    wait_until("dead again", || count(&scene, "dead") == 5, || relay.log());
    let (code, said, _) = command(&scene, &["retry", "--all"]);
    assert_eq!((code, said.as_str()), (0, "5 dead letters are sent again; a running relay begins within 5 s"));
    crm.wait(6, &relay);
    wait_until("dead once more", || count(&scene, "dead") == 3, || relay.log());
    assert_eq!(scene.count("SELECT max(replays) FROM delivery"), 2);
    ends_with_nothing_more(relay);
}

#[test]
fn a_dropped_one_leaves_a_trace_and_is_not_sent() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    three_dead(&scene, &crm, &ops);
    let id = scene.ids()[0].clone();
    let (code, said, _) = command(&scene, &["drop", "--id", &id, "--sink", "crm"]);
    assert_eq!((code, said.as_str()), (0, "1 dead letter is given up; the state keeps a trace of it"));
    assert_eq!(
        scene.count("SELECT count(*) FROM delivery WHERE state = 'dropped' AND reason = 'gave_up' AND status = 422"),
        1
    );
    assert_eq!(command(&scene, &["list", "--id", &id]).1.lines().count(), 2, "the other sink's is listed still");
    crm.answer_with(200);
    let (code, said, _) = command(&scene, &["retry", "--sink", "crm"]);
    assert_eq!((code, said.as_str()), (0, "2 dead letters are sent again; a running relay begins within 5 s"));
    let relay = impatient(&scene, &crm, &ops).start();
    crm.wait(5, &relay);
    wait_until("the settlement", || count(&scene, "delivered") == 2, || relay.log());
    assert!(!crm.webhook_ids()[3..].contains(&id));
    ends_with_nothing_more(relay);
}

#[test]
fn a_selection_that_selects_nothing_is_said() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let (code, ..) = impatient(&scene, &crm, &ops).args(&["once"]).output();
    assert_eq!(code, 0);
    for (arguments, expected, said) in [
        (&["list"][..], 0, "joltsms-relay: there are no dead letters\n"),
        (&["list", "--sink", "crm"], 0, "joltsms-relay: there are no dead letters of crm\n"),
        (&["list", "--id", "x"], 1, "joltsms-relay: \"x\" is no dead letter\n"),
        (&["retry", "--all"], 0, "nothing selected: there are no dead letters\n"),
        (&["drop", "--sink", "crm"], 0, "nothing selected: there are no dead letters of crm\n"),
        (&["show", "--id", "x\u{1b}"], 1, "nothing selected: \"x\\u{1b}\" is no dead letter\n"),
        (&["retry", "--id", "x", "--sink", "ops"], 1, "nothing selected: \"x\" is no dead letter of ops\n"),
        (&["retry"], 2, "<--sink <NAME>|--id <ID>|--all>"),
        (&["drop"], 2, "<--sink <NAME>|--id <ID>|--all>"),
        (&["drop", "--all", "--sink", "crm"], 2, "cannot be used with"),
        (&["show"], 2, "<--sink <NAME>|--id <ID>|--all>"),
        (&["show", "--all"], 0, "nothing selected: there are no dead letters\n"),
    ] {
        let (code, stdout, log) = command(&scene, arguments);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{arguments:?}: {log}");
        assert!(log.contains(said), "{arguments:?}: {log}");
    }
    let (code, stdout, log) = command(&scene, &["list", "--json"]);
    assert_eq!((code, stdout.as_str(), log.as_str()), (0, "[]", ""), "an array, whatever happens");
}

#[test]
fn nothing_from_outside_moves_the_terminal() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    three_dead(&scene, &crm, &ops);
    let connection = rusqlite::Connection::open(scene.dir().join("state/state.db")).unwrap();
    connection
        .execute("UPDATE delivery SET answer = ?1", ["418 \u{1b}[2J\u{1b}]0;gone\u{7}"])
        .and_then(|_| connection.execute("UPDATE message SET id = id || ?1", ["\u{9b}2J"]))
        .unwrap();
    drop(connection);
    let (code, table, log) = command(&scene, &["list"]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert!(table.contains("418 \\u001b[2J\\u001b]0;gone\\u0007") && table.contains("\\u009b2J"), "{table}");
    assert!(!table.contains(|next: char| next.is_control() && next != '\n'), "{table:?}");
}
