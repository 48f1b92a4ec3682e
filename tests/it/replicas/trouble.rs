//! Trouble with the database, and with the clocks of machines.

use std::time::Duration;

use super::group::Group;
use super::{rounds, tell};
use crate::support::machine::wrong_clock::WrongClock;
use crate::support::waiting::{now, wait_until};

#[test]
fn no_message_is_lost_when_the_database_server_crashes() {
    let Some(mut group) = Group::new() else { return };
    group.start_several(2);
    let rounds = rounds(2);
    for _ in 0..rounds {
        let before = group.receiver.count();
        for _ in 0..30 {
            group.scene.add();
        }
        group.wait_for_count(before + 5);
        group.server.crash();
        for _ in 0..10 {
            group.scene.add();
        }
        group.server.start_again();
        group.wait_for_all();
    }
    let (repeats, messages) = (group.repeats(), group.scene.ids().len());
    tell(&format!("{rounds} crashes of the database server, {messages} messages: 0 lost, {repeats} repeated"));
}

#[test]
fn no_message_is_lost_when_the_database_is_restored_to_an_earlier_moment() {
    let Some(mut group) = Group::new() else { return };
    group.start_several(2);
    for _ in 0..10 {
        group.scene.add();
    }
    group.wait_for_count(5);
    group.server.save();
    // These messages are in the state when the server crashes, and not in the state that is restored.
    let saved = now();
    while saved.elapsed() < Duration::from_secs(2) {
        for _ in 0..5 {
            group.scene.add();
        }
        group.wait_for_all();
    }
    let lacks = saved.elapsed();
    let (known, delivered) = (group.number("SELECT count(*) FROM message"), group.receiver.count());
    group.server.crash();
    group.server.restore();
    group.server.start_again();
    let restored = group.number("SELECT count(*) FROM message");
    for _ in 0..5 {
        group.scene.add();
    }
    group.wait_for_all();
    assert!(group.receiver.count() >= delivered + 5);
    // The state knows all messages again, which shows that the relay went on from the restored moment.
    let messages = i64::try_from(group.scene.ids().len()).unwrap();
    let knows_all = || group.number("SELECT count(*) FROM message") == messages;
    wait_until("all messages in the state", knows_all, || group.logs());
    tell(&format!(
        "a base backup that lacks the last {lacks:.1?} ({} of {known} messages): 0 lost, {} repeated",
        known - restored,
        group.repeats()
    ));
}

#[test]
fn clocks_that_are_an_hour_apart_change_nothing() {
    let Some(group) = Group::new() else { return };
    let mut group = group.set("SINKS__CRM__MAX_AGE", "10m");
    for (offset, messages) in [("-1h", 5), ("+1h", 10)] {
        let earlier = group.active();
        let clock = group.scene.dir().join(offset);
        std::fs::create_dir(&clock).unwrap();
        let Some(clock) = WrongClock::new(&clock) else { return };
        clock.set(offset);
        let relay = clock.within(group.setup(group.next_number())).start();
        let later = group.adopt(relay);
        if let Some(earlier) = earlier {
            group.relay(later).wait_for_log("stands by until it is the active one");
            group.kill(earlier);
        }
        assert_eq!(group.wait_for_active(), later);
        for _ in 0..messages {
            group.scene.add();
        }
        group.wait_for_all();
        // Nothing is too old for the relay, whatever the clock of its machine says.
        group.wait_until_settled();
        assert_eq!(group.number("SELECT count(*) FROM delivery WHERE state <> 'delivered'"), 0);
    }
    assert_eq!(group.repeats(), 0);
    tell(&format!(
        "clocks an hour slow and an hour fast, {} messages: 0 lost, 0 repeated, none too old",
        group.scene.ids().len()
    ));
}
