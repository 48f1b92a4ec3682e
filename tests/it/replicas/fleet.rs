//! Many accounts with two relays each on one server, and the end of one of the two machines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use joltsms_simulator::Options;

use super::group::{Group, NOT_ACTIVE, server};
use super::{number_of, tell};
use crate::support::postgres::PostgresServer;
use crate::support::processes::{own_memory, own_memory_with_children, processor, processor_with_children};
use crate::support::relay::Relay;
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::{now, wait_within};

/// How long all relays together may take to begin, and to deliver the last messages.
const PATIENCE: Duration = Duration::from_secs(300);

/// The limit of the API of each account.
const LIMIT: u32 = 120;

#[test]
fn accounts_on_one_server_survive_the_end_of_a_machine() {
    let accounts = number_of("JOLTSMS_RELAY_FLEET_ACCOUNTS").unwrap_or(2);
    let seconds = number_of("JOLTSMS_RELAY_FLEET_SECONDS").unwrap_or(6);
    let Some(server) = server().map(Arc::new) else { return };
    let mut fleet: Vec<Group> = (0..accounts).map(|number| account(number, &server)).collect();
    for group in &mut fleet {
        group.start_several(1);
    }
    for group in &mut fleet {
        let standby = group.start();
        group.relay(standby).wait_for_log("stands by until it is the active one");
    }

    let began = now();
    let before = Spent::so_far(&fleet, &server);
    traffic(&fleet, began, 0..seconds / 2);
    let steady = Spent::so_far(&fleet, &server).since(&before);
    let steady_for = began.elapsed();
    let connections = server.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'joltsms-relay'");
    let (relays, database) = (ids(&fleet).map(own_memory).sum::<u64>(), own_memory_with_children(server.process_id()));

    let lost_before = lost_leases(&fleet);
    keep_logs(&fleet, "before-the-kill");

    // The first relay of each account was on one machine.
    for group in &mut fleet {
        group.relay(0).signal("KILL");
    }
    let killed = now();
    for group in &mut fleet {
        group.kill(0);
    }
    let lost_by_the_rest = lost_leases(&fleet);
    traffic(&fleet, began, seconds / 2..seconds);
    let lasted = began.elapsed();
    for group in &fleet {
        let has_all = group.after_requests(|| group.missing().is_empty());
        wait_within(PATIENCE, "all messages", has_all, || {
            keep_logs(&fleet, "failed");
            trouble(&fleet)
        });
    }
    keep_logs(&fleet, "at-the-end");
    let lost_after = lost_leases(&fleet) - lost_by_the_rest;
    let mut failovers: Vec<Duration> = fleet.iter().map(|group| first_after(group, killed) - killed).collect();
    failovers.sort_unstable();
    let (median, worst) = (failovers[accounts / 2], failovers[accounts - 1]);
    let messages: usize = fleet.iter().map(|group| group.scene.ids().len()).sum();
    let repeats: usize = fleet.iter().map(Group::repeats).sum();
    let relays = relays / (2 * u64::try_from(accounts).unwrap());
    let cores = |time: Duration| time.as_secs_f64() / steady_for.as_secs_f64();
    tell(&format!(
        "{accounts} accounts with two relays each, a message a second each for {lasted:.0?}, half of the relays killed in \
         the middle: {messages} messages, 0 lost, {repeats} repeated; failover median {median:.1?}, worst {worst:.1?}; \
         memory {} MiB a relay, {} MiB the server; processors in use before the kill: {:.2} by the relays, {:.2} by the \
         server, {:.2} by API and receiver; {} connections; leases lost without a kill: {lost_before} before the kill, \
         {lost_after} after it",
        relays >> 20,
        database >> 20,
        cores(steady.relays),
        cores(steady.server),
        cores(steady.own),
        connections[0]
    ));
}

/// Makes the group of an account, whose limit and poll interval are those of a real account.
fn account(number: usize, server: &Arc<PostgresServer>) -> Group {
    // Each account has ids of its own.
    let mut options = Options { seed: u64::try_from(number).unwrap() + 1, ..Options::default() };
    options.switches.limit = LIMIT;
    let group = Group::on(Scene::of(options), Receiver::in_background(), Arc::clone(server));
    let group = group.set("STATE__NAMESPACE", &format!("account_{number}"));
    group.set("POLL__INTERVAL", "1s").set("API__REQUESTS_PER_MINUTE", &LIMIT.to_string())
}

/// Counts how often relays that run lost a lease.
fn lost_leases(fleet: &[Group]) -> usize {
    fleet.iter().map(|group| group.logs().matches(NOT_ACTIVE).count()).sum()
}

/// Describes the accounts whose receiver lacks messages.
fn trouble(fleet: &[Group]) -> String {
    let describe = |(number, group): (usize, &Group)| {
        let missing = group.missing().len();
        (missing > 0).then(|| format!("account {number}: {missing} missing\n{}", group.logs()))
    };
    fleet.iter().enumerate().filter_map(describe).collect()
}

/// Writes the logs of all relays that run into the directory that `JOLTSMS_RELAY_FLEET_LOGS` names, if it is set.
fn keep_logs(fleet: &[Group], when: &str) {
    let Some(dir) = std::env::var_os("JOLTSMS_RELAY_FLEET_LOGS").map(PathBuf::from) else { return };
    for (number, group) in fleet.iter().enumerate() {
        std::fs::write(dir.join(format!("{number:03}-{when}.log")), group.logs()).unwrap();
    }
}

/// Adds a message to each account every second.
fn traffic(fleet: &[Group], began: Instant, seconds: std::ops::Range<usize>) {
    for second in seconds {
        let at = began + Duration::from_secs(u64::try_from(second).unwrap());
        wait_within(PATIENCE, "the next second", || now() >= at, String::new);
        for group in fleet {
            group.scene.add();
        }
    }
}

/// Returns when the receiver of an account first got a request after this instant.
fn first_after(group: &Group, instant: Instant) -> Instant {
    group.receiver.received().iter().map(|request| request.at).find(|at| *at > instant).unwrap()
}

fn ids(fleet: &[Group]) -> impl Iterator<Item = u32> {
    fleet.iter().flat_map(|group| group.relays.values().map(Relay::id))
}

/// The processor time of all processes.
struct Spent {
    relays: Duration,
    server: Duration,
    /// The time of the process of the test, which has the APIs and the receivers.
    own: Duration,
}

impl Spent {
    fn so_far(fleet: &[Group], server: &PostgresServer) -> Self {
        Self {
            relays: ids(fleet).map(processor).sum(),
            server: processor_with_children(server.process_id()),
            own: processor(std::process::id()),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self { relays: self.relays - before.relays, server: self.server - before.server, own: self.own - before.own }
    }
}
