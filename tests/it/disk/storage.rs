//! Tests of disks that are full, that fail, or that belong to another user. The log reports the fault, the relay does
//! what it still can, and nothing is lost.

use joltsms_relay::delivery::log_sentences::{CAN_BE_RECORDED, CANNOT_BE_RECORDED, SINK_FAILS};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use joltsms_relay::daemon::log_sentences::STOPPED;
use joltsms_simulator::NewMessage;

use crate::support::cases::side_by_side;
use crate::support::machine::as_nobody;
use crate::support::machine::disk::Disk;
use crate::support::machine::system_calls::{Faults, failing};
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Received, Receiver};
use crate::support::waiting::wait_until;

fn file(scene: &Scene, name: &str) -> PathBuf {
    scene.dir().join("state").join(name)
}

/// Returns the paths of SQLite's files.
fn store(scene: &Scene) -> Vec<PathBuf> {
    ["state.db", "state.db-wal", "state.db-shm"].map(|name| file(scene, name)).to_vec()
}

/// Adds messages of 100 kB each, which fill a small disk.
fn add_long(scene: &Scene, count: usize) {
    let body = "long ".repeat(20_000);
    let now = scene.handle().now();
    scene.handle().add_many((0..count).map(|_| NewMessage::new().received_at(now).body(body.clone())));
}

/// Waits until the receiver has every message of the API, and checks that the receiver got each message once.
fn all_arrive_once(scene: &Scene, receiver: &Receiver, relay: &Relay) {
    let mut expected = scene.ids();
    expected.sort_unstable();
    let accepted = || {
        let received = receiver.received();
        let mut ids: Vec<String> =
            received.iter().filter(|request| request.status == 200).map(Received::message_id).collect();
        ids.sort_unstable();
        ids
    };
    wait_until("every message", || accepted().len() >= expected.len(), || relay.log());
    let recorded = "SELECT count(*) FROM delivery WHERE state <> 'delivered'";
    wait_until("the record of it", || scene.count(recorded) == 0, || relay.log());
    assert_eq!(accepted(), expected, "each once:\n{}", relay.log());
}

/// Starts a relay and a receiver. Returns both when the relay has delivered everything.
fn at_rest(scene: &Scene, setup: Setup) -> (Receiver, Relay) {
    let receiver = Receiver::in_background();
    scene.add_past(3);
    let relay = setup.sink(&receiver.url()).set("LOG__LEVEL", "debug").start();
    all_arrive_once(scene, &receiver, &relay);
    (receiver, relay)
}

fn ends_well(mut relay: Relay) {
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

/// Returns the waits for the disk that the log shows, in seconds. Checks that none of them is so short that it makes a
/// hot loop.
fn waits(log: &str) -> Vec<f64> {
    let lines = log.lines().filter(|line| line.contains("waiting for the disk"));
    lines.filter_map(|line| line.split("wait_s=").nth(1)?.trim().parse().ok()).collect()
}

#[test]
fn what_the_disk_refuses_is_said_once_and_made_up_for() {
    let cases: [(&str, (&str, &str)); 7] = [
        ("no space for writes", ("pwrite64,write,pwritev", "ENOSPC")),
        ("writes fail", ("pwrite64,write,pwritev", "EIO")),
        ("writes to what became read-only", ("pwrite64,write,pwritev", "EROFS")),
        ("over quota", ("pwrite64,write,pwritev", "EDQUOT")),
        ("flushes fail", ("fsync,fdatasync", "EIO")),
        ("no space at a flush", ("fsync,fdatasync", "ENOSPC")),
        ("flushes of what became read-only", ("fsync,fdatasync", "EROFS")),
    ];
    side_by_side(&cases, |(calls, error)| {
        let scene = Scene::new();
        let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning());
        let Some(faults) = Faults::begin(&relay, calls, &store(&scene), error) else { return };
        for _ in 0..5 {
            scene.add();
        }
        relay.wait_for_log("ERROR a page could not be stored; trying again, nothing is lost");
        relay.wait_for_log_times("waiting for the disk", 3);
        assert_eq!(receiver.count(), 3, "nothing is sent that is not stored");
        faults.end();
        all_arrive_once(&scene, &receiver, &relay);
        let log = relay.log();
        assert_eq!(log.matches("a page could not be stored").count(), 1, "once:\n{log}");
        assert!(waits(&log).iter().all(|wait| *wait >= 0.5), "no hot loop: {:?}", waits(&log));
        ends_well(relay);
    });
}

