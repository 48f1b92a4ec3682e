//! Tests of the files of the state: the files are never opened through a link, one process has the role, the files
//! belong to the owner of the directory, and exports are complete.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use joltsms_relay::daemon::log_sentences::{LOCK_MADE_AGAIN, SINK_NOT_CONFIGURED};
use joltsms_simulator::{Effect, NewMessage, Rule};

use crate::support::cases::side_by_side;
use crate::support::machine::as_nobody;
use crate::support::relay::Setup;
use crate::support::relay::terminal::terminal;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Returns a state that was used, and a file that does not belong to the relay.
fn scene_with_victim() -> (Scene, PathBuf) {
    let scene = Scene::new();
    scene.add_past(3);
    let (code, _, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!(code, 0, "{log}");
    let victim = scene.dir().join("victim");
    fs::write(&victim, "precious data that is not the relay's\n").unwrap();
    (scene, victim)
}

#[test]
fn nothing_is_written_through_a_link() {
    let refused = "it is a symbolic link, and none is followed here";
    let cases: [(&str, (&str, i32, &str)); 9] = [
        ("the role", ("relay.lock", 1, refused)),
        ("the count", ("state.mark", 1, refused)),
        ("the budget", ("budget.ring", 1, refused)),
        ("its draft", ("budget.ring.new", 0, "")),
        ("the status", ("relay.status", 0, refused)),
        ("the state", ("state.db", 65, "it is not a regular file")),
        ("its draft, too", ("state.db.new", 0, "")),
        ("its journal", ("state.db-wal", 1, "ERROR")),
        ("the journal's index", ("state.db-shm", 1, "ERROR")),
    ];
    side_by_side(&cases, |(name, expected, said)| {
        let (scene, victim) = scene_with_victim();
        let found = fs::metadata(&victim).unwrap();
        let file = scene.dir().join("state").join(name);
        drop(fs::remove_file(&file));
        if *name == "state.db.new" {
            fs::remove_file(scene.dir().join("state/state.db")).unwrap();
        }
        symlink(&victim, &file).unwrap();
        let before = fs::read(&victim).unwrap();
        for arguments in [&["once"][..], &["sinks", "pause", "stdout"], &["status"], &["trace", "x"]] {
            let (code, _, log) = scene.setup_from_beginning().args(arguments).output();
            if arguments == ["once"] {
                assert!(code == *expected && log.contains(said), "{name}: {code}\n{log}");
            }
            let after = fs::metadata(&victim).unwrap();
            assert!(fs::read(&victim).unwrap() == before, "{name} {arguments:?}: it was written through");
            assert_eq!((after.mode(), after.uid()), (found.mode(), found.uid()), "{name} {arguments:?}");
        }
    });
}

#[test]
fn a_link_to_the_directory_is_followed_and_not_warned_of() {
    let scene = Scene::new();
    scene.add_past(3);
    // The directory is a link, as systemd makes it with DynamicUser.
    let private = scene.dir().join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&private, scene.dir().join("state")).unwrap();
    let mut relay = scene.setup_from_beginning().start();
    relay.ids(3);
    assert!(relay.stop().success());
    assert!(!relay.log().contains("WARN"), "{}", relay.log());
    assert!(private.join("state.db").is_file());
    let (code, _, log) = Setup::bare(scene.dir()).args(&["sinks", "list"]).output();
    assert_eq!((code, log.as_str()), (0, ""), "it is looked at without a relay, too");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o777)).unwrap();
    let mut relay = scene.setup_from_beginning().start();
    relay.wait_for_log("WARN other users may write to the directory");
    assert!(relay.stop().success());
}

