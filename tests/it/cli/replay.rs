//! Tests of `replay`, which delivers kept messages once more, beside a running relay and without a relay.

use joltsms_relay::delivery::log_sentences::SINK_WAS_PAUSED;
use std::time::Duration;

use joltsms_simulator::NewMessage;

use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

fn replay(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    Setup::bare(scene.dir()).args(&["replay"]).args(arguments).output()
}

/// Returns a relay to `crm` and `ops` that gives up after the first attempt.
fn to(scene: &Scene, crm: &Receiver, ops: &Receiver) -> Setup {
    let setup = scene.setup_from_beginning().sink(&crm.url()).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "0s");
    setup.set("SINKS__OPS__TYPE", "http").set("SINKS__OPS__URL", &ops.url())
}

fn receivers() -> (Receiver, Receiver) {
    (Receiver::in_background(), Receiver::in_background())
}

fn count(scene: &Scene, condition: &str) -> i64 {
    scene.count(&format!("SELECT count(*) FROM delivery WHERE {condition}"))
}

fn settles(scene: &Scene, relay: &Relay, delivered: i64) {
    wait_until("the settlements", || count(scene, "state = 'delivered'") == delivered, || relay.log());
}

/// Runs a relay that delivers this many messages of the last minutes to both sinks.
fn delivered(scene: &Scene, crm: &Receiver, ops: &Receiver, messages: i64) -> Relay {
    scene.add_past(messages);
    let relay = to(scene, crm, ops).start();
    let expected = usize::try_from(messages).unwrap();
    crm.wait(expected, &relay);
    ops.wait(expected, &relay);
    settles(scene, &relay, 2 * messages);
    relay
}

#[test]
fn a_running_relay_delivers_what_is_asked_for_again() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let relay = delivered(&scene, &crm, &ops, 4);
    let ids = scene.ids();
    let before = crm.received().into_iter().find(|request| request.webhook_id() == ids[2]).unwrap();
    let (code, said, log) = replay(&scene, &["--sink", "crm", "--id", &ids[2], "--id", &ids[2]]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert_eq!(said, "crm: 1 message again\na running relay begins within 5 s");
    crm.wait(5, &relay);
    let again = crm.received().pop().unwrap();
    assert_eq!((again.webhook_id(), &again.body), (ids[2].as_str(), &before.body), "the same to the byte");
    settles(&scene, &relay, 8);
    assert_eq!(count(&scene, "replays = 1 AND attempts = 1"), 1);
    assert_eq!(ops.count(), 4, "nobody asked for it there");
    ends_with_nothing_more(relay);
}

#[test]
fn without_a_relay_it_is_done_at_the_next_start() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let mut relay = delivered(&scene, &crm, &ops, 3);
    assert!(relay.stop().success());
    let (code, said, log) = replay(&scene, &["--since", "1h"]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert_eq!(said, "crm: 3 messages again\nops: 3 messages again\nno relay runs: the next start begins with them");
    let (code, said, _) = replay(&scene, &["--since", "1h", "--sink", "crm"]);
    assert_eq!((code, said.as_str()), (0, "crm: 3 wait for it already"), "asking twice sends once");
    let relay = to(&scene, &crm, &ops).start();
    crm.wait(6, &relay);
    ops.wait(6, &relay);
    settles(&scene, &relay, 6);
    let mut sent = crm.webhook_ids();
    sent.sort_unstable();
    assert!(sent.chunks(2).all(|pair| pair[0] == pair[1]), "{sent:?}");
    ends_with_nothing_more(relay);
}

