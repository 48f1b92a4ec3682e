//! The active relay dies, stands still or is stopped, and another one takes over.

use std::time::{Duration, Instant};

use super::group::{Group, PATIENCE};
use super::{rounds, tell};
use crate::support::servers::receiver::Reply;
use crate::support::waiting::wait_within;

/// How many deliveries a relay has under way at most.
const IN_FLIGHT: usize = 8;

/// The lease of a relay, and the longest failover that is promised.
const PROMISED: Duration = Duration::from_secs(10);

/// Kills the active relay again and again while messages arrive. A new relay takes the place of each that was killed.
pub(super) fn kill_under_load(mut group: Group, rounds: usize) {
    group.receiver.reply(|_| Reply { delay: Duration::from_millis(20), ..Reply::status(200) });
    group.start_several(3);
    let mut failovers = Vec::new();
    for _ in 0..rounds {
        let active = group.wait_for_active();
        // Messages are under way when the relay dies.
        let before = group.receiver.count();
        for _ in 0..40 {
            group.scene.add();
        }
        group.wait_for_count(before + 10);
        group.kill(active);
        let killed = now();
        let marker = group.scene.add();
        let arrived = || !group.missing().contains(&marker);
        wait_within(PATIENCE, "a delivery by the next relay", arrived, || group.logs());
        failovers.push(now() - killed);
        group.start();
    }
    group.wait_for_all();
    let (repeats, messages) = (group.repeats(), group.scene.ids().len());
    assert!(repeats <= rounds * IN_FLIGHT, "{repeats} repeats after {rounds} kills");
    failovers.sort_unstable();
    let (median, worst) = (failovers[rounds / 2], failovers[rounds - 1]);
    tell(&format!(
        "{rounds} kills of the active relay, {messages} messages: 0 lost, {repeats} repeated; failover median \
         {median:.1?}, worst {worst:.1?} (promised: {PROMISED:?})"
    ));
}

#[test]
fn no_message_is_lost_when_the_active_relay_is_killed() {
    let Some(group) = Group::new() else { return };
    kill_under_load(group, rounds(2));
}

/// The active relay stands still past its lease, and goes on when another relay is active.
pub(super) fn stand_still(mut group: Group, rounds: usize) {
    group.start_several(2);
    let mut refused = 0;
    for _ in 0..rounds {
        let active = group.wait_for_active();
        let before = group.receiver.count();
        group.scene.add();
        group.wait_for_count(before + 1);
        group.relay(active).signal("STOP");
        let next = group.wait_for_active_but(&[active]);
        let epoch = group.number("SELECT epoch FROM lease");
        for _ in 0..20 {
            group.scene.add();
        }
        group.relay(active).signal("CONT");
        group.relay(active).wait_for_log("stands by again");
        group.wait_for_all();
        let late = group.number(&format!(
            "SELECT count(*) FROM request AS late WHERE late.epoch < {epoch} AND late.sent >
             (SELECT min(sent) FROM request WHERE epoch = {epoch})"
        ));
        assert_eq!(late, 0, "requests under a lease that had ended");
        refused += group.relay(active).log().matches("this relay is not the active one").count();
        assert_eq!(group.active(), Some(next));
    }
    assert_eq!((group.repeats(), group.missing().len()), (0, 0));
    tell(&format!(
        "{rounds} active relays stood still past their leases: 0 requests and 0 writes after; {refused} refusals"
    ));
}

#[test]
fn a_relay_that_stood_still_does_nothing_after_another_one_took_over() {
    let Some(group) = Group::new() else { return };
    stand_still(group, 1);
}

#[test]
fn a_relay_that_is_stopped_hands_over_at_once() {
    let Some(mut group) = Group::new() else { return };
    group.start_several(2);
    let active = group.wait_for_active();
    group.scene.add();
    group.wait_for_all();
    let mut relay = group.relays.remove(&active).unwrap();
    let stopped = now();
    assert!(relay.stop().success());
    let next = group.wait_for_active();
    tell(&format!("a clean stop: the next relay is active {:.1?} after the signal", now() - stopped));
    group.scene.add();
    group.wait_for_all();
    assert_eq!(group.repeats(), 0);
    // A relay that stands by ends, too, and takes nothing along.
    group.start();
    let standby = *group.relays.keys().find(|number| **number != next).unwrap();
    group.relay(standby).wait_for_log("stands by until it is the active one");
    assert!(group.relay(standby).stop().success());
    group.relays.remove(&standby);
    group.scene.add();
    group.wait_for_all();
    assert_eq!(group.active(), Some(next));
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}