#[test]
fn a_lock_that_is_removed_makes_no_second_relay() {
    let scene = Scene::new();
    scene.add_past(3);
    let relay = scene.setup_from_beginning().start();
    relay.ids(3);
    let lock = scene.dir().join("state/relay.lock");
    for times in 1..=2 {
        fs::remove_file(&lock).unwrap();
        let (code, stdout, log) = scene.setup().output();
        assert_eq!((code, stdout.as_str()), (75, ""), "{log}");
        assert!(log.contains("is in use by another joltsms-relay"), "{log}");
        let said = format!("WARN {LOCK_MADE_AGAIN}");
        // The second relay may have made the file before the first relay saw that the file was gone.
        relay.wait_for_log_times(&said, times);
        assert_eq!(Setup::bare(scene.dir()).args(&["status", "--check"]).output().0, 0);
    }
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
}

#[test]
fn a_directory_that_is_replaced_ends_the_relay() {
    let scene = Scene::new();
    scene.add_past(3);
    let mut relay = scene.setup_from_beginning().start();
    relay.ids(3);
    fs::rename(scene.dir().join("state"), scene.dir().join("moved")).unwrap();
    assert_eq!(relay.wait().code(), Some(1), "{}", relay.log());
    assert!(relay.log().contains("was removed or replaced while the relay ran"), "{}", relay.log());
}

fn owners(dir: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().uid())).collect()
}

#[test]
fn what_root_makes_in_a_state_belongs_to_its_owner() {
    let Some(nobody) = as_nobody() else { return };
    let scene = Scene::new();
    let program = scene.copy_of_program();
    let state = scene.dir().join("state");
    fs::create_dir(&state).unwrap();
    for path in [scene.dir(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&state, Some(65534), Some(65534)).unwrap();
    let as_service = || {
        let (code, _, log) = scene.setup_from_beginning().program(&program).under(&nobody).args(&["once"]).output();
        assert_eq!(code, 0, "{log}");
    };
    // Root starts the relay on an empty directory, and on a directory that the service has used.
    for _ in 0..2 {
        scene.add_past(3);
        assert_eq!(scene.setup_from_beginning().args(&["once"]).output().0, 0);
        for arguments in [&["sinks", "pause", "stdout"][..], &["sinks", "resume", "stdout"], &["status"]] {
            assert_eq!(Setup::bare(scene.dir()).args(arguments).output().0, 0);
        }
        assert!(owners(&state).iter().all(|(_, uid)| *uid == 65534), "{:?}", owners(&state));
        as_service();
    }
    // A killed `run` leaves the journal behind, too.
    let mut relay = scene.setup_from_beginning().start();
    scene.add();
    relay.line();
    relay.kill();
    assert!(state.join("state.db-wal").exists());
    assert!(owners(&state).iter().all(|(_, uid)| *uid == 65534), "{:?}", owners(&state));
    as_service();
}

#[test]
fn the_log_is_written_through_no_link() {
    let (scene, victim) = scene_with_victim();
    let log = scene.dir().join("log");
    let once = || scene.setup().set("LOG__DIR", log.to_str().unwrap()).args(&["once"]).output();
    assert_eq!(once().0, 0);
    let file = fs::read_dir(&log).unwrap().flatten().next().unwrap().path();
    fs::remove_file(&file).unwrap();
    symlink(&victim, &file).unwrap();
    let before = fs::read(&victim).unwrap();
    let (code, _, said) = once();
    assert!(code == 1 && said.contains("it is a symbolic link"), "{code} {said}");
    assert!(fs::read(&victim).unwrap() == before);
    fs::remove_file(&file).unwrap();
    // Files that root makes belong to the owner of the directory.
    if chown(&log, Some(65534), Some(65534)).is_ok() {
        assert_eq!(once().0, 0);
        assert_eq!(fs::metadata(&file).unwrap().uid(), 65534);
    }
}

#[test]
fn an_export_is_whole_or_not_there() {
    let scene = Scene::new();
    let now = scene.handle().now();
    scene.handle().add_many((0..150).map(|_| NewMessage::new().received_at(now).body("x".repeat(100_000))));
    let (code, ..) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!(code, 0);
    let output = scene.dir().join("out/saved.jsonl");
    fs::create_dir(scene.dir().join("out")).unwrap();
    let files = || fs::read_dir(scene.dir().join("out")).unwrap().count();
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let export = ["state", "export", "-o", output.to_str().unwrap()];
        let mut export = Setup::bare(scene.dir()).args(&export).start();
        // The signal comes as soon as the file is there, so this wait looks without pauses.
        wait_until("its file", || (0..1000).any(|_| files() > 0), || export.log());
        assert_eq!(
            fs::read_dir(scene.dir().join("out")).unwrap().flatten().next().unwrap().metadata().unwrap().mode() & 0o777,
            0o600
        );
        export.signal(signal);
        let ended = export.wait();
        if ended.code() == Some(0) {
            // The export ended before the test could interrupt it.
            assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 150);
            fs::remove_file(&output).unwrap();
        }
        assert_eq!(files(), 0, "SIG{signal} {ended}: {}", export.log());
    }
    // An existing file stays as it is, and so does a link.
    symlink("/nowhere", &output).unwrap();
    let (code, _, said) = Setup::bare(scene.dir()).args(&["state", "export", "-o", output.to_str().unwrap()]).output();
    assert!(code == 1 && said.contains("File exists") && files() == 1, "{code} {said}");
    assert!(said.contains("nothing is overwritten: name another file, or move that one away first"), "{said}");
}