#[test]
fn dead_letters_and_those_that_were_given_up_go_again() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    scene.add_past(3);
    crm.answer_with(422);
    let relay = to(&scene, &crm, &ops).start();
    crm.wait(3, &relay);
    wait_until("the dead letters", || count(&scene, "state = 'dead'") == 3, || relay.log());
    settles(&scene, &relay, 3);
    let id = scene.ids()[1].clone();
    let (code, ..) = Setup::bare(scene.dir()).args(&["dead-letters", "drop", "--id", &id]).output();
    assert_eq!(code, 0);
    crm.answer_with(200);
    let (code, said, _) = replay(&scene, &["--failed"]);
    assert_eq!(code, 0);
    assert_eq!(said, "crm: 3 messages again, of which 3 were dead letters\na running relay begins within 5 s");
    crm.wait(6, &relay);
    settles(&scene, &relay, 6);
    assert_eq!(ops.count(), 3, "there nothing had failed");
    // A message that waits for its first attempt has not failed, so `--failed` does not select it.
    assert_eq!(Setup::bare(scene.dir()).args(&["sinks", "pause", "ops"]).output().0, 0);
    relay.wait_for_log(SINK_WAS_PAUSED);
    scene.add_past(2);
    wait_until("those that wait", || count(&scene, "state = 'fresh'") == 2, || relay.log());
    let (code, said, log) = replay(&scene, &["--failed", "--dry-run"]);
    assert_eq!((code, said.as_str()), (0, ""), "{log}");
    assert!(log.contains("nothing selected"), "{log}");
    assert_eq!(Setup::bare(scene.dir()).args(&["sinks", "resume", "ops"]).output().0, 0);
    settles(&scene, &relay, 10);
    ends_with_nothing_more(relay);
}

#[test]
fn a_named_sink_gets_what_it_never_had_through_its_filter() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let now = scene.handle().now();
    for (id, code) in [("a", Some("111111")), ("b", None), ("c", Some("333333"))] {
        let message = NewMessage::new().id(id).body("a text").received_at(now - jiff::SignedDuration::from_secs(30));
        scene.handle().add(match code {
            Some(code) => message.code(code),
            None => message,
        });
    }
    let mut relay = scene.setup_from_beginning().sink(&crm.url()).start();
    crm.wait(3, &relay);
    settles(&scene, &relay, 3);
    assert!(relay.stop().success());
    let with_filter = || to(&scene, &crm, &ops).set("SINKS__OPS__FILTER__HAS_CODE", "true");
    let mut relay = with_filter().start();
    scene.wait_for_polls(2);
    assert_eq!(ops.count(), 0, "the sink was added after the messages had come");
    let (code, said, _) = replay(&scene, &["--since", "1h", "--to", "*"]);
    assert_eq!((code, said.lines().next()), (0, Some("crm: 3 messages again")), "what they had, and no more");
    crm.wait(6, &relay);
    let (code, said, log) = replay(&scene, &["--sink", "ops", "--since", "1h"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(said, "ops: 3 messages that it never had, if its filter wants them\na running relay begins within 5 s");
    ops.wait(2, &relay);
    settles(&scene, &relay, 5);
    let mut sent = ops.webhook_ids();
    sent.sort_unstable();
    assert_eq!(sent, ["a", "c"]);
    assert_eq!(count(&scene, "state <> 'delivered'"), 0, "the message without a code gets no delivery to ops");
    // If no relay runs, the filter of the next start counts.
    assert!(relay.stop().success());
    assert_eq!(replay(&scene, &["--sink", "ops", "--id", "b"]).0, 0);
    let relay = to(&scene, &crm, &ops).start();
    ops.wait(3, &relay);
    assert_eq!(ops.webhook_ids()[2], "b");
    ends_with_nothing_more(relay);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let now = scene.handle().now();
    for (id, from, ago) in [("a", "+18005550101", 50), ("b", "PayPal", 40), ("c", "PAYPAL", 30)] {
        let at = now - jiff::SignedDuration::from_secs(ago);
        scene.handle().add(NewMessage::new().id(id).from(from).received_at(at).ingested_at(at));
    }
    ops.answer_with(500);
    let mut relay = to(&scene, &crm, &ops).set("SINKS__OPS__RETRY__INITIAL", "1h").start();
    crm.wait(3, &relay);
    ops.wait(3, &relay);
    settles(&scene, &relay, 3);
    wait_until("the failures", || count(&scene, "state = 'retry'") == 3, || relay.log());
    let until = (now - jiff::SignedDuration::from_secs(35)).to_string();
    for (arguments, expected) in [
        (&["--since", "1h"][..], "crm 3 0 0 0, ops 0 0 0 3"),
        (&["--from", "paypal"], "crm 2 0 0 0, ops 0 0 0 2"),
        (&["--from", "+1800*", "--from", "pay*"], "crm 3 0 0 0, ops 0 0 0 3"),
        (&["--from", "paypal", "--until", &until], "crm 1 0 0 0, ops 0 0 0 1"),
        (&["--sink", "crm", "--since", &until], "crm 1 0 0 0"),
        (&["--sink", "crm", "--id", "a", "--id", "c"], "crm 2 0 0 0"),
        (&["--failed", "--sink", "ops"], "ops 0 0 0 3"),
    ] {
        let (code, table, log) = replay(&scene, &[arguments, &["--dry-run"]].concat());
        assert_eq!((code, log.as_str()), (0, ""), "{arguments:?}");
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["SINK", "DELIVERED", "DEAD", "NEW", "WAITING", "OLDEST", "NEWEST"]);
        let rows: Vec<String> = lines[1..].iter().map(|line| line[..5].join(" ")).collect();
        assert_eq!(rows.join(", "), expected, "{arguments:?}");
    }
    assert_eq!((count(&scene, "replays > 0"), crm.count()), (0, 3), "nothing was changed");
    assert!(relay.stop().success());
    // A dry run delivers nothing, so no relay needs to run.
    let (code, said, log) = replay(&scene, &["--since", "1h", "--rate", "2", "--dry-run"]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert_eq!(said.lines().last(), Some("3 deliveries, 2 a minute: about 90 s"));
}

#[test]
fn a_sink_that_is_switched_off_is_said_to_be() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    scene.add_past(2);
    let setup = || to(&scene, &crm, &ops);
    assert_eq!(setup().args(&["once"]).output().0, 0);
    assert_eq!(setup().set("SINKS__CRM__ENABLED", "false").args(&["once"]).output().0, 0);
    let (code, said, _) = replay(&scene, &["--sink", "crm"]);
    assert_eq!(code, 0);
    assert!(
        said.starts_with("crm: 2 messages again (it is switched off: enabled = false in the configuration)\n"),
        "{said}"
    );
}

