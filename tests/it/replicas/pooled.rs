//! PgBouncer in transaction mode between the relays and the server.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::failover::{kill_under_load, stand_still};
use super::group::Group;
use super::limit::{Plan, hold_the_limit};
use super::operation::{PAUSED, RESUMED, command, start_working};
use super::rounds;
use crate::support::prerequisites::{program, skip};
use crate::support::waiting::wait_within;

/// A PgBouncer that ends with the test.
struct Pooler {
    process: Child,
}

impl Pooler {
    /// Starts a PgBouncer in front of a group's server. Returns the address by which relays reach it.
    fn start(group: &Group) -> Option<(Self, String)> {
        Self::start_with(group, "")
    }

    /// Does what [`Self::start`] does, with a further line of configuration.
    fn start_with(group: &Group, line: &str) -> Option<(Self, String)> {
        let Some(pgbouncer) = program("pgbouncer") else {
            skip("pgbouncer is not installed");
            return None;
        };
        let dir = group.server.dir();
        let file = dir.join("pgbouncer.ini");
        let text = format!(
            "[databases]\npostgres = host={0} user=relay dbname=postgres\n[pgbouncer]\nlisten_port = 6432\n\
             unix_socket_dir = {0}\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n\
             default_pool_size = 10\nlogfile = {0}/pgbouncer.log\n{line}\n",
            dir.display()
        );
        std::fs::write(&file, text).unwrap();
        // PgBouncer refuses to run as root, as the server does.
        let as_root = rustix::process::geteuid().is_root();
        let mut command = Command::new(if as_root { "setpriv".into() } else { pgbouncer.clone() });
        if as_root {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(&pgbouncer);
        }
        let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let socket = dir.join(".s.PGSQL.6432");
        wait_within(Duration::from_secs(30), "PgBouncer", || socket.exists(), || format!("{}", file.display()));
        Some((Self { process }, format!("host={} port=6432 user=relay dbname=postgres", dir.display())))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn relays_fail_over_behind_a_pooler() {
    let Some(group) = Group::new() else { return };
    let Some((_pooler, url)) = Pooler::start(&group) else { return };
    kill_under_load(group.through(&url), rounds(1));
}

/// A pooler refuses the parameter that marks a session, or leaves it out. Both times the polls replace the hints, and no
/// session of the pooler asks for notifications, which other clients of the pooler would get.
#[test]
fn relays_go_on_without_notifications_behind_a_pooler() {
    for line in ["", "ignore_startup_parameters = options"] {
        let Some(group) = Group::new() else { return };
        group.server.log_statements();
        let Some((_pooler, url)) = Pooler::start_with(&group, line) else { return };
        let mut group = group.through(&url);
        let active = start_working(&mut group);
        let standby = group.start();
        group.relay(standby).wait_for_log("stands by until it is the active one");
        assert_eq!(command(&group, 7, &["sinks", "pause", "crm"]).0, 0);
        group.relay(active).wait_for_log(PAUSED);
        assert_eq!(command(&group, 7, &["sinks", "resume", "crm"]).0, 0);
        group.relay(active).wait_for_log(RESUMED);
        assert!(group.relays.remove(&active).unwrap().stop().success());
        group.wait_for_active();
        group.scene.add();
        group.wait_for_all();
        let log = group.server.log();
        assert!(log.contains("NOTIFY") && !log.contains("LISTEN"), "{line}");
    }
}

#[test]
fn a_relay_that_stood_still_does_nothing_behind_a_pooler() {
    let Some(group) = Group::new() else { return };
    let Some((_pooler, url)) = Pooler::start(&group) else { return };
    stand_still(group.through(&url), rounds(1));
}

#[test]
fn the_request_limit_holds_behind_a_pooler() {
    let plan = Plan::chosen();
    let Some(group) = plan.group() else { return };
    let Some((_pooler, url)) = Pooler::start(&group) else { return };
    hold_the_limit(group.through(&url), &plan);
}
