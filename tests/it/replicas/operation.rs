//! Commands, probes and refusals of relays that share a state.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::group::Group;
use super::tell;
use crate::admin::client::{address, get};
use crate::cli::status::{documented, fields};
use crate::support::relay::Setup;
use crate::support::scene::Scene;
use crate::support::waiting::{now, wait_until};

/// What a relay logs when a command paused or resumed a sink.
pub(super) const PAUSED: &str = "the sink was paused and keeps its messages";
pub(super) const RESUMED: &str = "the sink was resumed";

/// The least time from one look for commands to the next, if there are no hints.
const LOOK: Duration = Duration::from_secs(4);

/// Runs a command with the configuration of a relay. Returns exit code, stdout, stderr.
pub(super) fn command(group: &Group, number: usize, arguments: &[&str]) -> (i32, String, String) {
    group.setup(number).args(arguments).output()
}

/// Starts a relay, and waits until it delivers. Returns its number.
pub(super) fn start_working(group: &mut Group) -> usize {
    let number = group.start();
    group.scene.add();
    group.wait_for_all();
    number
}

#[test]
fn probes_metrics_and_status_say_who_is_active() {
    let Some(group) = Group::new() else { return };
    let mut group = group.set("ADMIN__LISTEN", "127.0.0.1:0");
    let first = group.start();
    assert_eq!(group.wait_for_active(), first);
    let second = group.start();
    group.relay(second).wait_for_log("stands by until it is the active one");
    let (active, standby) = (address(group.relay(first)), address(group.relay(second)));
    let ready = |address| get(address, "/readyz").body;
    wait_until("a relay that is ready", || ready(active).contains("{\"ready\":true,\"reasons\":[]}"), || group.logs());
    wait_until(
        "a relay that stands by and is ready",
        || ready(standby).contains("{\"ready\":true,\"stands_by\":true,\"reasons\":[]}"),
        || format!("{}\n{}", ready(standby), group.logs()),
    );
    for (address, sample) in
        [(active, "joltsms_relay_active{account=\"main\"} 1"), (standby, "joltsms_relay_active{account=\"main\"} 0")]
    {
        let metrics = get(address, "/metrics").body;
        assert!(metrics.contains(sample), "{metrics}");
        assert!(
            metrics.contains("joltsms_relay_epoch{account=\"main\"} 1")
                && metrics.contains("joltsms_relay_lease_seconds")
        );
    }
    for number in [first, second] {
        let (exit, said, log) = command(&group, number, &["status", "--json"]);
        assert_eq!(exit, 0, "{log}");
        let status: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(status["relay"]["stands_by"], Value::Bool(number == second), "{said}");
        assert_eq!(
            (status["healthy"].as_bool(), status["replicas"]["epoch"].as_i64()),
            (Some(true), Some(1)),
            "{said}"
        );
        assert_eq!(status["replicas"]["replicas"].as_array().unwrap().len(), 2, "{said}");
        assert!(status["replicas"]["active"].is_string() && status["replicas"]["lease_seconds"].is_f64());
        let mut found = BTreeSet::new();
        fields(&status, "", &mut found);
        let mut documented = documented("## `status --json`");
        for names in [&mut found, &mut documented] {
            names.retain(|field| field.starts_with("replicas."));
        }
        assert_eq!(found, documented, "what there is (left), what docs/status.md has (right)");
    }
    let (_, said, _) = command(&group, second, &["status"]);
    assert!(said.contains("standing by") && said.contains(" is active (its lease ends in "), "{said}");
}

