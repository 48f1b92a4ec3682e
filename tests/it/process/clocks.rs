//! Tests of a machine whose clock is wrong, and is set right while the relay runs or between two runs.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use joltsms_simulator::NewMessage;
use rusqlite::Connection;

use crate::support::machine::wrong_clock::WrongClock;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const DAY: i64 = 86_400_000;

#[expect(clippy::disallowed_methods, reason = "what is compared with the relay's instants")]
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn count(scene: &Scene, state: &str) -> i64 {
    scene.count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
}

/// Starts the relay, and waits until its state exists.
fn started(scene: &Scene, mut setup: Setup) -> Relay {
    let relay = setup.start();
    scene.wait_for_polls(2);
    relay
}

fn texts(scene: &Scene) -> i64 {
    scene.count("SELECT count(*) FROM message WHERE raw IS NOT NULL")
}

/// Returns the number of stored instants that lie an hour or more ahead of now.
fn ahead(scene: &Scene) -> i64 {
    let limit = now() + DAY / 24;
    scene.count(&format!(
        "SELECT (SELECT count(*) FROM delivery WHERE settled_at > {limit} OR first_attempt > {limit} OR due > {limit})
              + (SELECT count(*) FROM message WHERE stored_at > {limit})
              + (SELECT count(*) FROM sink WHERE busy_until > {limit} OR paused_at > {limit})"
    ))
}

fn check(scene: &Scene, clock: &WrongClock) -> String {
    let (_, said, _) = clock.within(Setup::bare(scene.dir()).args(&["status", "--check"])).output();
    said
}

/// Returns a relay that retries soon.
fn setup(scene: &Scene, receiver: &Receiver) -> Setup {
    let setup = scene.setup_from_beginning().sink(&receiver.url());
    setup.set("SINKS__CRM__RETRY__INITIAL", "100ms").set("SINKS__CRM__RETRY__MAX", "300ms")
}

/// Adds three messages that the receiver accepts, and then eight that it refuses.
fn three_delivered_and_eight_failing(scene: &Scene, receiver: &Receiver, relay: &Relay) {
    scene.add_past(3);
    wait_until("three delivered", || count(scene, "delivered") == 3, || relay.log());
    receiver.answer_with(500);
    (0..8).for_each(|_| drop(scene.add()));
    wait_until("eight failed", || count(scene, "retry") == 8, || relay.log());
}

fn all_delivered(scene: &Scene, receiver: &Receiver, relay: &Relay) {
    receiver.answer_with(200);
    wait_until("all delivered", || count(scene, "delivered") == 11, || relay.log());
    assert_eq!((count(scene, "dead"), texts(scene), ahead(scene)), (0, 11, 0), "{}", relay.log());
}

#[test]
fn a_clock_that_jumps_ahead_for_a_moment_ends_and_removes_nothing() {
    let scene = Scene::new();
    let Some(clock) = WrongClock::new(scene.dir()) else { return };
    let receiver = Receiver::in_background();
    let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
    three_delivered_and_eight_failing(&scene, &receiver, &relay);
    for (jump, offset) in (1..).zip(["+8d", "-30d", "+0"]) {
        clock.set(offset);
        let attempts = receiver.count();
        wait_until("more attempts", || receiver.count() >= attempts + 4, || relay.log());
        let jumps = || relay.log().matches("this machine's clock jumped").count();
        wait_until("the jump is logged", || jumps() == jump, || relay.log());
        assert_eq!((count(&scene, "dead"), count(&scene, "retry"), texts(&scene)), (0, 8, 11), "{}", relay.log());
        assert_eq!(check(&scene, &clock), "healthy", "at {offset}");
    }
    all_delivered(&scene, &receiver, &relay);
    assert!(relay.stop().success());
    let jumps = |words: &str| relay.log().matches(&format!("this machine's clock jumped and {words}")).count();
    assert_eq!((jumps("differs from the API's: set it right"), jumps("agrees with the API's now")), (2, 1));
}