#[test]
fn what_was_sent_and_cannot_be_recorded_is_not_sent_again() {
    let cases: [(&str, (&str, &str)); 3] = [
        ("no space", ("pwrite64,write,pwritev", "ENOSPC")),
        ("writes fail", ("pwrite64,write,pwritev", "EIO")),
        ("flushes fail", ("fsync,fdatasync", "EIO")),
    ];
    side_by_side(&cases, |(calls, error)| {
        let scene = Scene::new();
        let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning());
        receiver.answer_with(503);
        scene.add();
        relay.wait_for_log(SINK_FAILS);
        // The relay tries again after five seconds. By then no write can succeed.
        let Some(faults) = Faults::begin(&relay, calls, &store(&scene), error) else { return };
        receiver.answer_with(200);
        relay.wait_for_log(&format!("ERROR {CANNOT_BE_RECORDED}"));
        faults.end();
        relay.wait_for_log(CAN_BE_RECORDED);
        all_arrive_once(&scene, &receiver, &relay);
        ends_well(relay);
    });
}

#[test]
fn a_status_file_on_a_disk_that_hangs_holds_up_neither_deliveries_nor_the_end() {
    let scene = Scene::new();
    let (receiver, mut relay) = at_rest(&scene, scene.setup_from_beginning());
    let Some(faults) = Faults::hang(&relay, "pwrite64", &[file(&scene, "relay.status")]) else { return };
    // The message is long enough to be written to the file.
    scene.wait_for_polls(10);
    scene.add();
    all_arrive_once(&scene, &receiver, &relay);
    relay.signal("TERM");
    relay.wait_for_log(STOPPED);
    // A thread that strace holds would keep the ended process from disappearing.
    faults.end();
    relay.wait();
}

#[test]
fn a_budget_file_on_a_disk_that_hangs_holds_up_neither_deliveries_nor_the_end() {
    let scene = Scene::new();
    let (receiver, mut relay) = at_rest(&scene, scene.setup_from_beginning());
    receiver.answer_with(503);
    scene.add();
    relay.wait_for_log(SINK_FAILS);
    // The relay tries again after five seconds. By then the poller hangs.
    let Some(faults) = Faults::hang(&relay, "pwrite64", &[file(&scene, "budget.ring")]) else { return };
    receiver.answer_with(200);
    all_arrive_once(&scene, &receiver, &relay);
    relay.signal("TERM");
    relay.wait_for_log(STOPPED);
    // A thread that strace holds would keep the ended process from disappearing.
    faults.end();
    relay.wait();
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start_with_its_name() {
    let cases: [(&str, (&str, &str, &str)); 7] = [
        ("the role", ("relay.lock", "EIO", "cannot open STATE/relay.lock: Input/output error (os error 5)")),
        ("the state", ("state.db", "EIO", "cannot open STATE/state.db: Input/output error (os error 5)")),
        ("too many files", ("state.db", "EMFILE", "cannot open STATE/state.db: Too many open files (os error 24)")),
        ("no space for the count", ("state.mark", "ENOSPC", "cannot read STATE/state.mark: No space left on device")),
        ("the journal", ("state.db-wal", "EIO", "the state could not be read or written: ")),
        ("its index", ("state.db-shm", "ENOSPC", "the state could not be read or written: ")),
        ("the budget", ("budget.ring.new", "ENOSPC", "cannot write down the request budget in STATE: No space left")),
    ];
    side_by_side(&cases, |(name, error, said)| {
        let scene = Scene::new();
        let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning());
        ends_well(relay);
        let Some(under) = failing("openat", &[file(&scene, name)], error) else { return };
        let requests = scene.handle().counters().requests;
        let (code, _, log) = scene.setup().under(&under).sink(&receiver.url()).output();
        let said = said.replace("STATE", &scene.dir().join("state").display().to_string());
        assert!(code == 1 && log.contains(&format!("ERROR {said}")), "{code}\n{log}");
        assert_eq!(scene.handle().counters().requests, requests, "nothing was asked");
        scene.add();
        let relay = scene.setup().sink(&receiver.url()).start();
        all_arrive_once(&scene, &receiver, &relay);
        ends_well(relay);
    });
}

#[test]
fn a_disk_that_is_full_is_waited_for() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene.dir().join("state"), "size=16m") else { return };
    let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning().set("STATE__MIN_FREE", "0"));
    disk.fill(0);
    add_long(&scene, 20);
    relay.wait_for_log("ERROR a page could not be stored");
    assert!(relay.log().contains("database or disk is full"), "{}", relay.log());
    relay.wait_for_log_times("waiting for the disk", 2);
    // Another start on this state is refused with the right reason, since the running relay has the role.
    disk.free();
    all_arrive_once(&scene, &receiver, &relay);
    assert!(waits(&relay.log()).iter().all(|wait| *wait >= 0.5), "{:?}", waits(&relay.log()));
    ends_well(relay);
}