#[test]
fn an_export_to_a_terminal_moves_nothing() {
    let scene = Scene::new();
    let now = scene.handle().now();
    let body = "a\u{9b}31;5mb\u{202e}c\u{9b}2J\u{1b}]0;x\u{7}";
    scene.handle().add(NewMessage::new().id("x1").received_at(now).body(body));
    assert_eq!(scene.setup_from_beginning().args(&["once"]).output().0, 0);
    let (mut screen, side) = terminal();
    let mut export = Setup::bare(scene.dir()).args(&["state", "export"]).start_with_stdout(side);
    assert!(export.wait().success(), "{}", export.log());
    // The setup keeps its side of the terminal open, so the output ends with the line and not with the end of the
    // stream.
    let (mut shown, mut byte) = (Vec::new(), [0]);
    while screen.read(&mut byte).is_ok_and(|read| read > 0) && byte != *b"\n" {
        shown.extend(byte);
    }
    let shown = String::from_utf8(shown).unwrap();
    let acts: Vec<char> = shown.chars().filter(|next| next.is_control() || *next == '\u{202e}').collect();
    assert_eq!(acts, ['\r'], "{shown:?}");
    let line: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
    assert_eq!(line["message"]["body"], body, "and it says the same");
}

#[test]
fn the_start_tells_of_messages_that_wait_for_details_and_a_sink_that_is_gone() {
    let scene = Scene::new();
    let other = Receiver::in_background();
    scene.handle().add_fault(Rule::always(Effect::status(500)).path("/v1/numbers"));
    let setup = || scene.setup_from_beginning().sink(&other.url());
    scene.add_past(5);
    let mut relay = setup()
        .set("SINKS__SVC__TYPE", "http")
        .set("SINKS__SVC__URL", &other.url())
        .set("SINKS__SVC__FILTER__SERVICE", "*")
        .start();
    other.wait(5, &relay);
    let undecided = "SELECT count(*) FROM delivery WHERE state = 'undecided'";
    wait_until("those that wait", || scene.count(undecided) == 5, || relay.log());
    assert!(relay.stop().success());
    let mut relay = setup().start();
    relay.wait_for_log(&format!("WARN {SINK_NOT_CONFIGURED}"));
    relay.wait_for_log("sink.name=\"svc\" messages=5");
    assert!(relay.stop().success());
}

#[test]
fn a_configuration_that_may_not_be_read_names_who_may() {
    let Some(nobody) = as_nobody() else { return };
    let scene = Scene::new();
    let program = scene.copy_of_program();
    let file = scene.file("");
    for (path, mode) in [(scene.dir(), 0o755), (&program, 0o755), (Path::new(&file), 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let arguments = ["status", "--config", &file];
    let (code, _, said) = scene.setup().program(&program).under(&nobody).args(&arguments).output();
    assert!(code == 78 && said.contains("cannot be read: Permission denied") && said.contains("sudo"), "{code} {said}");
}
