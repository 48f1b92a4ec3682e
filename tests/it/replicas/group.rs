//! The scene of these tests: an API, a receiver, a database, and relays that share a state in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use joltsms_simulator::Switches;

use super::tell;
use crate::support::postgres::PostgresServer;
use crate::support::prerequisites::skip;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::{wait_for_value, wait_within};

/// What a relay logs when it becomes the active one, and when it is not any more.
pub(super) const ACTIVE: &str = "this relay is the active one now";
pub(super) const NOT_ACTIVE: &str = "this relay is not the active one any more";

/// How long a failover may take in a test on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Relays that share a state.
pub(super) struct Group {
    pub(super) scene: Scene,
    pub(super) receiver: Receiver,
    pub(super) server: Arc<PostgresServer>,
    /// The address of the database, as the relays know it.
    url: String,
    /// Further settings of each relay.
    settings: Vec<(String, String)>,
    pub(super) relays: BTreeMap<usize, Relay>,
    next: usize,
}

impl Group {
    /// Makes a group without relays. Returns `None`, and reports that the test is skipped, if something is missing.
    pub(super) fn new() -> Option<Self> {
        Self::with(|_| {})
    }

    /// Makes a group on an API with changed switches.
    pub(super) fn with(change: impl FnOnce(&mut Switches)) -> Option<Self> {
        let server = server()?;
        Some(Self::on(Scene::with(change), Receiver::in_background(), Arc::new(server)))
    }

    /// Makes a group without relays on a server that other groups may share.
    pub(super) fn on(scene: Scene, receiver: Receiver, server: Arc<PostgresServer>) -> Self {
        let (url, settings) = (server.url(), Vec::new());
        Self { scene, receiver, server, url, settings, relays: BTreeMap::new(), next: 0 }
    }

