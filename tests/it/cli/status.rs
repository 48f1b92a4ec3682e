//! Tests of `status`, beside a running relay and without a relay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use joltsms_simulator::{Effect, Rule};
use serde_json::Value;

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Runs a command as an operator types it, without a key or a sink in its configuration. Returns exit code, stdout,
/// stderr.
fn command(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    Setup::bare(scene.dir()).args(&["status"]).args(arguments).output()
}

fn text(scene: &Scene) -> String {
    let (code, text, log) = command(scene, &[]);
    assert_eq!((code, log.as_str()), (0, ""));
    text
}

fn json(scene: &Scene) -> Value {
    let (code, text, log) = command(scene, &["--json"]);
    assert_eq!((code, log.as_str()), (0, ""));
    serde_json::from_str(&text).unwrap()
}

fn check(scene: &Scene) -> (i32, String) {
    let (code, text, log) = command(scene, &["--check"]);
    assert_eq!(log, "");
    (code, text)
}

/// Waits until the relay has written a status that fulfils the condition. Returns that status.
fn wait_for(scene: &Scene, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    wait_until(
        what,
        || {
            let (code, text, _) = command(scene, &["--json"]);
            found = serde_json::from_str(&text).unwrap_or_default();
            code == 0 && is_so(&found)
        },
        || text(scene),
    );
    found
}

/// Runs a relay on a scene, and checks the answer of `status`.
type Case = fn(&Scene);

/// Returns every file of the state with its content.
fn files(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(scene.dir().join("state")).unwrap();
    let read = |path: &Path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
    entries.map(|entry| read(&entry.unwrap().path())).collect()
}

#[test]
fn a_relay_that_is_well() {
    let scene = Scene::new();
    scene.add_past(25);
    let receiver = Receiver::in_background();
    let mut setup = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__OUT__TYPE", "stdout");
    let relay = setup.start();
    relay.ids(25);
    receiver.wait(25, &relay);
    let settled = |status: &Value| {
        status["polling"]["condition"] == "polling"
            && status["coverage"]["walks"].as_array().is_some_and(Vec::is_empty)
            && status["sinks"][0]["waiting"] == 0
    };
    let status = wait_for(&scene, "a relay that rests", settled);
    assert_eq!(check(&scene), (0, "healthy".to_owned()));
    assert_eq!((&status["healthy"], &status["problems"]), (&true.into(), &Value::Array(Vec::new())));
    assert_eq!((&status["relay"]["running"], &status["relay"]["pid"]), (&true.into(), &relay.id().into()));
    let newest = scene.handle().rows()[0].received_at.as_millisecond();
    let frontier: jiff::Timestamp = status["coverage"]["frontier"].as_str().unwrap().parse().unwrap();
    assert_eq!(frontier.as_millisecond(), newest);
    assert_eq!((&status["coverage"]["start"], &status["budget"]["limit"]), (&"beginning".into(), &10_000.into()));
    let used = status["budget"]["used"].as_u64().unwrap();
    assert!(used >= 3 && used <= scene.handle().counters().requests + 1, "{used}");
    assert!(status["polling"]["last_poll_age_seconds"].as_f64().unwrap() < 10.0, "{status}");
    assert!(status["coverage"]["last_sweep_age_seconds"].as_f64().unwrap() < 30.0, "{status}");
    assert!(status["state"]["bytes"].as_u64().unwrap() > 10_000, "{status}");
    assert_eq!((&status["sinks"][0]["name"], &status["sinks"][0]["in_flight"]), (&"crm".into(), &0.into()));
    let said = text(&scene);
    for line in
        ["relay    running for ", "polling  every 0.1 s, last answered ", "read     newest message ", "budget   "]
    {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line} in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours and no cursor");
    ends_with_nothing_more(relay);
}