#[test]
fn a_start_on_a_full_disk_says_so_and_the_next_one_works() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene.dir().join("state"), "size=4m") else { return };
    let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning().set("STATE__MIN_FREE", "0"));
    ends_well(relay);
    scene.add();
    disk.fill(0);
    let mut setup = scene.setup().set("STATE__MIN_FREE", "0").sink(&receiver.url());
    let (code, _, log) = setup.output();
    assert_eq!(code, 1, "{log}");
    let state = file(&scene, "state.db");
    assert!(log.contains(&format!("ERROR cannot open {}: No space left on device", state.display())), "{log}");
    let full = format!("cannot open {}: No space left on device", state.display());
    // The first failure leaves a part of a file behind. Commands that only read must work nevertheless.
    for arguments in [&["sinks", "pause", "crm"][..], &["sinks", "list"], &["trace", "x"], &["replay", "--sink", "crm"]]
    {
        let (code, _, log) = Setup::bare(scene.dir()).args(arguments).output();
        assert!(code == 1 && log.contains(&full), "{arguments:?} {code} {log}");
    }
    disk.free();
    disk.fill(1);
    let saved = file(&scene, "saved.jsonl");
    let export = ["state", "export", "--output", saved.to_str().unwrap()];
    let (code, _, log) = Setup::bare(scene.dir()).args(&export).output();
    let full = format!("cannot write {}: No space left on device", saved.display());
    assert!(code == 1 && log.contains(&full), "{code} {log}");
    assert!(!saved.exists(), "half of it would be in the way of the next");
    disk.free();
    let relay = setup.start();
    all_arrive_once(&scene, &receiver, &relay);
    ends_well(relay);
}

#[test]
fn with_little_space_left_polling_stops_and_deliveries_go_on() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene.dir().join("state"), "size=64m") else { return };
    let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning().set("STATE__MIN_FREE", "32MiB"));
    receiver.answer_with(503);
    let waiting = scene.add();
    relay.wait_for_log(SINK_FAILS);
    disk.fill(20 << 20);
    relay.wait_for_log(
        "ERROR the disk of the state is nearly full: polling stops until there is room; deliveries go on",
    );
    assert!(relay.log().contains("min_free=32.0 MiB"), "{}", relay.log());
    let unread = scene.add();
    receiver.answer_with(200);
    let has = |id: &str| receiver.received().iter().any(|request| request.status == 200 && request.message_id() == id);
    wait_until("the delivery of what waits", || has(&waiting), || relay.log());
    assert!(!has(&unread), "nothing new is read");
    disk.free();
    relay.wait_for_log("INFO there is room again: polling goes on");
    all_arrive_once(&scene, &receiver, &relay);
    assert_eq!(relay.log().matches("is nearly full").count(), 1, "once:\n{}", relay.log());
    ends_well(relay);
}

#[test]
fn once_does_not_wait_for_space() {
    let scene = Scene::new();
    let Some(_disk) = Disk::mount(&scene.dir().join("state"), "size=16m") else { return };
    scene.add_past(3);
    let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
    assert_eq!((code, stdout.as_str()), (75, ""), "{log}");
    assert!(log.contains("why=the disk of the state has less than state.min_free (64.0 MiB) left"), "{log}");
    let (code, stdout, log) = scene.setup_from_beginning().set("STATE__MIN_FREE", "1MiB").args(&["once"]).output();
    assert_eq!((code, stdout.lines().count()), (0, 3), "{log}");
}

#[test]
fn a_state_that_is_as_large_as_it_may_be_shrinks_by_itself() {
    let scene = Scene::new();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    add_long(&scene, 300);
    let setup = || scene.setup_from_beginning().set("STATE__MIN_FREE", "0").sink(&receiver.url());
    let relay = setup().set("STATE__MAX_SIZE", "16MiB").start();
    relay.wait_for_log(
        "ERROR the state has reached state.max_size: polling stops until there is room; deliveries go on",
    );
    assert!(relay.log().contains("max_size=16.0 MiB"), "{}", relay.log());
    receiver.answer_with(200);
    relay.wait_for_log(
        "WARN the state nears state.max_size: delivered messages are removed before \
         state.keep_delivered is over",
    );
    relay.wait_for_log("INFO there is room again: polling goes on");
    all_arrive_once(&scene, &receiver, &relay);
    ends_well(relay);
}

