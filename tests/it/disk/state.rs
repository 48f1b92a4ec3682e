//! Tests of a state on the disk that is in use, of a newer version, damaged, or out of reach. A state is never replaced
//! by an empty one.

use std::fs;
use std::path::Path;

use jiff::SignedDuration;
use joltsms_simulator::NewMessage;
use rusqlite::Connection;

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::relay::process::id_of;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// Damages a file or directory.
type Damage = fn(&Path);

/// Makes a text for a scene.
type Text = fn(&Scene) -> String;

#[test]
fn a_second_relay_on_the_state_is_refused_and_the_first_goes_on() {
    let scene = Scene::new();
    scene.add_past(3);
    let relay = scene.setup_from_beginning().start();
    relay.ids(3);
    for command in ["run", "once"] {
        let (code, stdout, log) = scene.setup().args(&[command]).output();
        assert_eq!((code, stdout.as_str()), (75, ""), "{log}");
        assert!(log.contains("is in use by another joltsms-relay: stop that relay (`joltsms-relay status "), "{log}");
    }
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
}

#[test]
fn a_relay_that_was_killed_leaves_no_lock() {
    let scene = Scene::new();
    scene.add_past(3);
    let mut relay = scene.setup_from_beginning().start();
    relay.ids(3);
    scene.wait_until(|_| scene.count("SELECT count(*) FROM delivery WHERE state <> 'delivered'") == 0);
    relay.kill();
    assert!(scene.dir().join("state/relay.lock").exists());
    let id = scene.add();
    let relay = scene.setup().start();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
    fs::remove_file(scene.dir().join("state/relay.lock")).unwrap();
    let id = scene.add();
    let relay = scene.setup().start();
    assert_eq!(relay.ids(1), [id], "nor is the file missed");
    ends_with_nothing_more(relay);
}