/// The silence also holds for the next relay, so `status` shows the silence although no relay runs.
#[test]
fn a_silence_of_the_api_is_shown_also_without_a_relay() {
    let scene = Scene::new();
    let mut relay = scene.setup_from_beginning().set("SINKS__OUT__TYPE", "stdout").start();
    scene.wait_for_polls(2);
    let reset = Effect::Header { name: "x-ratelimit-reset".to_owned(), value: Some("600".to_owned()) };
    let mut rule = Rule::once(Effect::status(429));
    rule.effects.push(reset);
    scene.handle().add_fault(rule);
    let limited = |status: &Value| status["polling"]["condition"] == "limited";
    let status = wait_for(&scene, "the silence", limited);
    let until = status["polling"]["why"].as_str().unwrap().strip_prefix("rate limited until ").unwrap();
    assert!(relay.stop().success());
    let said = text(&scene);
    assert!(said.contains("ago; the API wants silence") && said.contains(until), "{said}");
}

#[test]
fn a_relay_that_was_stopped_and_one_that_was_killed() {
    let scene = Scene::new();
    scene.add_past(3);
    let mut setup = scene.setup_from_beginning();
    let mut relay = setup.start();
    relay.ids(3);
    wait_for(&scene, "the first page", |status| status["polling"]["last_poll_at"].is_string());
    assert!(relay.stop().success());
    let before = files(&scene);
    let status = json(&scene);
    assert_eq!((&status["relay"]["running"], &status["relay"]["pid"]), (&false.into(), &Value::Null));
    assert!(status["relay"]["stopped_at"].is_string() && status["polling"]["last_poll_at"].is_string(), "{status}");
    assert!(text(&scene).starts_with("relay    not running; it was stopped "), "{}", text(&scene));
    assert_eq!(check(&scene), (1, "unhealthy: no relay runs on this state".to_owned()));
    assert!(files(&scene) == before, "looking changes nothing and leaves nothing behind");
    let mut relay = setup.start();
    wait_for(&scene, "the next relay", |status| status["relay"]["running"] == true && status["healthy"] == true);
    relay.kill();
    let said = text(&scene);
    assert!(said.starts_with("relay    not running; it was last heard of ") && said.contains("did not end"), "{said}");
    assert_eq!(check(&scene).0, 1);
    let relay = setup.start();
    wait_for(&scene, "a relay again", |status| status["healthy"] == true);
    ends_with_nothing_more(relay);
}

/// Ends the threads of a test when it is dropped, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn whoever_looks_does_not_keep_a_relay_from_starting() {
    let scene = Scene::new();
    let mut setup = scene.setup();
    let mut relay = setup.start();
    wait_for(&scene, "the first page", |status| status["polling"]["last_poll_at"].is_string());
    assert!(relay.stop().success());
    let looking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while looking.load(Ordering::Relaxed) {
                assert_eq!(command(&scene, &[]).0, 0);
            }
        });
        let _until_here = Ends(&looking);
        for _ in 0..5 {
            let mut relay = setup.start();
            relay.wait_for_log("resuming where the state left off");
            assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
        }
    });
}

#[test]
fn what_is_wrong_is_named() {
    let cases: [(&str, Case); 3] = [
        ("no key", |scene| {
            let relay = scene.setup().start();
            wait_for(scene, "a healthy relay", |status| status["healthy"] == true);
            scene.handle().revoke_key("start");
            wait_for(scene, "the refusal", |status| status["polling"]["condition"] == "no_key");
            assert_eq!(check(scene), (1, "unhealthy: no API key is accepted: 401 UNAUTHORIZED".to_owned()));
            let said = text(scene);
            assert!(said.contains(": 401 UNAUTHORIZED") && said.contains("problem  no API key is accepted"), "{said}");
            ends_with_nothing_more(relay);
        }),
        ("the API fails", |scene| {
            let relay = scene.setup().start();
            wait_for(scene, "a healthy relay", |status| status["healthy"] == true);
            scene.handle().add_fault(Rule::always(Effect::html(502)));
            let status = wait_for(scene, "the failure", |status| status["polling"]["condition"] == "failing");
            assert_eq!(status["polling"]["why"], "502 from the API");
            assert_eq!(check(scene).0, 0, "a minute of it is no illness");
            assert!(text(scene).contains(": 502 from the API"), "{}", text(scene));
            scene.handle().clear_faults();
            ends_with_nothing_more(relay);
        }),
        ("a receiver is gone", |scene| {
            let receiver = Receiver::in_background();
            receiver.answer_with(410);
            let relay = scene.setup_from_beginning().sink(&receiver.url()).start();
            scene.add();
            let status = wait_for(scene, "the pause", |status| status["sinks"][0]["paused"] == "gone");
            assert_eq!((&status["sinks"][0]["waiting"], &status["sinks"][0]["retrying"]), (&1.into(), &1.into()));
            assert_eq!(check(scene), (1, "unhealthy: crm is paused: its receiver is gone".to_owned()));
            assert_eq!(Setup::bare(scene.dir()).args(&["sinks", "pause", "crm"]).output().0, 0);
            assert_eq!(check(scene).0, 0, "somebody has seen to it");
            ends_with_nothing_more(relay);
        }),
    ];
    side_by_side(&cases, |case| {
        // The API refuses the key as soon as it is revoked.
        let scene = Scene::with(|switches| switches.key_cache = Duration::ZERO);
        case(&scene);
    });
}