#[test]
fn an_api_that_tells_a_wrong_time_for_some_seconds_ends_and_removes_nothing() {
    for skew in [SignedDuration::from_hours(24), SignedDuration::from_hours(-24), SignedDuration::from_hours(9000)] {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let setup = setup(&scene, &receiver).set("SINKS__CRM__MAX_AGE", "10m").set("STATE__KEEP_DELIVERED", "1h");
        let mut relay = started(&scene, setup);
        three_delivered_and_eight_failing(&scene, &receiver, &relay);
        scene.handle().set_switches(|switches| switches.date_skew = skew);
        scene.wait_for_polls(12);
        let attempts = receiver.count();
        wait_until("more attempts", || receiver.count() >= attempts + 16, || relay.log());
        assert_eq!((count(&scene, "dead"), count(&scene, "retry")), (0, 8), "{skew}: {}", relay.log());
        scene.handle().set_switches(|switches| switches.date_skew = SignedDuration::ZERO);
        scene.wait_for_polls(4);
        all_delivered(&scene, &receiver, &relay);
        assert!(relay.stop().success());
    }
}

#[test]
fn replay_finds_recent_messages_while_it_is_not_known_what_time_it_is() {
    let scene = Scene::new();
    let Some(clock) = WrongClock::new(scene.dir()) else { return };
    clock.set("+8d");
    let receiver = Receiver::in_background();
    scene.add_past(3);
    let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
    wait_until("three delivered", || count(&scene, "delivered") == 3, || relay.log());
    let replay = |which: &[&str]| {
        let args = [&["replay", "--dry-run", "--sink", "crm"], which].concat();
        clock.within(Setup::bare(scene.dir()).args(&args)).output()
    };
    wait_until("found", || replay(&["--since", "1h"]).1.contains("crm"), || relay.log());
    for (which, finds) in
        [(["--since", "1h"], true), (["--until", "0s"], true), (["--until", "1h"], false), (["--since", "1ms"], false)]
    {
        let (code, said, log) = replay(&which);
        assert_eq!((code, said.contains("crm")), (0, finds), "{which:?}: {said}{log}");
    }
    assert!(relay.stop().success());
}

#[test]
fn a_start_while_the_clock_is_ahead_ends_and_removes_nothing() {
    for forgets in [false, true] {
        let scene = Scene::new();
        let Some(clock) = WrongClock::new(scene.dir()) else { return };
        let receiver = Receiver::in_background();
        let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
        three_delivered_and_eight_failing(&scene, &receiver, &relay);
        assert!(relay.stop().success());
        if forgets {
            // The file is changed so that another boot of the machine, or an earlier version, seems to have written it.
            let state = Connection::open(scene.dir().join("state/state.db")).unwrap();
            state.execute("DELETE FROM meta WHERE key = 'clock'", []).unwrap();
        }
        clock.set("+8d");
        let (_, _, log) = clock.within(setup(&scene, &receiver).args(&["once"])).output();
        assert_eq!((count(&scene, "dead"), texts(&scene)), (0, 11), "{log}");
        let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
        let attempts = receiver.count();
        wait_until("more attempts", || receiver.count() >= attempts + 4, || relay.log());
        scene.wait_for_polls(3);
        assert_eq!((count(&scene, "dead"), texts(&scene)), (0, 11), "{}", relay.log());
        clock.set("+0");
        wait_until("what is stored follows", || ahead(&scene) == 0, || relay.log());
        all_delivered(&scene, &receiver, &relay);
        assert_eq!(check(&scene, &clock), "healthy");
        assert!(relay.stop().success());
    }
}

#[test]
fn what_was_to_wait_by_a_clock_that_was_ahead_does_not_wait_once_it_is_right() {
    for (offset, retry_after) in [("+1h", None), ("+1d", None), ("+1h", Some("1")), ("+1d", Some("1"))] {
        let scene = Scene::new();
        let Some(clock) = WrongClock::new(scene.dir()) else { return };
        clock.set(offset);
        let receiver = Receiver::in_background();
        receiver.reply(move |_| {
            let reply = crate::support::servers::receiver::Reply::status(503);
            retry_after.map_or_else(|| reply.clone(), |wait| reply.clone().header("retry-after", wait))
        });
        scene.add_past(1);
        let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
        wait_until("it failed", || count(&scene, "retry") == 1, || relay.log());
        assert!(relay.stop().success());
        receiver.answer_with(200);
        clock.set("+0");
        let mut relay = started(&scene, clock.within(setup(&scene, &receiver)));
        scene.add();
        wait_until("both delivered", || count(&scene, "delivered") == 2, || relay.log());
        wait_until("nothing is ahead", || ahead(&scene) == 0, || relay.log());
        assert!(relay.stop().success());
    }
}

