//! Tests of other processes that keep the state open: a pager that nobody closes, another program that reads or locks the
//! state, a command that takes long. A running relay waits for no reader. Only a start waits, for a command that holds the
//! role.

use std::io::Read as _;
use std::process::{Child, Stdio};

use joltsms_simulator::NewMessage;
use rusqlite::Connection;

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

/// A command whose output nobody reads after its first byte.
struct Pager(Child);

impl Pager {
    fn open(scene: &Scene, arguments: &[&str]) -> Self {
        let mut command = Setup::bare(scene.dir()).args(arguments).into_command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn is_open(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn state(scene: &Scene) -> Connection {
    Connection::open(scene.dir().join("state/state.db")).unwrap()
}

/// Whether no process reads the state, so that SQLite can empty its journal.
fn is_nobody_reading(scene: &Scene) -> bool {
    state(scene).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap() == 0
}

fn receives(receiver: &Receiver, relay: &Relay, count: usize) {
    wait_until("the messages", || receiver.count() >= count, || relay.log());
}

#[test]
fn a_command_that_nobody_reads_holds_neither_the_state_nor_the_role() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(422);
    let now = scene.handle().now();
    let messages = (0..900).map(|_| NewMessage::new().received_at(now).ingested_at(now).body("x".repeat(200)));
    scene.handle().add_many(messages);
    let setup = || scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__CRM__REJECT_STATUS", "422");
    let mut relay = setup().start();
    receiver.wait(1, &relay);
    wait_until(
        "the dead letters",
        || scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'") == 900,
        || relay.log(),
    );
    assert!(relay.stop().success());
    receiver.answer_with(200);
    let commands: [(&str, &[&str]); 4] = [
        ("list", &["dead-letters", "list"]),
        ("list --json", &["dead-letters", "list", "--json"]),
        ("show", &["dead-letters", "show", "--sink", "crm"]),
        ("export", &["state", "export"]),
    ];
    for (name, arguments) in commands {
        let before = receiver.count();
        let mut pager = Pager::open(&scene, arguments);
        scene.add();
        let mut relay = setup().start();
        receives(&receiver, &relay, before + 1);
        wait_until("the end of reading", || is_nobody_reading(&scene), || format!("{name}\n{}", relay.log()));
        // The command runs beside a relay.
        let mut beside = Pager::open(&scene, arguments);
        scene.add();
        receives(&receiver, &relay, before + 2);
        wait_until("the end of reading", || is_nobody_reading(&scene), || format!("{name}\n{}", relay.log()));
        assert!(pager.is_open() && beside.is_open(), "{name} had more to say than a pipe takes");
        assert_eq!(relay.stop().code(), Some(0), "{name}:\n{}", relay.log());
    }
}

#[test]
fn a_start_waits_for_a_command_that_takes_long() {
    let scene = Scene::new();
    assert_eq!(scene.setup_from_beginning().args(&["once"]).output().0, 0);
    // This is the lock that `state export` holds while it checks a large state.
    let role = std::fs::File::open(scene.dir().join("state/relay.lock")).unwrap();
    role.lock_shared().unwrap();
    let id = scene.add();
    let relay = scene.setup_from_beginning().start();
    relay.wait_for_log("INFO waiting for a command that reads the state");
    drop(role);
    assert_eq!(relay.ids(1), [id]);
    ends_with_nothing_more(relay);
}

/// The relay cannot end another program that reads. The journal grows, and nothing else happens.
#[test]
fn a_program_that_holds_the_state_open_stops_neither_a_start_nor_polling() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let mut setup = scene
        .setup_from_beginning()
        .sink(&receiver.url())
        .set("STATE__MAX_SIZE", "16MiB")
        .set("STATE__KEEP_DELIVERED", "0s")
        .set("POLL__INTERVAL", "100ms");
    let first = scene.add();
    let mut relay = setup.start();
    receiver.wait(1, &relay);
    assert_eq!(receiver.webhook_ids(), [first]);
    assert!(relay.stop().success());
    let reader = state(&scene);
    let read = "BEGIN; SELECT count(*) FROM message;";
    reader.execute_batch(read).unwrap();
    let relay = setup.start();
    let journal = || std::fs::metadata(scene.dir().join("state/state.db-wal")).map_or(0, |found| found.len());
    let mut count = 1;
    // The journal grows beyond `state.max_size`.
    while journal() < 20 << 20 {
        let now = scene.handle().now();
        scene.handle().add_many((0..100).map(|_| NewMessage::new().received_at(now).body("x".repeat(2000))));
        count += 100;
        receives(&receiver, &relay, count);
    }
    relay.wait_for_log(
        "WARN another program holds the state open for reading: the state's journal grows until that \
         program ends",
    );
    let status = || {
        let (_, status, _) = Setup::bare(scene.dir()).args(&["status", "--json"]).output();
        serde_json::from_str::<serde_json::Value>(&status).unwrap()
    };
    let held = || status()["state"]["journal_held_bytes"].as_u64();
    wait_until("the word of it", || held().is_some_and(|held| held > 8 << 20), || format!("{:#}", status()));
    assert!(status()["healthy"] == true, "{:#}", status());
    let (_, text, _) = Setup::bare(scene.dir()).args(&["status"]).output();
    assert!(text.contains("another program holds the state open for reading"), "{text}");
    assert!(!relay.log().contains("polling stops"), "{}", relay.log());
    drop(reader);
    relay.wait_for_log("INFO no other program holds the state open any more: the state's journal was emptied");
    assert!(journal() < 8 << 20);
    assert_eq!(receiver.count(), count, "each once");
    ends_with_nothing_more(relay);
}

#[test]
fn a_state_that_another_program_has_locked_is_a_matter_of_time() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let setup = || scene.setup_from_beginning().sink(&receiver.url());
    assert_eq!(setup().args(&["once"]).output().0, 0);
    let holder = state(&scene);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = "the state is locked by another program, such as joltsms-relay state export, a sqlite3 shell or a \
                backup: let it end, and try again";
    let cases: [(&str, &[&str]); 3] =
        [("pause", &["sinks", "pause", "crm"]), ("once", &["once"]), ("rename", &["sinks", "rename", "crm", "desk"])];
    side_by_side(&cases, |arguments| {
        let (code, _, log) = setup().args(arguments).output();
        assert!(code == 75 && log.contains(said), "{code}\n{log}");
    });
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(setup().args(&["sinks", "pause", "crm"]).output().0, 0);
}
