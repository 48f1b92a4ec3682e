//! Tests of what a container changes for the relay: its file system is lost with it, and its user owns nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use joltsms_relay::daemon::log_sentences::STATE_ON_NO_VOLUME;

use crate::support::machine::words_that_run;
use crate::support::prerequisites::skip;
use crate::support::relay::Setup;
use crate::support::scene::Scene;

/// Returns a relay that another user can start: the program is in a place that this user can reach.
fn reachable(scene: &Scene) -> Setup {
    let program = scene.copy_of_program();
    for path in [scene.dir(), &program] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    scene.setup_from_beginning().program(&program)
}

/// The first process of a process namespace counts as the program of a container.
#[test]
fn a_state_that_is_lost_with_the_container_is_warned_about() {
    let Some(as_first) = words_that_run(&["unshare", "--pid", "--fork", "--mount"]) else { return };
    let scene = Scene::new();
    scene.add_past(1);
    if fs::metadata(scene.dir()).unwrap().dev() != fs::metadata("/").unwrap().dev() {
        return skip("the directory for temporary files is a mount of its own");
    }
    let once = |words: &[String], temporary: &str| {
        let setup = scene.setup_from_beginning().under(words).env("TMPDIR", temporary).args(&["once"]);
        let (code, _, log) = { setup }.output();
        assert_eq!(code, 0, "{log}");
        log
    };
    let log = once(&as_first, "/nowhere");
    assert_eq!(log.matches(&format!("WARN {STATE_ON_NO_VOLUME} path=")).count(), 1, "{log}");
    let log = once(&as_first, scene.dir().to_str().unwrap());
    assert!(!log.contains("WARN"), "a temporary state is meant to be lost: {log}");
    let mounts =
        format!("mount -t tmpfs -o mode=700 none {} && exec \"$0\" \"$@\"", scene.dir().join("state").display());
    let log = once(&[&as_first[..], &["sh", "-c", &mounts].map(str::to_owned)].concat(), "/nowhere");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_group_that_shares_the_state_on_purpose_is_not_warned_about() {
    let cases = [
        ("group 0", "--regid=0", "--clear-groups", 0, 0o770),
        ("fsGroup", "--regid=65534", "--groups=2000", 2000, 0o2775),
    ];
    for (name, own, others, group, mode) in cases {
        let Some(user) = words_that_run(&["setpriv", "--reuid=65534", own, others]) else { return };
        let scene = Scene::new();
        scene.add_past(1);
        let state = scene.dir().join("state");
        fs::create_dir(&state).unwrap();
        chown(&state, Some(0), Some(group)).unwrap();
        fs::set_permissions(&state, Permissions::from_mode(mode)).unwrap();
        for start in ["first", "second"] {
            let (code, _, log) = reachable(&scene).under(&user).args(&["once"]).output();
            assert!(code == 0 && !log.contains("WARN"), "{name}, {start} start: {log}");
            // Before each start Kubernetes gives the group the right to write to all files of the volume.
            for file in fs::read_dir(&state).unwrap() {
                let path = file.unwrap().path();
                assert_eq!(fs::metadata(&path).unwrap().gid(), group, "{name}: {}", path.display());
                fs::set_permissions(path, Permissions::from_mode(0o660)).unwrap();
            }
        }
        fs::set_permissions(&state, Permissions::from_mode(mode | 0o002)).unwrap();
        let (_, _, log) = reachable(&scene).under(&user).args(&["once"]).output();
        assert!(log.contains("WARN other users may write to the directory"), "{name}: {log}");
    }
}

#[test]
fn an_error_about_permissions_names_the_command_that_mends_it() {
    let Some(user) = words_that_run(&["setpriv", "--reuid=12345", "--regid=7", "--clear-groups"]) else { return };
    let scene = Scene::new();
    scene.add_past(1);
    let state = scene.dir().join("state");
    let once = || reachable(&scene).under(&user).args(&["once"]).output();
    let (code, _, log) = once();
    let made = format!("hint=\"make the directory, as root: install -d -m 0700 -o 12345 -g 7 {}\"", state.display());
    assert!(code == 1 && log.contains(&made), "{code} {log}");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    chown(&state, Some(65532), Some(65532)).unwrap();
    let (code, _, log) = once();
    let given = format!(
        "hint=\"run the relay as uid 65532, or give the state to uid 12345, as root: chown -R 12345:7 {}\"",
        state.display()
    );
    assert!(code == 1 && log.contains(&given), "{code} {log}");
    chown(&state, Some(12345), Some(7)).unwrap();
    let (code, _, log) = once();
    assert!(code == 0 && !log.contains("WARN"), "{log}");
}

#[test]
fn a_read_only_file_system_asks_for_a_volume() {
    let Some(apart) = words_that_run(&["unshare", "--mount"]) else { return };
    let scene = Scene::new();
    let state = scene.dir().join("state");
    fs::create_dir(&state).unwrap();
    let mounts = format!("mount -t tmpfs -o ro none {} && exec \"$0\" \"$@\"", state.display());
    let words = [&apart[..], &["sh", "-c", &mounts].map(str::to_owned)].concat();
    let (code, _, log) = scene.setup().under(&words).args(&["once"]).output();
    let hint = format!("hint=\"mount a volume at {}, or choose another directory with state.dir\"", state.display());
    assert!(code == 1 && log.contains("Read-only file system") && log.contains(&hint), "{code} {log}");
}