#[test]
fn a_receiver_that_fails_is_shown() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let setup = scene.setup_from_beginning().sink(&receiver.url());
    let relay = { setup }.set("SINKS__CRM__RETRY__INITIAL", "100ms").start();
    for _ in 0..12 {
        scene.add();
    }
    let status = wait_for(&scene, "the breaker", |status| status["sinks"][0]["held"] == "probing");
    assert!(status["sinks"][0]["failing_since"].is_string(), "{status}");
    assert_eq!(check(&scene).0, 0, "not for long");
    assert!(text(&scene).contains("failing for "), "{}", text(&scene));
    assert!(text(&scene).contains(" (500 Internal Server Error)"), "{}", text(&scene));
    assert_eq!(
        (&status["sinks"][0]["last_failure"], &status["sinks"][0]["delivered"]),
        (&"500 Internal Server Error".into(), &0.into())
    );
    receiver.answer_with(200);
    wait_for(&scene, "the end of it", |status| {
        status["sinks"][0]["failing_since"].is_null() && status["sinks"][0]["waiting"] == 0
    });
    let status = wait_for(&scene, "the count", |status| status["sinks"][0]["delivered"] == 12);
    assert!(status["sinks"][0]["last_failure"].is_null() && status["sinks"][0]["last_delivered_at"].is_string());
    assert!(text(&scene).contains("12 delivered since the start, the last one "), "{}", text(&scene));
    ends_with_nothing_more(relay);
}

#[test]
fn whether_the_last_once_was_fine_can_be_checked() {
    let scene = Scene::new();
    scene.add_past(3);
    let within = |limit: &str| {
        let (code, line, _) = command(&scene, &["--check", "--once-within", limit]);
        (code, line.trim_end().to_owned())
    };
    assert_eq!(within("1h").0, 1, "there is no state");
    let (code, _, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!(code, 0, "{log}");
    assert_eq!(within("1h"), (0, "healthy".to_owned()));
    let (code, line) = check(&scene);
    let hint = "(--once-within counts that as healthy)";
    assert!(code == 1 && line.starts_with("unhealthy: no relay runs on this state; `once` caught up "), "{line}");
    assert!(line.ends_with(hint), "{line}");
    assert!(text(&scene).starts_with("relay    not running; `once` caught up "), "{}", text(&scene));
    scene.handle().add_fault(Rule::always(Effect::html(502)));
    let (code, _, log) = scene.setup().args(&["once"]).output();
    assert_eq!(code, 75, "{log}");
    let said = "unhealthy: no relay runs on this state, and the last `once` did not catch up: 502 from the API";
    assert_eq!(within("1h"), (1, said.to_owned()));
    assert!(text(&scene).contains("`once` ended ") && text(&scene).contains(": 502 from the API"), "{}", text(&scene));
    assert_eq!(command(&scene, &["--check", "--once-within", "soon"]).0, 2);
}

#[test]
fn after_a_damaged_message_was_found_the_status_is_that_of_a_damaged_state() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let setup = || scene.setup_from_beginning().sink(&receiver.url());
    let (code, _, log) = setup().args(&["once"]).output();
    assert_eq!(code, 75, "{log}");
    let state = rusqlite::Connection::open(scene.dir().join("state/state.db")).unwrap();
    let changed = state.execute("UPDATE message SET raw = raw || ' '", []).unwrap();
    let due = state.execute("UPDATE delivery SET due = 0", []).unwrap();
    assert_eq!((changed, due), (3, 3));
    drop(state);
    assert_eq!(command(&scene, &[]).0, 0, "texts are not read");
    let (code, _, log) = setup().args(&["once"]).output();
    assert_eq!(code, 65, "{log}");
    for arguments in [&[][..], &["--json"]] {
        let (code, said, _) = command(&scene, arguments);
        // A long line is broken between words.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            code == 65 && said.contains("the last one ended because ") && said.contains("damaged"),
            "{code} {said}"
        );
    }
    let (code, line) = check(&scene);
    assert!(code == 1 && line.contains("is damaged: "), "{code} {line}");
}