/// Runs a relay that leaves a state with an empty journal behind.
fn used(scene: &Scene) {
    scene.add_past(12);
    let relay = scene.setup_from_beginning().start();
    relay.ids(12);
    ends_with_nothing_more(relay);
    let connection = Connection::open(scene.dir().join("state/state.db")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn refuses(scene: &Scene, said: &str) {
    let file = scene.dir().join("state/state.db");
    let before = fs::read(&file).unwrap();
    for command in ["run", "once"] {
        let (code, stdout, log) = scene.setup_from_beginning().args(&[command]).output();
        assert_eq!((code, stdout.as_str()), (65, ""), "{log}");
        assert!(log.contains(said), "{log}");
        assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    }
    assert!(fs::read(&file).unwrap() == before, "left byte for byte as it was");
}

#[test]
fn a_state_of_a_newer_version_is_refused_and_left_alone() {
    let scene = Scene::new();
    used(&scene);
    let connection = Connection::open(scene.dir().join("state/state.db")).unwrap();
    connection.execute_batch("PRAGMA user_version = 4; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    connection.close().unwrap();
    refuses(&scene, "state.db was written by a newer joltsms-relay (state format 4, this version knows up to 3)");
}

/// Takes over state files that killed relays of earlier versions left. `crm` has 14 messages, which `later` is to get
/// in an hour and which `dead` never got. An open gap holds 10 more messages. From format 2 on there is `held`, which
/// is paused and got no message. `tests/fixtures/README.md` says how these files were made.
#[test]
fn a_state_of_each_earlier_format_is_taken_over() {
    for format in [1, 2] {
        let scene = Scene::new();
        fs::create_dir(scene.dir().join("state")).unwrap();
        let file = scene.dir().join("state/state.db");
        fs::copy(format!("tests/fixtures/state-{format}.db"), &file).unwrap();
        Connection::open(&file).unwrap().execute_batch("UPDATE delivery SET due = 1 WHERE due IS NOT NULL").unwrap();
        // An older message lets the relay see at once where the gap ends.
        scene.handle().add(NewMessage::new().id("older").received_at("2026-11-20T08:00:00Z".parse().unwrap()));
        let receivers = [(); 4].map(|()| Receiver::in_background());
        let [crm, later, dead, held] = &receivers;
        let mut setup = scene.setup().args(&["--accept-account-change"]).sink(&crm.url());
        let others = [("LATER", later), ("DEAD", dead), ("HELD", held)];
        for (name, receiver) in others.into_iter().take(if format == 1 { 2 } else { 3 }) {
            setup =
                setup.set(&format!("SINKS__{name}__TYPE"), "http").set(&format!("SINKS__{name}__URL"), &receiver.url());
        }
        let mut relay = setup.start();
        for (receiver, count) in [(later, 25), (crm, 11), (dead, 11)] {
            receiver.wait(count, &relay);
        }
        relay.wait_for_log(&format!("the state is brought to the format of this version from={format}"));
        if format == 2 {
            assert_eq!(held.count(), 0, "it is paused:\n{}", relay.log());
            let (code, _, said) = scene.setup().args(&["sinks", "resume", "held"]).output();
            assert_eq!(code, 0, "{said}");
            held.wait(25, &relay);
        }
        assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
        let expected = [11, 25, 11, if format == 1 { 0 } else { 25 }];
        assert_eq!(receivers.map(|receiver| receiver.count()), expected, "each once; the log:\n{}", relay.log());
        assert_eq!(scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'"), 14, "dead letters are kept");
    }
}

#[test]
fn a_damaged_state_is_refused_and_left_alone() {
    let half = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    };
    let holes = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..64].fill(0xa5);
        }
        fs::write(file, bytes).unwrap();
    };
    let foreign = |file: &Path| {
        fs::remove_file(file).unwrap();
        Connection::open(file).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    };
    let cases: [(&str, (Damage, &str)); 6] = [
        ("empty", (|file| fs::write(file, "").unwrap(), "it is cut off before its header ends")),
        ("seven bytes", (|file| fs::write(file, "SQLite ").unwrap(), "it is cut off before its header ends")),
        ("garbage", (|file| fs::write(file, [b'x'; 9000]).unwrap(), "it is not a SQLite database")),
        ("half of it", (half, "is damaged")),
        ("holes", (holes, "is damaged")),
        ("another program's", (foreign, "it is a database, but not one of joltsms-relay")),
    ];
    side_by_side(&cases, |(damage, said)| {
        let scene = Scene::new();
        used(&scene);
        damage(&scene.dir().join("state/state.db"));
        refuses(&scene, said);
        refuses(&scene, "it was left as it is");
    });
}

/// Returns a relay that was killed, whose last changes are in its journal only.
fn killed(scene: &Scene) {
    scene.add_past(25);
    let mut relay = scene.setup_from_beginning().start();
    relay.ids(25);
    scene.wait_until(|_| scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 25);
    relay.kill();
    assert!(fs::metadata(scene.dir().join("state/state.db-wal")).unwrap().len() > 0);
}

#[test]
fn a_journal_that_lost_its_end_is_refused_and_left_alone() {
    let scene = Scene::new();
    killed(&scene);
    let journal = scene.dir().join("state/state.db-wal");
    let bytes = fs::read(&journal).unwrap();
    let cut = &bytes[..bytes.len() / 2 + 7];
    fs::write(&journal, cut).unwrap();
    refuses(&scene, "transactions are missing, as if its journal state.db-wal had been cut off");
    assert!(fs::read(&journal).unwrap() == cut, "left byte for byte as it was");
    // An operator may go on without the lost pages. The relay then reads the rows that the file has lost from the API
    // again.
    fs::remove_file(scene.dir().join("state/state.mark")).unwrap();
    let id = scene.add();
    let mut relay = scene.setup_from_beginning().start();
    let settled = "SELECT count(*) FROM delivery WHERE state = 'delivered'";
    wait_until("every message", || scene.count(settled) == 26, || relay.log());
    assert!(relay.stop().success());
    assert!(relay.rest().iter().any(|line| id_of(line) == id));
}

