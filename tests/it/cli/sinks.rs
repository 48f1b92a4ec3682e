//! Tests of `sinks list | pause | resume | rename | drop`, beside a running relay and without a relay.

use joltsms_relay::delivery::log_sentences::{
    PAUSED_SINK_HAS_MESSAGES, SINK_IS_PAUSED, SINK_WAS_PAUSED, SINK_WAS_RENAMED, SINK_WAS_RESUMED,
};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

fn to(scene: &Scene, receiver: &Receiver) -> Setup {
    scene.setup_from_beginning().sink(&receiver.url())
}

/// Runs a command as an operator types it, without a key or a sink in its configuration. Returns exit code, stdout,
/// stderr.
fn command(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    Setup::bare(scene.dir()).args(arguments).output()
}

/// Returns the part of `status --json` about a sink.
fn status_of(scene: &Scene, name: &str) -> Value {
    let (_, said, _) = command(scene, &["status", "--json"]);
    let status: Value = serde_json::from_str(&said).unwrap();
    let sinks = status["sinks"].as_array().unwrap();
    sinks.iter().find(|sink| sink["name"] == name).cloned().unwrap_or_default()
}

fn waiting(scene: &Scene) -> i64 {
    scene.count("SELECT count(*) FROM delivery WHERE state <> 'delivered'")
}

#[test]
fn a_running_relay_hears_of_a_pause_and_of_its_end() {
    let scene = Scene::new();
    scene.add_past(2);
    let receiver = Receiver::in_background();
    let mut setup = to(&scene, &receiver).set("SINKS__OUT__TYPE", "stdout");
    let relay = setup.start();
    receiver.wait(2, &relay);
    relay.ids(2);
    let (code, said, log) = command(&scene, &["sinks", "pause", "crm"]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert_eq!(
        said,
        "crm is paused, a running relay hears of it within 5 s; `joltsms-relay sinks resume crm` ends the pause"
    );
    relay.wait_for_log(&format!("WARN {SINK_WAS_PAUSED} sink.name=\"crm\" hint=\"joltsms-relay sinks resume crm\""));
    let ids = [scene.add(), scene.add()];
    assert_eq!(relay.ids(2), ids, "the other sink goes on");
    assert_eq!(receiver.count(), 2);
    assert_eq!(command(&scene, &["sinks", "pause", "crm"]).1, "crm is paused already");
    let (code, said, _) = command(&scene, &["sinks", "resume", "crm", "out"]);
    assert_eq!(code, 0);
    let said: Vec<&str> = said.lines().collect();
    assert!(said[0].starts_with("crm is resumed: it was paused for ") && said[1] == "out is not paused", "{said:?}");
    receiver.wait(4, &relay);
    // The first message may come from either of the two workers.
    let mut sent = receiver.webhook_ids().split_off(2);
    sent.sort_by_key(|id| ids.iter().position(|known| known == id));
    assert_eq!(sent, ids);
    relay.wait_for_log(&format!("INFO {SINK_WAS_RESUMED} sink.name=\"crm\""));
    ends_with_nothing_more(relay);
}

/// Several messages a second must not keep the relay from noticing the commands of an operator.
#[test]
fn commands_are_heard_while_messages_come_all_the_time() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let relay = to(&scene, &receiver).start();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                scene.add();
                std::thread::park_timeout(Duration::from_millis(150));
            }
        });
        let _ends = Ends(&over);
        receiver.wait(20, &relay);
        assert_eq!(command(&scene, &["sinks", "pause", "crm"]).0, 0);
        relay.wait_for_log("WARN the sink was paused");
        let before = receiver.count();
        assert_eq!(command(&scene, &["sinks", "rename", "crm", "desk"]).0, 0);
        relay.wait_for_log(SINK_WAS_RENAMED);
        wait_until("more to wait for it", || waiting(&scene) > 20, || relay.log());
        assert!(receiver.count() <= before + 8, "what was under way and nothing else");
        assert_eq!(command(&scene, &["sinks", "resume", "desk"]).0, 0);
        relay.wait_for_log(&format!("INFO {SINK_WAS_RESUMED}"));
        let first = receiver.webhook_ids()[0].clone();
        assert_eq!(command(&scene, &["replay", "--sink", "desk", "--id", &first]).0, 0);
        let again = || receiver.webhook_ids().iter().filter(|id| **id == first).count() == 2;
        wait_until("the replay", again, || relay.log());
    });
    ends_with_nothing_more(relay);
}

