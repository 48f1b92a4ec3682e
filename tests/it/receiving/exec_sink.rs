//! Tests of sinks of type `exec`, with real programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;

use crate::support::relay::Relay;
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::waiting::{wait_for_value, wait_until};

/// Writes a program for /bin/sh. The directory of the test is `$DIR` there.
fn program(scene: &Scene, script: &str) -> PathBuf {
    let path = scene.dir().join("on-sms");
    fs::write(&path, format!("#!/bin/sh\nDIR='{}'\n{script}\n", scene.dir().display())).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// Prepares a relay whose only sink is this program. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, program: &Path, keys: &str) -> Setup {
    let text =
        format!("[sinks.run]\ntype = \"exec\"\ncommand = [\"{}\", \"an argument\"]\n{keys}\n", program.display());
    let config = scene.file(&text);
    scene.setup_from_beginning().env("PATH", "/usr/bin:/bin").args(&["--config", &config])
}

fn wait_until_delivered(scene: &Scene, count: i64, relay: &Relay) {
    let is_open = |log: &str| log.contains("first run on this state") || log.contains("resuming where the state left");
    wait_until("the state", || is_open(&relay.log()), || relay.log());
    let delivered = || scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
    wait_until("the deliveries", || delivered() == count, || relay.log());
}