/// Flips one bit of a file, as a failing disk does.
fn change(file: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_state_that_was_changed_at_random_is_whole_or_refused() {
    let origin = Scene::new();
    killed(&origin);
    let expected = i64::try_from(origin.ids().len()).unwrap();
    let names: Vec<String> = (0..24).map(|case| format!("case {case}")).collect();
    let cases: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(0..24).collect();
    side_by_side(&cases, |case| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        for name in ["state.db", "state.db-wal", "state.mark"] {
            fs::copy(origin.dir().join("state").join(name), dir.path().join("state").join(name)).unwrap();
        }
        let damaged = dir.path().join("state").join(if case % 2 == 0 { "state.db" } else { "state.db-wal" });
        let length = usize::try_from(fs::metadata(&damaged).unwrap().len()).unwrap();
        // The damage is spread over the file, and is at another place in a page each time.
        change(&damaged, (length / 24 * case + 811 * case) % length, u8::try_from(case % 8).unwrap());
        let contents = || {
            ["state.db", "state.db-wal"].map(|name| fs::read(dir.path().join("state").join(name)).unwrap_or_default())
        };
        let before = contents();
        let (code, stdout, log) = Setup::new(origin.simulator(), dir.path()).args(&["once"]).output();
        assert_eq!(stdout, "", "everything was delivered before:\n{log}");
        if code == 65 {
            assert!(contents() == before, "refused, but changed:\n{log}");
            assert!(log.contains("state export"), "{log}");
        } else {
            assert_eq!(code, 0, "{log}");
            let connection = Connection::open(dir.path().join("state/state.db")).unwrap();
            let known: i64 = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
            assert_eq!(known, expected, "{log}");
        }
    });
}

#[test]
fn what_a_damaged_state_holds_can_be_exported() {
    let scene = Scene::new();
    used(&scene);
    let export = |arguments: &[&str]| {
        let (code, stdout, said) = scene.setup().args(&[&["state", "export"], arguments].concat()).output();
        let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (code, lines, said)
    };
    let (code, whole, said) = export(&[]);
    assert_eq!((code, whole.len()), (0, 12), "{said}");
    assert!(said.contains("saved 12 messages: all that have a text"), "{said}");
    assert_eq!(whole[0]["message"]["id"], whole[0]["id"]);
    let delivery = &whole[0]["deliveries"][0];
    assert_eq!(
        (&delivery["sink"], &delivery["state"], &delivery["attempts"]),
        (&"stdout".into(), &"delivered".into(), &1.into())
    );

    // The export goes to a file of its own, which a second export does not overwrite.
    let output = scene.dir().join("saved.jsonl");
    let to_file = ["--output", output.to_str().unwrap()];
    assert_eq!(export(&to_file).0, 0);
    assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 12);
    let (code, _, said) = export(&to_file);
    assert!(code == 1 && said.contains("File exists"), "{code} {said}");

    // The first page is gone, without which SQLite finds nothing.
    let file = scene.dir().join("state/state.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..4096].fill(0);
    fs::write(&file, &bytes).unwrap();
    let (code, saved, said) = export(&[]);
    assert_eq!((code, saved.len()), (1, 12), "{said}");
    assert!(said.contains("it is not a SQLite database") && fs::read(&file).unwrap() == bytes, "{said}");
    let sorted = |mut lines: Vec<serde_json::Value>| {
        lines.sort_by_key(|line| line["seq"].as_i64());
        lines
    };
    assert_eq!(sorted(saved), sorted(whole), "and still everything was found");
    let (code, lines, said) = scene.setup().set("STATE__DIR", "/nowhere").args(&["state", "export"]).output();
    assert!(code == 1 && lines.is_empty() && said.contains("there is no state in /nowhere"), "{code} {said}");
    let nothing = scene.dir().join("nothing.jsonl");
    let to_file = ["state", "export", "--output", nothing.to_str().unwrap()];
    assert_eq!(scene.setup().set("STATE__DIR", "/nowhere").args(&to_file).output().0, 1);
    assert!(!nothing.exists(), "and no file");
}

