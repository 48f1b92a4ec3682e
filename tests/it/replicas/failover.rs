//! The active relay dies, stands still or is stopped, and another one takes over.

use std::time::Duration;

use super::group::Group;
use super::{rounds, tell};
use crate::support::servers::receiver::Reply;
use crate::support::waiting::now;

/// How many deliveries a relay has under way at most.
const IN_FLIGHT: usize = 8;

/// What a relay logs after it noticed that its time is over.
const AGAIN: &str = "this relay stands by again";

/// The longest failover that is promised.
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
        group.wait_for_message(&marker);
        let failover = now() - killed;
        if failover > PROMISED {
            tell(&format!("a failover that took {failover:.1?}:\n{}", group.logs()));
        }
        failovers.push(failover);
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

/// Makes the database remember which epoch each checked write and request had, and say in its log which epoch it refused.
const RECORD_CHECKS: &str = "
SET search_path TO joltsms_relay;
CREATE TABLE checked (epoch BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL);
ALTER FUNCTION check_lease(BIGINT) RENAME TO check_lease_only;
CREATE FUNCTION check_lease(own BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_lease_only(own);
    INSERT INTO checked VALUES (own, clock_timestamp());
EXCEPTION WHEN SQLSTATE 'JR001' THEN
    RAISE LOG 'refused epoch %', own;
    RAISE;
END
$$";

/// Counts the writes and requests that were made after the first one of a later epoch.
const LATE: &str = "WITH begun AS (SELECT epoch, min(at) AS at FROM checked GROUP BY epoch)
    SELECT count(*) FROM checked JOIN begun ON begun.epoch > checked.epoch AND begun.at < checked.at";

/// The active relay stands still past its lease, in the middle of deliveries, and goes on when another relay is active.
pub(super) fn stand_still(mut group: Group, rounds: usize) {
    group.receiver.reply(|_| Reply { delay: Duration::from_millis(20), ..Reply::status(200) });
    group.start_several(2);
    group.server.query(RECORD_CHECKS);
    for _ in 0..rounds {
        let active = group.wait_for_active();
        let before = group.receiver.count();
        for _ in 0..40 {
            group.scene.add();
        }
        group.wait_for_count(before + 10);
        group.relay(active).signal("STOP");
        let next = group.wait_for_active_but(&[active]);
        for _ in 0..20 {
            group.scene.add();
        }
        let stood_by = group.relay(active).log().matches(AGAIN).count();
        group.relay(active).signal("CONT");
        group.relay(active).wait_for_log_times(AGAIN, stood_by + 1);
        group.wait_for_all();
        assert_eq!(group.number(LATE), 0, "writes and requests under a lease that had ended");
        assert_eq!(group.active(), Some(next));
    }
    let refused = group.server.log().matches("refused epoch").count();
    let (checked, repeats) = (group.number("SELECT count(*) FROM checked"), group.repeats());
    assert!(repeats <= rounds * IN_FLIGHT, "{repeats} repeats");
    tell(&format!(
        "{rounds} active relays stood still past their leases, {} messages: 0 lost, {repeats} repeated; of {checked} writes \
         and requests 0 after a later epoch had begun; the database refused {refused} by their epoch",
        group.scene.ids().len()
    ));
}

#[test]
fn a_relay_that_stood_still_does_nothing_after_another_one_took_over() {
    let Some(group) = Group::new() else { return };
    stand_still(group, rounds(1));
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
