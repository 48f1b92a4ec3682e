//! The scene with which most tests begin: a simulated API, and a relay that polls the API often.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use joltsms_simulator::{Handle, NewMessage, Options, Simulator, Switches};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::relay::setup::program;
use super::relay::{Relay, Setup};
use super::waiting::DEADLINE;

/// A simulator, and a directory for the relay's state.
#[derive(Debug)]
pub(crate) struct Scene {
    simulator: Simulator,
    dir: TempDir,
    last: AtomicI64,
}

impl Scene {
    /// Makes a scene whose API has a limit that no test reaches.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Makes a scene with a limit that no test reaches, and with changed switches.
    pub(crate) fn with(change: impl FnOnce(&mut Switches)) -> Self {
        let mut options = Options::default();
        options.switches.limit = 100_000;
        change(&mut options.switches);
        Self::of(options)
    }

    /// Makes a scene with any simulator.
    pub(crate) fn of(options: Options) -> Self {
        let simulator = Simulator::start_in_background(options).unwrap();
        Self { simulator, dir: tempfile::tempdir().unwrap(), last: AtomicI64::new(0) }
    }

    /// Returns the handle that changes and observes the API.
    pub(crate) fn handle(&self) -> Handle {
        self.simulator.handle()
    }

    /// Returns the simulated API.
    pub(crate) fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Returns the directory of this test. The state lies below it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a relay to stdout that polls often, with a budget that no test reaches.
    pub(crate) fn setup(&self) -> Setup {
        Setup::new(&self.simulator, self.dir.path())
            .set("POLL__INTERVAL", "150ms")
            .set("API__REQUESTS_PER_MINUTE", "10000")
    }

    /// Returns the relay of [`Scene::setup`], which begins with the oldest message of the account.
    pub(crate) fn setup_from_beginning(&self) -> Setup {
        self.setup().set("POLL__START", "beginning")
    }

    /// Copies the program into the scene's directory, for a user who cannot reach the original. Returns the copy's path.
    ///
    /// Another process writes the copy: a file that this process has open for writing may be inherited by the child of
    /// another test, and cannot be run as long as that child has it ("Text file busy").
    pub(crate) fn copy_of_program(&self) -> PathBuf {
        let copy = self.dir.path().join("joltsms-relay");
        let status = Command::new("cp").arg(program()).arg(&copy).status().unwrap();
        assert!(status.success(), "the program was not copied");
        copy
    }

    /// Writes a configuration file. Returns its path.
    pub(crate) fn file(&self, text: &str) -> String {
        let path = self.dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Adds messages of the last minutes, a second apart, as if they had been there before the relay.
    pub(crate) fn add_past(&self, count: i64) {
        let now = self.handle().now();
        let times = (1..=count).rev().map(|ago| now - jiff::SignedDuration::from_secs(ago));
        self.handle().add_many(times.map(|time| NewMessage::new().received_at(time).ingested_at(time)));
    }

    /// Adds a message that arrives now. No other message has the same time. Returns the message's id.
    pub(crate) fn add(&self) -> String {
        let now = self.handle().now().as_millisecond();
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        let time = Timestamp::from_millisecond(now.max(last.unwrap() + 1)).unwrap();
        self.handle().add(NewMessage::new().received_at(time))
    }

    /// Returns the ids of all messages in the list, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.handle().rows().into_iter().rev().map(|row| row.id).collect()
    }

    /// Waits until a condition of the API holds.
    pub(crate) fn wait_until(&self, condition: impl FnMut(&Handle) -> bool) {
        self.handle().wait_until_blocking(DEADLINE, condition).unwrap();
    }

    /// Waits until the API got this many more requests.
    pub(crate) fn wait_for_polls(&self, times: usize) {
        let before = self.handle().requests().len();
        self.wait_until(|handle| handle.requests().len() >= before + times);
    }

    /// Waits until a fault has acted this often.
    pub(crate) fn wait_for_fault(&self, fault: u64, times: u64) {
        let acted =
            |handle: &Handle| handle.faults().into_iter().any(|(number, _, acted)| number == fault && acted >= times);
        self.wait_until(acted);
    }

    /// Opens the state for reading. A relay may be running.
    pub(crate) fn state(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.dir.path().join("state/state.db"), flags).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// Returns the number that a query of the state returns.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.state().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// Stops the relay, and checks that it wrote no further line to stdout.
pub(crate) fn ends_with_nothing_more(mut relay: Relay) {
    let status = relay.stop();
    assert_eq!(status.code(), Some(0), "{}", relay.log());
    assert_eq!(relay.rest(), Vec::<String>::new(), "each once; the log:\n{}", relay.log());
}