/// Whether a process with this id exists and is no zombie.
fn is_alive(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_program_gets_the_payload_and_the_variables_of_the_message_and_no_secret() {
    let scene = Scene::new();
    let script = "cat > \"$DIR/body\"; env > \"$DIR/env\"; echo \"$1\" > \"$DIR/argument\"; touch \"$DIR/done\"";
    let program = program(&scene, script);
    let mut setup = relay_to(&scene, &program, "env = { TEAM = \"ops; rm\", TOKEN = { env = \"CRM_TOKEN\" } }")
        .env("CRM_TOKEN", "hunter2");
    let message = NewMessage::new().from("+1650$(touch x)").body("Your code is 123456");
    let id = scene.handle().add(message);
    let mut relay = setup.start();
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    let read = |name: &str| fs::read_to_string(scene.dir().join(name)).unwrap();
    let row = scene.handle().row(&id).unwrap().json;
    assert_eq!((read("body"), read("argument")), (row.clone(), "an argument\n".to_owned()));
    let message: serde_json::Value = serde_json::from_str(&row).unwrap();
    let env = read("env");
    for (name, value) in [
        ("JOLTSMS_MESSAGE_ID", id.as_str()),
        ("JOLTSMS_MESSAGE_FROM", "+1650$(touch x)"),
        ("JOLTSMS_MESSAGE_TO", message["to"].as_str().unwrap_or_default()),
        ("JOLTSMS_MESSAGE_CODE", message["parsedCode"].as_str().unwrap_or_default()),
        ("TEAM", "ops; rm"),
        ("TOKEN", "hunter2"),
        ("PATH", "/usr/bin:/bin"),
    ] {
        assert!(env.lines().any(|line| line == format!("{name}={value}")), "{name}={value}\n{env}");
    }
    assert!(!env.contains("JOLTSMS_API") && !env.contains("CRM_TOKEN="), "{env}");
    assert!(!relay.log().contains("hunter2"), "{}", relay.log());
}

#[test]
fn exit_statuses_decide() {
    let scene = Scene::new();
    // The first run of each message fails temporarily; the second message is rejected then.
    let script = "cat > /dev/null
        count=$(cat \"$DIR/count\" 2>/dev/null || echo 0); echo $((count + 1)) > \"$DIR/count\"
        case $count in 0) echo 'secret words' >&2; exit 75;; 1) exit 0;; 2) exit 66;; *) kill -9 $$;; esac";
    let program = program(&scene, script);
    let keys = "reject_exit = [65, 66]\nretry = { initial = \"100ms\" }";
    let mut relay = relay_to(&scene, &program, keys).start();
    scene.add();
    relay
        .wait_for_log(&format!("{SINK_FAILS} sink.name=\"run\" reason=\"exit status 75, 13 bytes on standard error\""));
    relay.wait_for_log(SINK_WORKS_AGAIN);
    let rejected = scene.add();
    relay.wait_for_log(MESSAGE_IS_DEAD);
    assert!(relay.log().contains(&rejected) && relay.log().contains("answer=\"exit status 66\""), "{}", relay.log());
    scene.add();
    let killed = || scene.count("SELECT count(*) FROM delivery WHERE answer = 'killed by signal 9'") == 1;
    wait_until("the killed program", killed, || relay.log());
    assert!(!relay.log().contains("secret words"), "{}", relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let scene = Scene::new();
    let script = "sleep 1000 & echo $! > \"$DIR/child\"; echo $$ > \"$DIR/parent\"; wait";
    let program = program(&scene, script);
    let mut relay = relay_to(&scene, &program, "timeout = \"1s\"\nretry = { initial = \"100ms\" }").start();
    scene.add();
    relay.wait_for_log("reason=\"no end within 1s: the program and its process group were killed\"");
    // On a busy machine a program may be killed before it has written anything, and is started again.
    let id_in = |name: &str| {
        let written = || fs::read_to_string(scene.dir().join(name)).ok().filter(|id| id.ends_with('\n'));
        wait_for_value("the id of a process", written, || relay.log())
    };
    for name in ["child", "parent"] {
        let id = id_in(name);
        wait_until("the end of the group", || !is_alive(&id), || relay.log());
    }
    let parent = id_in("parent");
    let is_reaped = || !Path::new("/proc").join(parent.trim()).exists();
    wait_until("no zombie", is_reaped, || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn no_more_programs_run_at_once_than_configured() {
    let scene = Scene::new();
    scene.add_past(30);
    // A directory for each running program; the number of directories is what runs at once.
    let script = "cat > /dev/null; mkdir \"$DIR/running.$$\"; ls -d \"$DIR\"/running.* | wc -l >> \"$DIR/counts\"
        sleep 0.05; rmdir \"$DIR/running.$$\"";
    let program = program(&scene, script);
    let mut relay = relay_to(&scene, &program, "concurrency = 3").start();
    wait_until_delivered(&scene, 30, &relay);
    let counts = fs::read_to_string(scene.dir().join("counts")).unwrap();
    let counts: Vec<usize> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 30);
    assert!(counts.iter().all(|count| (1..=3).contains(count)), "{counts:?}");
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn what_a_program_writes_or_leaves_unread_or_leaves_behind_does_no_harm() {
    let scene = Scene::new();
    scene.add_past(3);
    // Nothing is read; megabytes are written; a process that is left behind keeps the output open.
    let script = "exec 0<&-; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2
        sleep 20 & echo $! >> \"$DIR/left\"";
    let program = program(&scene, script);
    let mut relay = relay_to(&scene, &program, "").start();
    wait_until_delivered(&scene, 3, &relay);
    for id in fs::read_to_string(scene.dir().join("left")).unwrap().lines() {
        assert!(is_alive(id), "a process that was left behind is left alone");
        drop(std::process::Command::new("kill").arg(id).status());
    }
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_stop_kills_programs_that_go_on_and_keeps_their_messages() {
    let scene = Scene::new();
    let program = program(&scene, "echo $$ > \"$DIR/id\"; exec sleep 1000");
    let mut relay = relay_to(&scene, &program, "timeout = \"10m\"").start();
    scene.add();
    let path = scene.dir().join("id");
    wait_until("the program", || fs::read_to_string(&path).is_ok_and(|id| id.ends_with('\n')), || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let id = fs::read_to_string(&path).unwrap();
    wait_until("the end of the program", || !is_alive(&id), || relay.log());
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'"), 0);
}

#[test]
fn check_refuses_a_program_that_cannot_run() {
    let scene = Scene::new();
    let good = program(&scene, "exit 0");
    let plain = scene.dir().join("plain");
    fs::write(&plain, "").unwrap();
    let (code, said, log) = relay_to(&scene, &good, "").args(&["check"]).output();
    assert_eq!(code, 0, "{log}");
    assert!(said.contains(&format!("run: program {} with 1 argument", good.display())), "{said}");
    for (path, wrong) in [
        (scene.dir().join("missing"), "names a program that cannot be found: No such file"),
        (plain, "names a file that is not executable"),
        (scene.dir().to_owned(), "names no program: it is not a regular file"),
        ("no-such-program-anywhere".into(), "names a program that is in no directory of PATH"),
    ] {
        let (code, _, log) = relay_to(&scene, &path, "").args(&["check"]).output();
        assert!(code == 78 && log.contains("`sinks.run.command`") && log.contains(wrong), "{code} {log}");
    }
    // The program of the test lies beside the configuration file.
    let (code, _, log) = relay_to(&scene, Path::new(good.file_name().unwrap()), "").args(&["check"]).output();
    let hint = format!("write ./{} for the program beside the configuration file", good.file_name().unwrap().display());
    assert!(code == 78 && log.contains(&hint), "{code} {log}");
    let text = "format = \"template\"\ntemplate = \"{{ message.body }}\"";
    let (code, _, log) = relay_to(&scene, &good, text).args(&["check"]).output();
    let hint = "without content_type its output is JSON; for text, set content_type = \"text/plain\"";
    assert!(code == 78 && log.contains("makes no valid JSON") && log.contains(hint), "{code} {log}");
    let (code, _, log) =
        relay_to(&scene, &good, &format!("{text}\ncontent_type = \"text/plain\"")).args(&["check"]).output();
    assert_eq!(code, 0, "{log}");
    for (keys, wrong) in [
        ("env = { \"A-B\" = \"x\" }", "holds a name that no variable can have"),
        ("env = { JOLTSMS_MESSAGE_ID = \"x\" }", "`sinks.run.env.JOLTSMS_MESSAGE_ID` cannot be set"),
        ("reject_exit = [0]", "an array of exit statuses from 1 to 255"),
    ] {
        let (code, _, log) = relay_to(&scene, &good, keys).args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{code} {log}");
    }
}

#[test]
fn a_preview_shows_the_variables_and_starts_nothing() {
    let scene = Scene::new();
    let program = program(&scene, "touch \"$DIR/started\"");
    let message = scene.dir().join("message.json");
    fs::write(&message, "{\"id\":\"m1\",\"from\":\"+1\\u001b[2J\",\"to\":\"+2\",\"parsedCode\":\"123\"}").unwrap();
    let check = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, &program, "").args(&check).output();
    assert_eq!(code, 0, "{log}");
    let shown = "JOLTSMS_MESSAGE_ID: m1\nJOLTSMS_MESSAGE_FROM: +1\\u001b[2J\nJOLTSMS_MESSAGE_TO: +2\nJOLTSMS_MESSAGE_CODE: 123\n";
    assert!(said.contains(shown), "{said}");
    assert!(!scene.dir().join("started").exists());
}