    /// Makes the relays reach the database by another address.
    pub(super) fn through(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Gives each relay another setting.
    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Prepares a relay of the group, with a state directory of its own.
    pub(super) fn setup(&self, number: usize) -> Setup {
        let setup = self.scene.setup_from_beginning().sink(&self.receiver.url());
        let setup = setup.set("STATE__URL", &self.url).set("STATE__DIR", &self.dir(number).display().to_string());
        self.settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value))
    }

    /// Returns the address of the database as a URL.
    pub(super) fn url(&self) -> String {
        format!("postgresql://relay@{}/postgres", self.server.dir().display().to_string().replace('/', "%2F"))
    }

    /// Returns the state directory of a relay.
    pub(super) fn dir(&self, number: usize) -> PathBuf {
        self.scene.dir().join(format!("relay-{number}"))
    }

    /// Starts another relay. Returns its number.
    pub(super) fn start(&mut self) -> usize {
        let number = self.next;
        let relay = self.setup(number).start();
        self.adopt(relay)
    }

    /// Takes in a relay that was started by [`Self::setup`] with [`Self::next_number`].
    pub(super) fn adopt(&mut self, relay: Relay) -> usize {
        let number = self.next;
        self.next += 1;
        self.relays.insert(number, relay);
        number
    }

    /// Returns the number of the next relay.
    pub(super) fn next_number(&self) -> usize {
        self.next
    }

    /// Starts this many relays, and waits until one is active.
    pub(super) fn start_several(&mut self, count: usize) {
        for _ in 0..count {
            self.start();
        }
        self.wait_for_active();
    }

    /// Returns the relay that is active by its own word.
    pub(super) fn active(&self) -> Option<usize> {
        self.relays.iter().find(|(_, relay)| is_active(&relay.log())).map(|(number, _)| *number)
    }

    /// Waits until a relay is active, other than those that are listed. Returns its number.
    pub(super) fn wait_for_active_but(&self, others: &[usize]) -> usize {
        let found = || self.active_but(others);
        wait_within(PATIENCE, "an active relay", || found().is_some(), || self.logs());
        found().unwrap()
    }

    /// Waits until a relay is active. Returns its number.
    pub(super) fn wait_for_active(&self) -> usize {
        self.wait_for_active_but(&[])
    }

    fn active_but(&self, others: &[usize]) -> Option<usize> {
        let candidates = self.relays.iter().filter(|(number, _)| !others.contains(number));
        candidates.filter(|(_, relay)| is_active(&relay.log())).map(|(number, _)| *number).next()
    }

    /// Returns the relay with this number.
    pub(super) fn relay(&mut self, number: usize) -> &mut Relay {
        self.relays.get_mut(&number).unwrap()
    }

    /// Kills a relay with SIGKILL.
    pub(super) fn kill(&mut self, number: usize) {
        self.relays.remove(&number).unwrap().kill();
    }

    /// Waits until the receiver has all messages of the list. Returns how long that took.
    pub(super) fn wait_for_all(&self) -> Duration {
        self.wait_for_all_within(PATIENCE)
    }

    /// Does what [`Self::wait_for_all`] does, with a limit of its own.
    pub(super) fn wait_for_all_within(&self, limit: Duration) -> Duration {
        let log = || format!("{} missing\n{}", self.missing().len(), self.logs());
        wait_within(limit, "all messages", self.after_requests(|| self.missing().is_empty()), log)
    }

    /// Waits until nothing waits for a delivery, and every delivery is recorded.
    pub(super) fn wait_until_settled(&self) {
        let waiting = "SELECT count(*) FROM delivery WHERE state IN ('undecided', 'fresh', 'retry')";
        wait_within(PATIENCE, "the record of all deliveries", || self.number(waiting) == 0, || self.logs());
    }

    /// Waits until the receiver has accepted this message.
    pub(super) fn wait_for_message(&self, id: &str) {
        let has = || self.accepted().iter().any(|accepted| accepted == id);
        wait_within(PATIENCE, "a message", self.after_requests(has), || self.logs());
    }

    /// Returns a condition that looks only if the receiver got a request since the last look, because a look at many
    /// messages takes long.
    pub(super) fn after_requests(&self, condition: impl Fn() -> bool) -> impl FnMut() -> bool {
        let mut seen = None;
        move || {
            let count = Some(self.receiver.count());
            std::mem::replace(&mut seen, count) != count && condition()
        }
    }

    /// Waits until the receiver got this many requests.
    pub(super) fn wait_for_count(&self, count: usize) {
        wait_within(PATIENCE, "requests", || self.receiver.count() >= count, || self.logs());
    }

    /// Returns the messages of the list that the receiver does not have.
    pub(super) fn missing(&self) -> BTreeSet<String> {
        let received: BTreeSet<String> = self.accepted().into_iter().collect();
        self.scene.ids().into_iter().filter(|id| !received.contains(id)).collect()
    }

    /// Returns the `webhook-id` of every request that the receiver accepted.
    pub(super) fn accepted(&self) -> Vec<String> {
        let accepted = self.receiver.received().into_iter().filter(|request| request.status < 300);
        // Another program of this machine may ask at the port of a receiver that it knew before.
        let own = accepted.filter(|request| request.headers.contains_key("webhook-id"));
        own.map(|request| request.webhook_id().to_owned()).collect()
    }

    /// Returns how many requests the receiver accepted beyond one for each message.
    pub(super) fn repeats(&self) -> usize {
        let ids = self.accepted();
        let distinct: BTreeSet<&String> = ids.iter().collect();
        ids.len() - distinct.len()
    }

    /// Runs a statement in the schema of the state. Returns the number that is its result.
    pub(super) fn number(&self, sql: &str) -> i64 {
        let lines = self.server.query(&format!("SET search_path TO joltsms_relay; {sql}"));
        lines[0].parse().unwrap()
    }

    /// Waits until a relay logs a sentence after this time. Returns the time of the line.
    pub(super) fn wait_for_log_time(&self, number: usize, sentence: &str, after: Timestamp) -> Timestamp {
        let relay = &self.relays[&number];
        let time_of = |line: &str| line.split_whitespace().next()?.parse::<Timestamp>().ok();
        let found = || {
            let log = relay.log();
            log.lines().filter(|line| line.contains(sentence)).filter_map(time_of).find(|at| *at > after)
        };
        wait_for_value(sentence, found, || relay.log())
    }

    /// Returns the logs of all relays.
    pub(super) fn logs(&self) -> String {
        self.relays.iter().map(|(number, relay)| format!("relay {number}:\n{}\n", relay.log())).collect()
    }
}

/// Starts a server. Returns `None`, and reports that the test is skipped, if something is missing.
pub(super) fn server() -> Option<PostgresServer> {
    if !cfg!(feature = "replicas") {
        // In CI, `.ci/run replicas` runs these tests.
        tell("SKIPPED: this build lacks the feature `replicas`");
        return None;
    }
    let server = PostgresServer::of_one_test();
    if server.is_none() {
        skip("no PostgreSQL server is installed");
    }
    server
}

fn is_active(log: &str) -> bool {
    log.matches(ACTIVE).count() > log.matches(NOT_ACTIVE).count()
}