#[test]
fn a_rate_is_kept_by_giving_the_relay_little_at_a_time() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let mut relay = delivered(&scene, &crm, &ops, 25);
    // The rate allows 10 deliveries at once and then 10 a second, so the last of 25 deliveries is requested after two
    // seconds.
    let began = scene.handle().now();
    let (code, said, log) = replay(&scene, &["--sink", "crm", "--since", "1h", "--rate", "600"]);
    assert!(scene.handle().now().duration_since(began) >= jiff::SignedDuration::from_secs(2), "too fast");
    assert_eq!((code, said.as_str()), (0, "crm: 25 messages again\na running relay begins within 5 s"), "{log}");
    crm.wait(50, &relay);
    settles(&scene, &relay, 50);
    assert!(relay.stop().success());
    let (code, said, log) = replay(&scene, &["--sink", "crm", "--since", "1h", "--rate", "600"]);
    assert_eq!((code, said.as_str()), (75, ""));
    assert!(log.contains("--rate needs a running relay, and none runs; nothing was changed"), "{log}");
    assert_eq!(count(&scene, "state = 'fresh'"), 0);
}

#[test]
fn order_and_age_of_what_is_sent_again() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let now = scene.handle().now();
    let number = scene.handle().numbers()[0].id.clone();
    for (id, ago) in [("old", 3600), ("a", 3), ("b", 2), ("c", 1)] {
        let at = now - jiff::SignedDuration::from_secs(ago);
        scene.handle().add(NewMessage::new().id(id).number(&number).received_at(at).ingested_at(at));
    }
    let setup = || to(&scene, &crm, &ops).set("SINKS__OPS__ORDER", "number").set("SINKS__OPS__MAX_AGE", "30m");
    let mut relay = setup().start();
    ops.wait(3, &relay);
    wait_until("the dead letter", || count(&scene, "state = 'dead' AND reason = 'expired'") == 1, || relay.log());
    settles(&scene, &relay, 7);
    assert!(relay.stop().success());
    let (code, said, _) = replay(&scene, &["--sink", "ops", "--since", "24h"]);
    assert_eq!((code, said.lines().next()), (0, Some("ops: 4 messages again, of which 1 was a dead letter")));
    let relay = setup().start();
    ops.wait(7, &relay);
    assert_eq!(ops.webhook_ids()[3..], ["old", "a", "b", "c"], "in their order, whatever their age");
    ends_with_nothing_more(relay);
}