/// Ends the traffic when it is dropped, also if an assertion fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn resuming_a_sink_ends_the_silence_that_its_receiver_has_asked_for() {
    let scene = Scene::new();
    scene.add_past(1);
    let receiver = Receiver::in_background();
    receiver.reply(|_| Reply::status(503).header("retry-after", "3600"));
    let relay = to(&scene, &receiver).start();
    receiver.wait(1, &relay);
    wait_until("the silence", || status_of(&scene, "crm")["held"] == "busy", || relay.log());
    receiver.answer_with(200);
    let (code, said, _) = command(&scene, &["sinks", "resume", "crm"]);
    let expected = "crm is resumed: its receiver had asked for silence for ";
    let ending = " more; a running relay sends to it again within 5 s";
    assert!(code == 0 && said.starts_with(expected) && said.ends_with(ending), "{said}");
    receiver.wait(2, &relay);
    relay.wait_for_log(&format!("INFO {SINK_WAS_RESUMED} sink.name=\"crm\""));
    wait_until("the settlement", || waiting(&scene) == 0, || relay.log());
    assert_eq!(command(&scene, &["sinks", "resume", "crm"]).1, "crm is not paused");
    ends_with_nothing_more(relay);
}

#[test]
fn resuming_a_sink_that_is_only_probed_says_what_it_does() {
    let scene = Scene::new();
    scene.add_past(12);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let relay = to(&scene, &receiver).set("SINKS__CRM__RETRY__INITIAL", "1h").start();
    receiver.wait(10, &relay);
    wait_until("the probing", || status_of(&scene, "crm")["held"] == "probing", || relay.log());
    receiver.answer_with(200);
    let (code, said, _) = command(&scene, &["sinks", "resume", "crm"]);
    let expected = "crm is not paused; its last attempts failed, so the relay tried one message at a time; within 5 s the \
                    relay tries all waiting messages again";
    assert_eq!((code, said.as_str()), (0, expected));
    wait_until("all messages", || waiting(&scene) == 0, || relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_suggested_command_repeats_the_flags_of_the_operator() {
    let scene = Scene::new();
    scene.add_past(1);
    let receiver = Receiver::in_background();
    let dir = scene.dir().join("another state").display().to_string();
    let file = scene.file("[poll]\ninterval = \"1s\"\n");
    let flags = ["--config", &file, "--state-dir", &dir];
    let (code, _, log) = to(&scene, &receiver).args(&["once"]).args(&flags).output();
    assert_eq!(code, 0, "{log}");
    let (code, said, log) = command(&scene, &[&["sinks", "pause", "crm"], &flags[..]].concat());
    let suggested = format!("joltsms-relay --config {file} --state-dir '{dir}' sinks resume crm");
    assert!(code == 0 && said.ends_with(&format!("within 5 s; `{suggested}` ends the pause")), "{said}{log}");
    let (_, _, log) = to(&scene, &receiver).args(&["once"]).args(&flags).output();
    let paused = log.lines().find(|line| line.contains(SINK_IS_PAUSED)).unwrap_or_default();
    assert!(paused.contains(&suggested), "{log}");
    // A shell takes the command as it stands.
    let program = env!("CARGO_BIN_EXE_joltsms-relay");
    let resumed =
        Command::new("sh").arg("-c").arg(suggested.replacen("joltsms-relay", program, 1)).env_clear().output();
    let resumed = String::from_utf8(resumed.unwrap().stdout).unwrap();
    assert!(resumed.starts_with("crm is resumed: it was paused for "), "{resumed}");
}

#[test]
fn a_pause_outlives_a_restart_and_needs_no_relay() {
    let scene = Scene::new();
    scene.add_past(2);
    let receiver = Receiver::in_background();
    let mut setup = to(&scene, &receiver);
    let mut relay = setup.start();
    receiver.wait(2, &relay);
    wait_until("the settlement", || waiting(&scene) == 0, || relay.log());
    relay.kill();
    assert_eq!(command(&scene, &["sinks", "pause", "crm"]).0, 0);
    let id = scene.add();
    let mut relay = setup.start();
    relay.wait_for_log(&format!("WARN {SINK_IS_PAUSED} sink.name=\"crm\" reason=\"operator\" since="));
    wait_until("the message", || waiting(&scene) == 1, || relay.log());
    assert!(relay.stop().success());
    assert_eq!(receiver.count(), 2);
    assert_eq!(command(&scene, &["sinks", "resume", "crm"]).0, 0);
    let relay = setup.start();
    receiver.wait(3, &relay);
    assert_eq!(receiver.webhook_ids()[2], id);
    ends_with_nothing_more(relay);
}

#[test]
fn once_ends_well_when_all_that_is_left_waits_for_a_sink_that_somebody_paused() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let (code, ..) = to(&scene, &receiver).args(&["once"]).output();
    assert_eq!(code, 0);
    assert_eq!(command(&scene, &["sinks", "pause", "crm"]).0, 0);
    scene.add_past(3);
    let (code, _, log) = to(&scene, &receiver).args(&["once"]).output();
    assert_eq!(code, 0, "{log}");
    let said =
        format!("INFO {PAUSED_SINK_HAS_MESSAGES} sink.name=\"crm\" messages=3 hint=\"joltsms-relay sinks resume crm\"");
    assert!(log.contains(&said), "{log}");
    assert!(receiver.count() == 0 && !log.contains("run it again"), "{log}");
    // A receiver that answers 410 is a case of its own.
    assert_eq!(command(&scene, &["sinks", "resume", "crm"]).0, 0);
    receiver.answer_with(410);
    let (code, _, log) = to(&scene, &receiver).args(&["once"]).output();
    assert_eq!(code, 75, "{log}");
    let (code, _, log) = to(&scene, &receiver).args(&["once"]).output();
    assert_eq!(code, 75, "{log}");
}

#[test]
fn the_list_shows_what_waits_and_who_is_paused() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let (code, _, log) = to(&scene, &receiver).set("SINKS__OLD__TYPE", "stdout").args(&["once"]).output();
    assert_eq!(code, 75, "{log}");
    let (code, ..) = to(&scene, &receiver).args(&["once"]).output();
    assert_eq!(code, 75);
    assert_eq!(command(&scene, &["sinks", "pause", "crm"]).0, 0);
    let (code, table, log) = command(&scene, &["sinks", "list"]);
    assert_eq!((code, log.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["SINK", "WAITING", "RETRYING", "DEAD", "OLDEST", "STATE"]);
    assert_eq!((&lines[1][..4], lines[1][6]), (["crm", "3", "3", "0"].as_slice(), "paused"), "{table}");
    assert_eq!(lines[2], ["old", "0", "0", "0", "-", "not", "configured", "any", "more"]);
    let (_, list, _) = command(&scene, &["sinks", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["name"], "crm");
    assert_eq!((&list[0]["waiting"], &list[0]["retrying"], &list[0]["dead"]), (&3.into(), &3.into(), &0.into()));
    assert_eq!((&list[0]["paused"], &list[1]["configured"]), (&"operator".into(), &false.into()));
    assert!(list[0]["oldest_waiting_age_seconds"].as_f64().unwrap() < 60.0 && list[1]["oldest_waiting_at"].is_null());
}

#[test]
fn names_and_states_that_are_not_there_are_said() {
    let scene = Scene::new();
    for arguments in [&["sinks", "list"][..], &["sinks", "pause", "crm"], &["dead-letters", "list"]] {
        let (code, said, log) = command(&scene, arguments);
        assert_eq!((code, said.as_str()), (1, ""));
        let dir = scene.dir().join("state");
        assert!(log.contains(&format!("there is no state in {}: no relay has run on it yet", dir.display())), "{log}");
        assert!(!dir.exists(), "and none is made");
    }
    let receiver = Receiver::in_background();
    let (code, ..) = to(&scene, &receiver).set("SINKS__OUT__TYPE", "stdout").args(&["once"]).output();
    assert_eq!(code, 0);
    for arguments in [&["sinks", "pause", "out", "crn"][..], &["dead-letters", "retry", "--sink", "crn"]] {
        let (code, said, log) = command(&scene, arguments);
        assert_eq!((code, said.as_str()), (1, ""));
        assert!(log.contains("the state knows no sink named \"crn\"; it knows crm, out"), "{log}");
    }
    assert_eq!(scene.count("SELECT count(*) FROM sink WHERE paused IS NOT NULL"), 0, "nothing was changed");
    let (code, _, log) = command(&scene, &["sinks", "pause"]);
    assert_eq!(code, 2, "{log}");
}

#[test]
fn a_renamed_sink_keeps_what_waits_for_it() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let slow = |setup: Setup| setup.set("SINKS__CRM__RETRY__INITIAL", "1h");
    let mut relay = slow(to(&scene, &receiver)).start();
    receiver.wait(3, &relay);
    let failed = || scene.count("SELECT count(*) FROM delivery WHERE state = 'retry'") == 3;
    wait_until("the failures", failed, || relay.log());
    // A running relay goes on under the old name, and says so. The next start uses the new name.
    let (code, said, log) = command(&scene, &["sinks", "rename", "crm", "desk"]);
    assert_eq!((code, log.as_str()), (0, ""));
    assert_eq!(
        said,
        "crm is called desk now and keeps its waiting messages; the configuration must have [sinks.desk] instead of \
         [sinks.crm] at the next reload or start"
    );
    relay.wait_for_log(&format!("INFO {SINK_WAS_RENAMED} sink.name=\"desk\" was=\"crm\""));
    let fails = || status_of(&scene, "desk")["failing_since"].is_string();
    wait_until("what it does to be shown under the new name", fails, || relay.log());
    assert!(relay.stop().success());
    receiver.answer_with(200);
    let mut setup = scene.setup().set("SINKS__DESK__TYPE", "http").set("SINKS__DESK__URL", &receiver.url());
    // The messages are due in an hour. The end of a pause makes the messages due at once.
    assert_eq!(command(&scene, &["sinks", "pause", "desk"]).0, 0);
    let relay = setup.start();
    relay.wait_for_log(&format!("WARN {SINK_IS_PAUSED}"));
    assert_eq!(command(&scene, &["sinks", "resume", "desk"]).0, 0);
    receiver.wait(6, &relay);
    ends_with_nothing_more(relay);
    for (arguments, expected, wanted) in [
        (&["rename", "desk", "desk"][..], 0, "desk has this name already"),
        (&["rename", "crm", "x"], 1, "the state knows no sink named \"crm\"; it knows desk"),
        (&["rename", "desk", "De sk"], 2, "1 to 64 characters of a-z"),
    ] {
        let (code, said, log) = command(&scene, &[&["sinks"], arguments].concat());
        assert_eq!(code, expected, "{said}{log}");
        assert!(format!("{said}{log}").contains(wanted), "{said}{log}");
    }
}

#[test]
fn a_dropped_sink_takes_its_messages_along_only_if_told_to() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let (code, ..) = to(&scene, &receiver).set("SINKS__OUT__TYPE", "stdout").args(&["once"]).output();
    assert_eq!(code, 75);
    let mut relay = scene.setup().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    let (code, said, log) = command(&scene, &["sinks", "drop", "out"]);
    assert_eq!((code, said.as_str()), (75, ""));
    assert!(log.contains("a relay runs that sends to out: remove it from the configuration and restart"), "{log}");
    let (code, said, log) = command(&scene, &["sinks", "rename", "crm", "out"]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(log.contains("there is a sink named out already, with its own queue"), "{log}");
    let (code, said, log) = command(&scene, &["sinks", "drop", "crm"]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(log.contains("crm still has 3 waiting messages, so nothing was changed. To remove the sink and lose them, add --discard-messages"), "{log}");
    assert_eq!(waiting(&scene), 3);
    let (code, said, _) = command(&scene, &["sinks", "drop", "crm", "--discard-messages"]);
    assert_eq!((code, said.as_str()), (0, "crm is gone with 3 waiting messages"));
    assert_eq!(waiting(&scene), 0);
    assert_eq!(scene.count("SELECT count(*) FROM sink"), 1);
    let id = scene.add();
    assert_eq!(relay.ids(1), [id], "the other goes on");
    assert!(relay.stop().success());
    let (code, said, _) = command(&scene, &["sinks", "drop", "out"]);
    assert_eq!(
        (code, said.as_str()),
        (
            0,
            "out is gone; if it is still configured at the next start, it begins as a \
             new sink"
        )
    );
    assert_eq!(scene.count("SELECT count(*) FROM sink") + scene.count("SELECT count(*) FROM delivery"), 0);
}
