//! Tests that only the relay's own user can read its files, whatever the umask is. The relay leaves no core dump.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::relay::Setup;
use crate::support::scene::Scene;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns a relay that logs to files, and the directory of the log.
fn with_log(scene: &Scene) -> (Setup, PathBuf) {
    let log = scene.dir().join("log");
    let setup = scene.setup_from_beginning().set("LOG__DIR", log.to_str().unwrap());
    (setup, log)
}

/// Returns every file and folder in a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    files
}

#[test]
fn files_and_directories_are_private_under_any_umask() {
    for umask in ["000", "022", "077"] {
        let scene = Scene::new();
        scene.add_past(3);
        let (setup, log) = with_log(&scene);
        let state = setup.state().to_owned();
        let mut relay = setup.behind(&format!("umask {umask}; exec \"$0\" \"$@\"")).start();
        relay.ids(3);
        let made: Vec<PathBuf> = [&state, &log].into_iter().flat_map(|dir| files(dir)).collect();
        let names: Vec<&str> = made.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        for name in ["state.db", "state.db-wal", "state.db-shm", "budget.ring", "relay.lock"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(names.iter().any(|name| name.starts_with("joltsms-relay.")), "{names:?}");
        for path in &made {
            assert_eq!(mode(path), 0o600, "{} under {umask}", path.display());
        }
        assert_eq!((mode(&state), mode(&log)), (0o700, 0o700), "under {umask}");
        assert!(relay.stop().success());
    }
}

#[test]
fn what_was_open_to_others_is_closed_and_said() {
    let scene = Scene::new();
    scene.add_past(3);
    let mut relay = scene.setup_from_beginning().start();
    relay.ids(3);
    relay.kill();
    let state = scene.dir().join("state");
    let open: Vec<PathBuf> = files(&state);
    assert!(open.len() >= 5, "{open:?}");
    open.iter().for_each(|path| set_mode(path, 0o644));
    fs::write(state.join("somebody else's"), "").unwrap();
    set_mode(&state.join("somebody else's"), 0o644);
    set_mode(&state, 0o777);
    let mut relay = scene.setup_from_beginning().start();
    relay.wait_for_log("resuming where the state left off");
    let log = relay.log();
    let said = "WARN the file was open to other users; it is closed to them now";
    assert_eq!(log.matches(said).count(), open.len(), "{log}");
    assert!(log.contains("state.db mode=\"0644\"") && !log.contains("error="), "{log}");
    let said = "WARN other users may write to the directory, and replace what is in it; chmod 700 would close it path=";
    assert!(log.contains(said) && log.contains("mode=\"0777\""), "{log}");
    for path in &open {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&state), 0o777, "that is for its owner to decide");
    assert_eq!(mode(&state.join("somebody else's")), 0o644);
    assert!(relay.stop().success());
}

#[test]
fn log_files_that_were_open_to_others_are_closed() {
    let scene = Scene::new();
    let (mut setup, log) = with_log(&scene);
    let mut relay = setup.start();
    scene.wait_until(|handle| handle.counters().requests > 0);
    assert!(relay.stop().success());
    let file = files(&log).remove(0);
    set_mode(&file, 0o644);
    let mut relay = setup.start();
    scene.wait_until(|handle| handle.counters().requests > 2);
    assert!(relay.stop().success());
    assert_eq!(mode(&file), 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains("WARN the file was open to other users"));
}

#[cfg(target_os = "linux")]
#[test]
fn it_leaves_no_core_behind() {
    let scene = Scene::new();
    scene.add_past(1);
    let relay = scene.setup_from_beginning().start();
    relay.ids(1);
    let limits = fs::read_to_string(format!("/proc/{}/limits", relay.id())).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
}