#[test]
fn what_stands_in_the_place_of_the_report_is_said() {
    let scene = Scene::new();
    let place = scene.dir().join("state/relay.status");
    fs::create_dir_all(place.join("something")).unwrap();
    fs::set_permissions(scene.dir().join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut relay = scene.setup().start();
    scene.wait_for_polls(2);
    let (code, line) = check(&scene);
    let said = format!(
        "unhealthy: the relay cannot write its status, because {} is a directory: move it away",
        place.display()
    );
    assert!(code == 1 && line.starts_with(&said), "{line}");
    assert!(text(&scene).contains("problem  the relay cannot write its status"), "{}", text(&scene));
    assert!(relay.stop().success());
    // An empty directory is replaced.
    fs::remove_dir(place.join("something")).unwrap();
    let relay = scene.setup().start();
    wait_for(&scene, "a healthy relay", |status| status["healthy"] == true);
    relay.wait_for_log("something in the place of relay.status that was no file was removed");
    ends_with_nothing_more(relay);
}

#[test]
fn a_catch_up_and_how_much_is_left_of_it() {
    let scene = Scene::new();
    scene.add_past(600);
    let slow = scene.handle().add_fault(Rule::always(Effect::Latency(Duration::from_millis(150))).cursor(true));
    let relay = scene.setup_from_beginning().start();
    let walks = |status: &Value| status["coverage"]["walks"].clone();
    let status = wait_for(&scene, "the estimate", |status| {
        walks(status)[0]["pages_left"].is_u64() && walks(status)[0]["held_messages"].as_u64() >= Some(50)
    });
    let walk = &walks(&status)[0];
    let (held, left) = (walk["held_messages"].as_i64().unwrap(), walk["pages_left"].as_i64().unwrap());
    assert!((left - (600 - held) / 10).abs() <= 3, "{held} of 600 are read, {left} pages are left: {walk}");
    assert_eq!((&walk["kind"], &walk["down_to"], &walk["streaming"]), (&"gap".into(), &Value::Null, &false.into()));
    let said = text(&scene);
    assert!(said.contains("reading  missed messages, back to ") && said.contains(" wait until all are read"), "{said}");
    scene.handle().remove_fault(slow);
    relay.ids(600);
    wait_for(&scene, "its end", |status| walks(status).as_array().is_some_and(Vec::is_empty));
    ends_with_nothing_more(relay);
}

#[test]
fn a_long_catch_up_is_told_in_the_log() {
    let scene = Scene::new();
    scene.add_past(900);
    let slow = scene.handle().add_fault(Rule::always(Effect::Latency(Duration::from_millis(250))).cursor(true));
    let relay = scene.setup_from_beginning().start();
    relay.wait_for_log("INFO reading older messages messages_read=");
    let log = relay.log();
    let line = log.lines().find(|line| line.contains("reading older messages")).unwrap();
    for field in ["pages_left=", "pages_per_minute=", "left_s=", "back_to="] {
        assert!(line.contains(field), "{field} in {line}");
    }
    scene.handle().remove_fault(slow);
    relay.ids(900);
    relay.wait_for_log("INFO older messages were read to the end messages=");
    ends_with_nothing_more(relay);
}

#[test]
fn the_watch_goes_on_until_nobody_looks_any_more() {
    let scene = Scene::new();
    let relay = scene.setup().start();
    wait_for(&scene, "a healthy relay", |status| status["healthy"] == true);
    let watch = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_joltsms-relay"));
        command.env_clear().env("HOME", scene.dir()).env("JOLTSMS_RELAY_STATE__DIR", scene.dir().join("state"));
        command.args(["status", "--watch"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut json = watch(&["--json"]);
    let lines = BufReader::new(json.stdout.take().unwrap()).lines();
    let seen: Vec<Value> = lines.take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(seen[0]["relay"]["last_heard_at"].as_str() < seen[1]["relay"]["last_heard_at"].as_str(), "{seen:?}");
    assert_eq!(json.wait().unwrap().code(), Some(0), "its reader is gone");
    let mut text = watch(&[]);
    let lines = BufReader::new(text.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.filter(|line| line.starts_with("relay    running for ")).take(2).count(), 2);
    assert_eq!(text.wait().unwrap().code(), Some(0));
    ends_with_nothing_more(relay);
}

#[test]
fn a_state_that_cannot_be_shown_is_said() {
    let used = |scene: &Scene| {
        let mut relay = scene.setup().start();
        wait_for(scene, "the state", |status| status["healthy"] == true);
        assert!(relay.stop().success());
    };
    let cases: [(&str, (Case, i32, &str)); 5] = [
        ("none", (|_| {}, 1, "there is no state in ")),
        (
            "an empty directory",
            (|scene| fs::create_dir(scene.dir().join("state")).unwrap(), 1, "no relay has run on it yet"),
        ),
        (
            "torn",
            (|scene| fs::write(scene.dir().join("state/state.db"), "SQLite").unwrap(), 65, "state.db is damaged: "),
        ),
        (
            "of a newer version",
            (
                |scene| {
                    let file = scene.dir().join("state/state.db");
                    rusqlite::Connection::open(file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
                },
                65,
                "state.db was written by a newer joltsms-relay",
            ),
        ),
        (
            "of an older version",
            (
                |scene| {
                    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-1.db");
                    fs::copy(fixture, scene.dir().join("state/state.db")).map(drop).unwrap();
                },
                1,
                "has the state format 1 of an older version; the next start of the relay brings it to format 3",
            ),
        ),
    ];
    side_by_side(&cases, |(prepare, expected, said)| {
        let scene = Scene::new();
        if !said.starts_with("there is no") && !said.starts_with("no relay") {
            used(&scene);
        }
        prepare(&scene);
        let is_there = scene.dir().join("state").exists();
        let before = is_there.then(|| files(&scene));
        for arguments in [&[][..], &["--json"]] {
            let (code, stdout, log) = command(&scene, arguments);
            assert_eq!((code, stdout.as_str()), (*expected, ""), "{log}");
            assert!(log.contains(said), "{log}");
        }
        let (code, line) = check(&scene);
        assert!(code == 1 && line.starts_with("unhealthy: ") && line.contains(said), "{code} {line}");
        assert!(is_there.then(|| files(&scene)) == before, "it was left as it is");
    });
}

/// Collects every field below a value, under the names of docs/status.md.
pub(crate) fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fields(value, &path, into);
                let is_section = value.is_object() && path != "coverage";
                if !is_section {
                    into.insert(path);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, &format!("{path}[]"), into)),
        _ => {}
    }
}

/// Returns the fields that a section of docs/status.md lists.
pub(crate) fn documented(section: &str) -> BTreeSet<String> {
    let (_, table) = include_str!("../../../docs/status.md").split_once(section).unwrap();
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(field, _)| field.to_owned()).collect()
}

#[test]
fn every_field_is_documented_and_there() {
    let scene = Scene::new();
    scene.add_past(300);
    scene.handle().add_fault(Rule::always(Effect::Latency(Duration::from_millis(300))).cursor(true));
    let relay = scene.setup_from_beginning().start();
    let status = wait_for(&scene, "a walk", |status| {
        status["coverage"]["walks"].as_array().is_some_and(|walks| !walks.is_empty())
    });
    let mut found = BTreeSet::new();
    fields(&status, "", &mut found);
    let mut documented = documented("## `status --json`");
    // A state in a directory has no replicas: `replicas::operation` compares their fields.
    documented.retain(|field| !field.starts_with("replicas."));
    assert_eq!(found, documented, "what there is (left), what docs/status.md has (right)");
    drop(relay);
}
