//! Tests of the exit codes of `once` and of a refused start if something else goes wrong as well.

use std::time::Duration;

use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;

#[test]
fn once_delivers_what_waits_also_if_no_key_is_accepted() {
    let scene = Scene::new();
    scene.add_past(60);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let mut setup =
        scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__CRM__CONCURRENCY", "1").args(&["once"]);
    let (code, _, log) = setup.output();
    assert_eq!(code, 75, "{log}");
    let before = receiver.count();
    assert!(before < 30, "{before} attempts at a receiver that is down");

    receiver.answer(|_| (200, Duration::from_millis(20)));
    scene.handle().revoke_key(&scene.simulator().key());
    scene.handle().forget_key_cache();
    let (code, _, log) = setup.output();
    assert_eq!(code, 77, "{log}");
    assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'fresh'"), 0, "{log}");
}

#[test]
fn once_does_not_wait_an_hour_for_the_next_poll() {
    let scene = Scene::new();
    let (code, _, log) = scene.setup().set("POLL__INTERVAL", "1h").args(&["once"]).output();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn a_complaint_that_nobody_reads_keeps_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, stderr) = std::io::pipe().unwrap();
    drop(reader);
    let mut relay = std::process::Command::new(env!("CARGO_BIN_EXE_joltsms-relay"));
    let status = relay.env_clear().env("HOME", dir.path()).stderr(stderr).status().unwrap();
    assert_eq!(status.code(), Some(78));
}