#[test]
fn a_limit_that_was_lowered_stops_neither_the_start_nor_deliveries() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    add_long(&scene, 250);
    let setup = || scene.setup_from_beginning().set("STATE__MIN_FREE", "0").sink(&receiver.url());
    let relay = setup().start();
    let released = "SELECT count(*) FROM delivery";
    relay.wait_for_log(SINK_FAILS);
    wait_until("all of it", || scene.count(released) == 250, || relay.log());
    ends_well(relay);
    receiver.answer_with(200);
    let relay = setup().set("STATE__MAX_SIZE", "16MiB").start();
    relay.wait_for_log("the state has reached state.max_size");
    relay.wait_for_log("there is room again");
    scene.add();
    all_arrive_once(&scene, &receiver, &relay);
    let size = || fs::metadata(file(&scene, "state.db")).unwrap().len();
    wait_until("the file to be shorter", || size() < 16 << 20, || format!("{} bytes\n{}", size(), relay.log()));
    ends_well(relay);
}

#[test]
fn a_disk_that_is_read_only_ends_the_start_and_loses_nothing() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene.dir().join("state"), "size=16m") else { return };
    let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning().set("STATE__MIN_FREE", "0"));
    ends_well(relay);
    scene.add();
    disk.remount("ro");
    let mut setup = scene.setup().set("STATE__MIN_FREE", "0").sink(&receiver.url());
    let (code, _, log) = setup.output();
    assert_eq!(code, 1, "{log}");
    let lock = file(&scene, "relay.lock");
    let said = format!("ERROR cannot open {}: Read-only file system (os error 30)", lock.display());
    assert!(log.contains(&said), "{log}");
    disk.remount("rw");
    let relay = setup.start();
    all_arrive_once(&scene, &receiver, &relay);
    ends_well(relay);
}

#[test]
fn without_inodes_a_relay_that_runs_goes_on_and_a_start_says_so() {
    let scene = Scene::new();
    let Some(disk) = Disk::mount(&scene.dir().join("state"), "size=64m,nr_inodes=64") else { return };
    let (receiver, relay) = at_rest(&scene, scene.setup_from_beginning().set("STATE__MIN_FREE", "0"));
    disk.fill_with_files();
    scene.add();
    all_arrive_once(&scene, &receiver, &relay);
    ends_well(relay);
    disk.free();
    disk.fill_with_files();
    scene.add();
    let mut setup = scene.setup().set("STATE__MIN_FREE", "0").sink(&receiver.url());
    let (code, _, log) = setup.output();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("ERROR") && !log.contains("damaged"), "{log}");
    disk.free();
    let relay = setup.start();
    all_arrive_once(&scene, &receiver, &relay);
    ends_well(relay);
}

/// Copies the program to a place that another user can reach, and makes a state directory of root with this mode.
fn program_for_others(scene: &Scene, mode: u32) -> (PathBuf, PathBuf) {
    let program = scene.copy_of_program();
    let state = scene.dir().join("state");
    fs::create_dir(&state).unwrap();
    for (path, mode) in [(scene.dir(), 0o755), (&program, 0o755), (&state, mode)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    (program, state)
}

#[test]
fn commands_on_a_state_of_another_user_name_the_command_of_root() {
    let scene = Scene::new();
    let Some(nobody) = as_nobody() else { return };
    let (program, _) = program_for_others(&scene, 0o700);
    for args in [&["status"][..], &["sinks", "list"], &["replay", "--since", "2 h"], &["sinks", "pause", "crm"]] {
        let (code, _, said) = scene.setup().program(&program).under(&nobody).args(args).output();
        let command = format!("; use sudo: sudo {} {}\n", program.display(), args.join(" ").replace("2 h", "'2 h'"));
        assert!(code == 1 && said.contains("Permission denied (os error 13)") && said.ends_with(&command), "{said}");
    }
}

#[test]
fn what_is_not_ours_is_named_with_whose_it_is() {
    let scene = Scene::new();
    let Some(nobody) = as_nobody() else { return };
    let (program, state) = program_for_others(&scene, 0o755);
    let run = || scene.setup_from_beginning().program(&program).under(&nobody).args(&["once"]).output();
    let said = |path: PathBuf, whose: PathBuf, mode: &str| {
        format!(
            "cannot open {}: Permission denied (os error 13) (this process runs as uid 65534; {} belongs to uid 0 and has \
             mode {mode})",
            path.display(),
            whose.display()
        )
    };
    let (code, _, log) = run();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains(&said(file(&scene, "relay.lock"), state.clone(), "0755")), "{log}");
    // Root has made a file of the state, perhaps by hand.
    chown(&state, Some(65534), Some(65534)).unwrap();
    let (code, _, log) = run();
    assert_eq!(code, 0, "{log}");
    chown(file(&scene, "state.db"), Some(0), Some(0)).unwrap();
    let (code, _, log) = run();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains(&said(file(&scene, "state.db"), file(&scene, "state.db"), "0600")), "{log}");
}
