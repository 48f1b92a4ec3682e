//! Tests of erasure: with `state.keep_delivered = "0s"` nothing is left of a message on the disk once every sink has
//! the message, and erasure does not make the message come again.

use std::fs;
use std::path::{Path, PathBuf};

use joltsms_simulator::NewMessage;

use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// A mark that every text of these messages contains, and no other text contains.
const MARK: &[u8] = b"a mark that is in no other text";

/// Adds messages that contain the mark in several places. The last message is long.
fn add_marked(scene: &Scene, count: i64) {
    let mark = String::from_utf8(MARK.to_vec()).unwrap();
    let now = scene.handle().now();
    scene.handle().add_many((0..count).map(|place| {
        let time = now - jiff::SignedDuration::from_millis(count - place);
        let body = if place + 1 == count { format!("{mark} ").repeat(400) } else { mark.clone() };
        NewMessage::new().received_at(time).ingested_at(time).from(mark.clone()).body(body)
    }));
}

fn state(scene: &Scene) -> PathBuf {
    scene.dir().join("state")
}

/// Returns the files below a directory that contain the mark.
fn marked(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(marked(&path));
        // SQLite removes a journal when its last user closes it, so a file may be gone.
        } else if fs::read(&path).unwrap_or_default().windows(MARK.len()).any(|part| part == MARK) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

fn wait_until_gone(scene: &Scene, relay: &Relay) {
    let dir = scene.dir();
    wait_until("the end of every text", || marked(dir).is_empty(), || format!("{:?}\n{}", marked(dir), relay.log()));
}

/// Returns the number of texts in the state.
fn texts(scene: &Scene) -> i64 {
    scene.count("SELECT count(*) FROM message WHERE raw IS NOT NULL")
}

fn wait_for_texts(scene: &Scene, relay: &Relay, count: i64) {
    wait_until(&format!("{count} texts"), || texts(scene) == count, || relay.log());
}

/// Returns a relay to `crm` and `ops` that keeps no delivered message, and logs at the finest level.
fn setup(scene: &Scene, crm: &Receiver, ops: &Receiver) -> Setup {
    let setup = scene.setup_from_beginning().sink(&crm.url()).set("STATE__KEEP_DELIVERED", "0s");
    let setup = setup.set("SINKS__OPS__TYPE", "http").set("SINKS__OPS__URL", &ops.url());
    let setup = setup.set("SINKS__CRM__RETRY__INITIAL", "200ms").set("SINKS__OPS__RETRY__INITIAL", "200ms");
    setup.set("LOG__LEVEL", "debug").set("LOG__DIR", scene.dir().join("log").to_str().unwrap())
}

fn receivers() -> (Receiver, Receiver) {
    (Receiver::in_background(), Receiver::in_background())
}

fn ends_well(mut relay: Relay) {
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

#[test]
fn after_delivery_no_file_has_it_and_it_does_not_come_again() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let mut setup = setup(&scene, &crm, &ops);
    add_marked(&scene, 120);
    let mut relay = setup.start();
    crm.wait(120, &relay);
    ops.wait(120, &relay);
    wait_until_gone(&scene, &relay);
    assert_eq!((texts(&scene), scene.count("SELECT count(*) FROM delivery")), (0, 0));
    assert_eq!(scene.count("SELECT count(*) FROM message"), 120, "their ids are known");
    add_marked(&scene, 7);
    crm.wait(127, &relay);
    wait_for_texts(&scene, &relay, 0);
    // The last deliveries may be in the journal only.
    relay.kill();
    let mut relay = setup.start();
    wait_until_gone(&scene, &relay);
    add_marked(&scene, 3);
    crm.wait(130, &relay);
    ops.wait(130, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!(marked(scene.dir()), Vec::<String>::new(), "after the end there is no journal");
    assert!(!state(&scene).join("state.db-wal").exists());

    // The relay reads the whole feed of the account again.
    let mut relay = setup.set("POLL__SWEEP_INTERVAL", "100ms").start();
    scene.wait_for_polls(30);
    let log = fs::read_dir(scene.dir().join("log")).unwrap();
    let log: String = log.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(log.contains("DEBUG"), "{log}");
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!((crm.count(), ops.count()), (130, 130), "each once");
}

#[test]
fn what_one_sink_lacks_stays_until_it_has_it() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let mut setup = setup(&scene, &crm, &ops);
    ops.answer_with(503);
    add_marked(&scene, 12);
    let mut relay = setup.start();
    crm.wait(12, &relay);
    let has_all = |sink: &str| {
        let query = format!(
            "SELECT count(*) FROM delivery JOIN sink ON sink.id = delivery.sink
             WHERE name = '{sink}' AND state = 'delivered'"
        );
        scene.count(&query) == 12
    };
    wait_until("crm to have all", || has_all("crm"), || relay.log());
    relay.kill();
    let relay = setup.start();
    scene.wait_for_polls(20);
    assert_eq!(texts(&scene), 12);
    assert!(marked(&state(&scene)).contains(&"state.db".to_owned()), "{:?}", marked(&state(&scene)));
    ops.answer_with(200);
    wait_until_gone(&scene, &relay);
    ends_well(relay);
    assert_eq!(crm.count(), 12, "it had them");
    assert_eq!(ops.received().iter().filter(|request| request.status == 200).count(), 12, "each once");
}