#[test]
fn a_state_that_is_gone_but_for_its_journal_is_refused() {
    let scene = Scene::new();
    killed(&scene);
    fs::remove_file(scene.dir().join("state/state.db")).unwrap();
    let (code, stdout, log) = scene.setup_from_beginning().output();
    assert_eq!((code, stdout.as_str()), (65, ""), "{log}");
    assert!(log.contains("it is gone, but its journal state.db-wal is there"), "{log}");
    assert!(!scene.dir().join("state/state.db").exists(), "nothing was made in its place");
}

#[test]
fn a_directory_that_cannot_be_written_to_is_said() {
    let cases: [(&str, Text); 3] = [
        ("below a file", |scene| {
            fs::write(scene.dir().join("file"), "").unwrap();
            scene.dir().join("file/state").display().to_string()
        }),
        ("a file", |scene| {
            fs::write(scene.dir().join("file"), "").unwrap();
            scene.dir().join("file").display().to_string()
        }),
        // No user, not even root, can make a file there.
        ("not allowed", |_| "/dev/null/state".to_owned()),
    ];
    side_by_side(&cases, |dir| {
        let scene = Scene::new();
        let dir = dir(&scene);
        let (code, stdout, log) = scene.setup().set("STATE__DIR", &dir).output();
        assert_eq!((code, stdout.as_str()), (1, ""), "{log}");
        assert!(log.contains(&format!("ERROR cannot create the state directory {dir}: ")), "{log}");
        assert_eq!(scene.handle().counters().requests, 0, "nothing was asked");
    });
}

#[test]
fn files_that_only_help_are_made_again() {
    let cases: [(&str, Damage); 3] = [
        ("the budget is gone", |dir| fs::remove_file(dir.join("budget.ring")).unwrap()),
        ("the budget is garbage", |dir| fs::write(dir.join("budget.ring"), "what was that?").unwrap()),
        ("drafts lie about", |dir| {
            fs::write(dir.join("budget.ring.new"), "x").unwrap();
            fs::write(dir.join("state.db.new"), "x").unwrap();
        }),
    ];
    side_by_side(&cases, |damage| {
        let scene = Scene::new();
        used(&scene);
        damage(&scene.dir().join("state"));
        let id = scene.add();
        let relay = scene.setup().start();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}

#[test]
fn a_start_that_is_edited_later_is_said_and_ignored() {
    let scene = Scene::new();
    scene.add_past(12);
    let mut relay = scene.setup().start();
    relay.wait_for_log("older_messages=12");
    assert!(relay.stop().success());
    let relay = scene.setup().set("POLL__START", "beginning").start();
    relay.wait_for_log("poll.start only counts on a first run and is ignored now poll.start=\"beginning\"");
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
    let mut relay = scene.setup().start();
    relay.wait_for_log("resuming where the state left off");
    scene.wait_until(|handle| handle.requests().len() > 20);
    assert!(!relay.log().contains("only counts on a first run"), "nothing was edited:\n{}", relay.log());
    assert!(relay.stop().success());
}

#[test]
fn a_first_run_begins_where_it_is_told() {
    let an_hour_ago = |scene: &Scene| (scene.handle().now() - SignedDuration::from_hours(1)).to_string();
    let cases: [(&str, (Text, usize)); 4] = [
        ("now", (|_| "now".to_owned(), 0)),
        ("the beginning", (|_| "beginning".to_owned(), 24)),
        ("a duration back", (|_| "1h".to_owned(), 12)),
        ("a time", (an_hour_ago, 12)),
    ];
    side_by_side(&cases, |(start, count)| {
        let scene = Scene::new();
        let long_ago = scene.handle().now() - SignedDuration::from_hours(2);
        scene.handle().add_many((0..12).map(|_| NewMessage::new().received_at(long_ago).ingested_at(long_ago)));
        scene.add_past(12);
        let mut expected = scene.ids().split_off(24 - count);
        expected.sort_unstable();
        let relay = scene.setup().set("POLL__START", &start(&scene)).start();
        let mut arrived = relay.ids(*count);
        arrived.sort_unstable();
        assert_eq!(arrived, expected);
        relay.wait_for_log("relaying ");
        let id = scene.add();
        assert_eq!(relay.ids(1), [id]);
        ends_with_nothing_more(relay);
    });
}