#[test]
fn the_age_of_a_message_is_told_by_the_clock_that_dates_it() {
    for offset in ["+1d", "+15m", "-1d", "+0"] {
        let scene = Scene::new();
        let Some(clock) = WrongClock::new(scene.dir()) else { return };
        clock.set(offset);
        let receiver = Receiver::in_background();
        let past = scene.handle().now() - SignedDuration::from_mins(20);
        scene.handle().add(NewMessage::new().received_at(past).ingested_at(past));
        let setup = setup(&scene, &receiver).set("SINKS__CRM__MAX_AGE", "10m");
        let mut relay = started(&scene, clock.within(setup));
        wait_until("the old one is dead", || count(&scene, "dead") == 1, || relay.log());
        scene.add();
        wait_until("the new one is delivered", || count(&scene, "delivered") == 1, || relay.log());
        clock.set("+3d");
        scene.add();
        wait_until("another is delivered", || count(&scene, "delivered") == 2, || relay.log());
        assert_eq!(count(&scene, "dead"), 1, "at {offset}");
        assert_eq!(check(&scene, &clock), "healthy", "at {offset}");
        assert!(relay.stop().success());
    }
}

#[test]
fn an_api_that_tells_no_time_makes_no_message_old() {
    for tells_later in [false, true] {
        let scene = Scene::with(|switches| switches.date = false);
        let Some(clock) = WrongClock::new(scene.dir()) else { return };
        clock.set("+1d");
        let receiver = Receiver::in_background();
        let mut relay = started(&scene, clock.within(setup(&scene, &receiver).set("SINKS__CRM__MAX_AGE", "10m")));
        if tells_later {
            scene.handle().set_switches(|switches| switches.date = true);
        }
        scene.add();
        wait_until("the new one is delivered", || count(&scene, "delivered") == 1, || relay.log());
        clock.set("+0");
        scene.add();
        wait_until("another is delivered", || count(&scene, "delivered") == 2, || relay.log());
        assert_eq!(count(&scene, "dead"), 0, "{}", relay.log());
        assert!(relay.stop().success());
    }
}

#[test]
fn a_signature_has_the_machines_time_of_its_attempt() {
    let scene = Scene::new();
    let Some(clock) = WrongClock::new(scene.dir()) else { return };
    clock.set("+1h");
    let receiver = Receiver::in_background();
    let file = scene.file(&format!(
        "[sinks.crm]\ntype = \"http\"\nurl = \"{}\"\nsigning = {{ scheme = \"standard-webhooks\", secrets = [{{ env = \"SECRET\" }}] }}\n",
        receiver.url()
    ));
    let setup = scene.setup_from_beginning().args(&["--config", &file]);
    let mut relay = clock.within(setup.env("SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")).start();
    for (number, ahead) in [("+1h", 3600), ("+0", 0), ("-2h", -7200)].into_iter().enumerate() {
        clock.set(ahead.0);
        scene.add();
        receiver.wait(number + 1, &relay);
        let timestamp = receiver.received()[number].headers["webhook-timestamp"].to_str().unwrap().parse::<i64>();
        let off = timestamp.unwrap() - now() / 1000;
        assert!((off - ahead.1).abs() < 300, "{off} s ahead, where the machine's clock is {} s", ahead.1);
    }
    assert!(relay.stop().success());
}

#[test]
fn dead_letters_that_died_ahead_of_the_clock_are_found() {
    for command in ["retry", "drop"] {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        receiver.answer_with(422);
        scene.add_past(3);
        let mut relay = started(&scene, setup(&scene, &receiver).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "0s"));
        wait_until("three dead", || count(&scene, "dead") == 3, || relay.log());
        assert!(relay.stop().success());
        let state = Connection::open(scene.dir().join("state/state.db")).unwrap();
        state.execute("UPDATE delivery SET settled_at = settled_at + ?1", [8 * DAY]).unwrap();
        drop(state);
        let (code, said, log) = Setup::bare(scene.dir()).args(&["dead-letters", command, "--all"]).output();
        assert_eq!((code, log.as_str()), (0, ""), "{said}");
        assert!(said.starts_with("3 dead letters"), "{said}");
        assert_eq!(count(&scene, "dead"), 0);
    }
}