#[test]
fn commands_work_from_every_machine() {
    let Some(mut group) = Group::new() else { return };
    group.receiver.answer_with(400);
    group.start();
    group.scene.add();
    group.wait_for_count(1);
    // The directory of this relay is empty: only the database is shared.
    let elsewhere = 7;
    let (exit, said, log) = command(&group, elsewhere, &["sinks", "pause", "crm"]);
    assert_eq!((exit, said.contains("crm")), (0, true), "{said}{log}");
    let paused = || command(&group, elsewhere, &["sinks", "list", "--json"]).1.contains("\"paused\": \"operator\"");
    wait_until("a paused sink", paused, || command(&group, elsewhere, &["sinks", "list", "--json"]).1);
    group.scene.add();
    group.receiver.answer_with(200);
    assert_eq!(command(&group, elsewhere, &["sinks", "resume", "crm"]).0, 0);
    group.wait_for_all();
    let (exit, _, log) = command(&group, elsewhere, &["once"]);
    assert_eq!(exit, 75, "a relay is active: {log}");
    assert!(log.contains("another joltsms-relay is the active one"), "{log}");
    let (exit, said, log) = command(&group, elsewhere, &["verify", "--since", "1h"]);
    assert_eq!(exit, 0, "{said}{log}");
    let active = group.wait_for_active();
    assert!(group.relay(active).stop().success());
    group.relays.remove(&active);
    group.scene.add();
    let (exit, _, log) = command(&group, elsewhere, &["once"]);
    assert_eq!((exit, group.missing().len()), (0, 0), "{log}");
}

#[test]
fn a_command_is_noticed_long_before_the_next_look() {
    let Some(mut group) = Group::new() else { return };
    group.server.log_statements();
    let active = start_working(&mut group);
    let mut took = Vec::new();
    for round in 1..=3 {
        for (word, sentence) in [("pause", PAUSED), ("resume", RESUMED)] {
            let began = now();
            assert_eq!(command(&group, 7, &["sinks", word, "crm"]).0, 0);
            group.relay(active).wait_for_log_times(sentence, round);
            took.push(now() - began);
        }
    }
    took.sort_unstable();
    tell(&format!("a command of an operator is noticed after {:.1?} to {:.1?}", took[0], took[5]));
    // Each command follows a look at once, so without a hint each of them waits for the next look. A busy machine may be
    // slow now and then, but not always.
    assert!(took[0] < LOOK, "{took:?}");
    assert!(group.server.log().contains("LISTEN"));
}

#[test]
fn notifications_come_again_after_the_connections_were_ended() {
    let Some(mut group) = Group::new() else { return };
    group.server.log_statements();
    let active = start_working(&mut group);
    let listens = || group.server.log().matches("LISTEN \"joltsms_relay\"").count();
    wait_until("a session that listens", || listens() >= 1, || group.server.log());
    let before = listens();
    group
        .server
        .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'joltsms-relay'");
    wait_until("another session that listens", || listens() > before, || group.server.log());
    assert_eq!(command(&group, 7, &["sinks", "pause", "crm"]).0, 0);
    group.relay(active).wait_for_log(PAUSED);
}

#[test]
fn a_message_that_arrives_is_shown_by_wait_on_another_machine() {
    let Some(mut group) = Group::new() else { return };
    group.start();
    group.wait_for_active();
    let mut waiting = group.setup(7).args(&["wait", "--timeout", "60s", "--since", "1h"]).start();
    let id = group.scene.add();
    assert_eq!(waiting.ids(1), [id]);
    assert!(waiting.wait().success());
}

#[test]
fn a_command_that_waits_goes_on_after_a_crash_of_the_database() {
    let Some(mut group) = Group::new() else { return };
    group.start();
    group.wait_for_active();
    let mut waiting = group.setup(7).args(&["wait", "--timeout", "60s"]).start();
    let showing = group.setup(8).args(&["tail"]).start();
    waiting.wait_for_log("waiting for a message (reading the relay's state)");
    group.server.crash();
    showing.wait_for_log("waiting for the state: the database of the state cannot be reached: ");
    group.server.start_again();
    let id = group.scene.add();
    assert_eq!(waiting.ids(1), [id]);
    assert!(waiting.wait().success());
}