/// The live message is not delayed even if the order of each number is kept and all messages belong to one number.
#[test]
fn a_replay_to_a_slow_receiver_delays_no_live_message_of_the_same_number() {
    let scene = Scene::new();
    let crm = Receiver::in_background();
    let number = scene.handle().numbers()[0].id.clone();
    let now = scene.handle().now();
    let message = |at| NewMessage::new().number(&number).received_at(at).ingested_at(at);
    let past = (1..=200).rev().map(|ago| message(now - jiff::SignedDuration::from_secs(ago)));
    scene.handle().add_many(past);
    let mut setup = scene.setup_from_beginning().sink(&crm.url()).set("SINKS__CRM__ORDER", "number");
    let relay = setup.start();
    crm.wait(200, &relay);
    settles(&scene, &relay, 200);
    crm.reply(|_| Reply { delay: Duration::from_millis(300), ..Reply::status(200) });
    let (code, said, _) = replay(&scene, &["--sink", "crm", "--since", "24h"]);
    assert_eq!((code, said.lines().next()), (0, Some("crm: 200 messages again")));
    crm.wait(205, &relay);
    for _ in 0..5 {
        let before = crm.count();
        let live = scene.handle().add(message(scene.handle().now()));
        wait_until("the live message", || crm.webhook_ids().contains(&live), || relay.log());
        let meanwhile = crm.webhook_ids().iter().skip(before).position(|id| *id == live);
        assert!(meanwhile < Some(20), "{meanwhile:?} others were sent before it");
    }
    assert!(count(&scene, "replays = 1 AND state = 'fresh'") > 50, "the replay goes on for long");
    // `replay` does not wait until the remaining messages are delivered.
    crm.answer_with(200);
    settles(&scene, &relay, 205);
    let replayed: Vec<String> = crm.webhook_ids().split_off(200);
    let expected = &scene.ids()[..200];
    let replayed: Vec<&String> = replayed.iter().filter(|id| expected.contains(id)).collect();
    assert_eq!(replayed, expected.iter().collect::<Vec<_>>(), "each once, in their order");
    ends_with_nothing_more(relay);
}

#[test]
fn what_selects_nothing_is_said() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let (code, ..) = to(&scene, &crm, &ops).args(&["once"]).output();
    assert_eq!(code, 0);
    let kept = "nothing selected: no stored message fits";
    for (arguments, expected, said) in [
        (&["--since", "1h"][..], 0, kept),
        (&["--failed", "--dry-run"], 0, kept),
        (&["--id", "x"], 1, kept),
        (&["--sink", "crn"], 1, "the state knows no sink named \"crn\"; it knows crm, ops"),
        (&[], 2, "required"),
        (&["--dry-run"], 2, "required"),
        (&["--since", "yesterday"], 2, "it must be a time such as 2026-01-31T08:00:00Z or a duration back such as 24h"),
        (&["--from", "[a"], 2, "--from is not a pattern"),
        (&["--failed", "--rate", "0"], 2, "--rate"),
        (&["--failed", "--rate", "9", "--dry-run"], 0, kept),
    ] {
        let (code, stdout, log) = replay(&scene, arguments);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{arguments:?}: {log}");
        assert!(log.contains(said), "{arguments:?}: {log}");
    }
    assert_eq!(scene.setup().sink(&crm.url()).args(&["once"]).output().0, 0);
    let (code, _, log) = replay(&scene, &["--sink", "ops"]);
    assert!(code == 1 && log.contains("ops is not configured any more, so nothing would be sent to it"), "{log}");
}