#[test]
fn a_dead_letter_stays_until_somebody_decides() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let mut setup = setup(&scene, &crm, &ops).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "0s");
    crm.answer_with(500);
    add_marked(&scene, 6);
    let mut relay = setup.start();
    let dead = || scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'");
    ops.wait(6, &relay);
    wait_until("dead letters", || dead() == 6, || relay.log());
    let first = scene.ids()[0].clone();
    let command = |arguments: &[&str]| Setup::bare(scene.dir()).args(&["dead-letters"]).args(arguments).output();
    crm.answer_with(200);
    assert_eq!(command(&["retry", "--id", &first]).0, 0);
    wait_for_texts(&scene, &relay, 5);
    let second = scene.ids()[1].clone();
    assert_eq!(command(&["drop", "--id", &second]).0, 0);
    wait_for_texts(&scene, &relay, 4);
    // The text stays while no relay runs. The next start erases it.
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let third = scene.ids()[2].clone();
    assert_eq!(command(&["drop", "--id", &third]).0, 0);
    let relay = setup.start();
    wait_for_texts(&scene, &relay, 3);
    let (code, shown, _) = command(&["show", "--sink", "crm"]);
    assert_eq!((code, shown.lines().count()), (0, 3));
    assert!(shown.lines().all(|line| line.starts_with('{') && line.contains(str::from_utf8(MARK).unwrap())), "{shown}");
    assert_eq!(command(&["drop", "--all"]).0, 0);
    wait_until_gone(&scene, &relay);
    ends_well(relay);
    assert_eq!(scene.count("SELECT count(*) FROM message"), 6, "their ids are known");
}

#[test]
fn what_nobody_wants_is_not_kept() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    let wants_none = |setup: Setup, sink: &str| setup.set(&format!("SINKS__{sink}__FILTER__FROM"), "+1999*");
    add_marked(&scene, 30);
    let relay = wants_none(wants_none(setup(&scene, &crm, &ops), "CRM"), "OPS").start();
    relay_met(&scene, &relay, 30);
    wait_until_gone(&scene, &relay);
    assert_eq!((texts(&scene), crm.count(), ops.count()), (0, 0, 0));
    ends_well(relay);
}

fn relay_met(scene: &Scene, relay: &Relay, count: i64) {
    let file = state(scene).join("state.db");
    let met = || file.exists() && scene.count("SELECT count(*) FROM message") == count;
    wait_until("all messages", met, || relay.log());
}

#[test]
fn once_leaves_nothing_either() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    add_marked(&scene, 30);
    let (code, _, log) = setup(&scene, &crm, &ops).args(&["once"]).output();
    assert_eq!((code, crm.count(), ops.count()), (0, 30, 30), "{log}");
    assert_eq!(marked(scene.dir()), Vec::<String>::new());
}

#[test]
fn with_another_time_it_stays_that_long() {
    let scene = Scene::new();
    let (crm, ops) = receivers();
    add_marked(&scene, 9);
    let mut setup = setup(&scene, &crm, &ops).set("STATE__KEEP_DELIVERED", "1h");
    for _ in 0..2 {
        let mut relay = setup.start();
        crm.wait(9, &relay);
        ops.wait(9, &relay);
        scene.wait_for_polls(20);
        assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
        assert_eq!((texts(&scene), marked(scene.dir())), (9, vec!["state.db".to_owned()]));
    }
    assert_eq!((crm.count(), ops.count()), (9, 9), "each once");
    // While the message is kept, it can be replayed.
    let (code, said, log) = Setup::bare(scene.dir()).args(&["replay", "--sink", "crm", "--since", "1h"]).output();
    assert!(code == 0 && said.starts_with("crm: 9 messages again\n"), "{said}{log}");
    // A shorter time of keeping takes effect at the next start.
    let relay = setup.set("STATE__KEEP_DELIVERED", "0s").start();
    crm.wait(18, &relay);
    wait_for_texts(&scene, &relay, 0);
    ends_well(relay);
}
