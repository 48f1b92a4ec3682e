//! Tests of sinks of type `file`: names with dates, logrotate, torn lines, permissions, and disks that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};

use crate::support::machine::system_calls::Faults;
use crate::support::relay::Relay;
use crate::support::relay::process::id_of;
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::waiting::wait_until;

/// Prepares a relay whose only sink is this file.
fn relay_to(scene: &Scene, path: &str) -> Setup {
    scene.setup_from_beginning().set("SINKS__LOG__TYPE", "file").set("SINKS__LOG__PATH", path)
}

fn wait_until_delivered(scene: &Scene, count: i64, relay: &Relay) {
    let is_open = |log: &str| log.contains("first run on this state") || log.contains("resuming where the state left");
    wait_until("the state", || is_open(&relay.log()), || relay.log());
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    wait_until("the deliveries", || delivered() == count, || relay.log());
}

fn ids_of(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(id_of).collect()
}

/// The only file in this directory.
fn only_file(dir: &Path) -> PathBuf {
    let found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = found.as_slice() else { panic!("{found:?}") };
    file.clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn messages_become_lines_of_a_private_file_with_the_date_in_its_name() {
    let scene = Scene::new();
    scene.add_past(20);
    let pattern = scene.dir().join("sms/%Y/of-%m.jsonl");
    let mut relay = relay_to(&scene, pattern.to_str().unwrap()).start();
    wait_until_delivered(&scene, 20, &relay);
    let year = only_file(&scene.dir().join("sms"));
    let file = only_file(&year);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(year.ends_with(year.file_name().unwrap()) && name.starts_with("of-") && name.len() == "of-11.jsonl".len());
    let written = fs::read_to_string(&file).unwrap();
    let expected: Vec<String> = scene.handle().rows().into_iter().rev().map(|row| row.json).collect();
    assert_eq!(written.lines().collect::<Vec<_>>(), expected);
    assert_eq!((mode(&scene.dir().join("sms")), mode(&year), mode(&file)), (0o700, 0o700, 0o600));
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_file_that_logrotate_renames_or_cuts_gets_its_next_lines_at_the_right_place() {
    let scene = Scene::new();
    let (path, rotated) = (scene.dir().join("sms.jsonl"), scene.dir().join("sms.jsonl.1"));
    let mut relay = relay_to(&scene, path.to_str().unwrap()).set("SINKS__LOG__MODE", "0640").start();
    let ids = [scene.add(), scene.add()];
    wait_until_delivered(&scene, 2, &relay);
    fs::rename(&path, &rotated).unwrap();
    let renamed = scene.add();
    wait_until_delivered(&scene, 3, &relay);
    assert_eq!((ids_of(&rotated), ids_of(&path)), (ids.to_vec(), vec![renamed]));
    assert_eq!(mode(&path), 0o640);
    // logrotate's `copytruncate`.
    fs::copy(&path, &rotated).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let cut = scene.add();
    wait_until_delivered(&scene, 4, &relay);
    assert_eq!(ids_of(&path), [cut], "no hole");
    fs::remove_file(&path).unwrap();
    let removed = scene.add();
    wait_until_delivered(&scene, 5, &relay);
    assert_eq!(ids_of(&path), [removed]);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_line_that_was_torn_by_a_death_gets_an_end() {
    const TORN: &str = r#"{"id":"torn","body":"your co"#;
    let scene = Scene::new();
    scene.add_past(2);
    let path = scene.dir().join("sms.jsonl");
    fs::write(&path, format!("{{\"id\":\"whole\"}}\n{TORN}")).unwrap();
    let mut setup = relay_to(&scene, path.to_str().unwrap());
    let mut relay = setup.start();
    wait_until_delivered(&scene, 2, &relay);
    assert!(relay.log().contains("the file of a sink ends in the middle of a line"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["{\"id\":\"whole\"}", TORN]);
    assert_eq!(lines[2..].iter().map(|line| id_of(line)).collect::<Vec<_>>(), scene.ids());
    let id = scene.add();
    let mut relay = setup.start();
    wait_until_delivered(&scene, 3, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    assert!(!relay.log().contains("in the middle of a line"), "{}", relay.log());
    assert!(fs::read_to_string(&path).unwrap().lines().last().is_some_and(|line| id_of(line) == id));
}

#[test]
fn nothing_is_delivered_before_it_is_on_the_disk() {
    let scene = Scene::new();
    let path = scene.dir().join("sms.jsonl");
    fs::write(&path, "").unwrap();
    let mut relay = relay_to(&scene, path.to_str().unwrap()).set("SINKS__LOG__RETRY__INITIAL", "100ms").start();
    relay.wait_for_log("relaying messages");
    let Some(faults) = Faults::begin(&relay, "fdatasync", std::slice::from_ref(&path), "EIO") else { return };
    let id = scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"log\" reason=\"cannot flush the file"));
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'"), 0);
    faults.end();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 1, &relay);
    assert!(ids_of(&path).iter().all(|written| *written == id), "only repeats of the message");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_place_that_cannot_be_written_is_tried_again_and_said_in_words() {
    let scene = Scene::new();
    let blocked = scene.dir().join("blocked");
    fs::write(&blocked, "").unwrap();
    let path = blocked.join("sms.jsonl");
    let mut relay = relay_to(&scene, path.to_str().unwrap()).set("SINKS__LOG__RETRY__INITIAL", "100ms").start();
    let id = scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"log\" reason=\"cannot open the file: Not a directory"));
    fs::remove_file(&blocked).unwrap();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    assert_eq!(ids_of(&path), [id]);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn check_shows_the_file_and_refuses_names_and_permissions_that_make_no_sense() {
    let scene = Scene::new();
    let check = |path: &str, mode: &str| relay_to(&scene, path).set("SINKS__LOG__MODE", mode).args(&["check"]).output();
    let (code, said, log) = check("/var/sms/%Y.jsonl", "0640");
    assert_eq!(code, 0, "{log}");
    assert!(said.contains("log: file /var/sms/%Y.jsonl"), "{said}");
    for (path, mode, wrong) in [
        ("/var/sms/%!", "0600", "`sinks.log.path` holds a `%` that begins no date"),
        ("/var/sms", "rw", "`sinks.log.mode` = \"rw\" is no permissions"),
        ("/var/sms", "0044", "`sinks.log.mode` = \"0044\" takes the relay's own permissions away"),
    ] {
        let (code, _, log) = check(path, mode);
        assert!(code == 78 && log.contains(wrong), "{code} {log}");
    }
    let (code, _, log) = scene.setup().set("SINKS__LOG__TYPE", "file").args(&["check"]).output();
    assert!(code == 78 && log.contains("`sinks.log.path` is missing: a file sink needs it"), "{code} {log}");
}