/// Commands that need an existing state.
const NEED_A_STATE: [&[&str]; 9] = [
    &["status"],
    &["sinks", "list"],
    &["sinks", "pause", "crm"],
    &["dead-letters", "list"],
    &["dead-letters", "retry", "--all"],
    &["replay", "--failed"],
    &["trace", "msg_1"],
    &["verify", "--since", "1h"],
    &["state", "copy", "--to", "elsewhere"],
];

#[test]
fn commands_before_the_first_start_say_that_there_is_no_state() {
    let Some(group) = Group::new() else { return };
    let absent = "there is no state in the schema joltsms_relay of the database: no relay has run on it yet";
    for arguments in NEED_A_STATE {
        let (exit, _, log) = command(&group, 7, arguments);
        assert!(exit == 1 && log.contains(absent), "{arguments:?} {exit} {log}");
    }
    // The state directory of this machine is missing at first, and the command `wait` makes it.
    for _ in 0..2 {
        let (exit, said, log) = command(&group, 7, &["check", "--online"]);
        assert_eq!(exit, 0, "{said}{log}");
        assert!(said.contains("the schema joltsms_relay of the database is not there yet"), "{said}");
        assert!(said.contains("the API accepts the key"), "{said}");
        let (exit, _, log) = command(&group, 7, &["wait", "--timeout", "1s"]);
        assert!(exit == 124 && log.contains(absent), "{exit} {log}");
    }
    let waiting = group.setup(7).args(&["tail"]).start();
    waiting.wait_for_log(&format!("waiting for the state: {absent}"));
    let schemas = group.server.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'joltsms_relay'");
    assert_eq!(schemas, ["0"], "no command makes the schema");
}

#[test]
fn a_database_that_is_away_is_said_and_waited_for() {
    let Some(mut group) = Group::new() else { return };
    group.server.crash();
    let away = "the database of the state cannot be reached: ";
    for arguments in NEED_A_STATE.into_iter().chain([&["once"][..]]) {
        let (exit, _, log) = command(&group, 7, arguments);
        assert!(exit == 75 && log.contains(away), "{arguments:?} {exit} {log}");
    }
    let (exit, _, log) = command(&group, 7, &["wait", "--timeout", "1s"]);
    assert!(exit == 124 && log.contains(away), "{exit} {log}");
    let (exit, said, log) = command(&group, 7, &["check", "--online"]);
    assert_eq!(exit, 1, "{said}{log}");
    assert!(said.contains("start the database server, or correct state.url"), "{said}");
    assert!(said.contains("the API accepts the key"), "{said}");
    let number = group.start();
    group.relay(number).wait_for_log("cannot join the others that share its state");
    group.server.start_again();
    group.scene.add();
    group.wait_for_all();
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    let Some(mut group) = Group::new() else { return };
    group.start();
    let active = group.wait_for_active();
    assert!(group.relay(active).stop().success());
    group.relays.clear();
    group.server.query("UPDATE joltsms_relay.format SET version = 99");
    for arguments in [&["run"][..], &["once"], &["status"]] {
        let (exit, _, log) = command(&group, 7, arguments);
        assert_eq!(exit, 65, "{arguments:?}: {log}");
        assert!(log.contains("was written by a newer joltsms-relay"), "{log}");
    }
}

#[test]
fn the_address_of_a_database_is_checked() {
    let scene = Scene::new();
    let refused = |setup: Setup| {
        let (exit, _, log) = setup.args(&["check"]).output();
        assert_eq!(exit, 78, "{log}");
        log
    };
    let log = refused(scene.setup().set("STATE__URL", "postgresql://me:hunter2@db.example/relay?sslmode=no"));
    assert!(!log.contains("hunter2"), "{log}");
    if cfg!(feature = "replicas") {
        assert!(log.contains("`state.url`") && log.contains("is no address of a PostgreSQL database"), "{log}");
        let log = refused(scene.setup().set("STATE__URL", "host=/tmp").set("STATE__NAMESPACE", "Not a name"));
        assert!(log.contains("is not a name for a schema"), "{log}");
    } else {
        assert!(log.contains("`state.url` needs a build with the feature `replicas`"), "{log}");
    }
}
