//! Tests of a sink's options for its receiver: which answers count, at which pace, in which order, for how long and
//! from when on messages are sent.

use joltsms_relay::delivery::log_sentences::{
    MESSAGE_IS_DEAD, NEW_SINK_IS_FILLED, NOTHING_GETS_THROUGH, SINK_FAILS, SINK_IS_NEW, SINK_IS_SWITCHED_OFF,
};
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use joltsms_simulator::NewMessage;

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

/// Returns a relay with a sink that retries soon.
fn to(scene: &Scene, receiver: &Receiver) -> Setup {
    scene
        .setup_from_beginning()
        .sink(&receiver.url())
        .set("SINKS__CRM__RETRY__INITIAL", "100ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1")
}

fn count(scene: &Scene, state: &str) -> i64 {
    if !scene.dir().join("state/state.db").exists() {
        return 0;
    }
    scene.count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
}

fn settles(scene: &Scene, relay: &Relay, delivered: i64, dead: i64) {
    let settled = || (count(scene, "delivered"), count(scene, "dead")) == (delivered, dead);
    wait_until(&format!("{delivered} delivered, {dead} dead"), settled, || relay.log());
}

fn ends(mut relay: Relay) {
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

#[test]
fn a_status_that_is_accepted_here_is_success() {
    let cases = [("409", Reply::status(409)), ("302", Reply::status(302).header("location", "https://a.example/"))];
    side_by_side(&cases, |reply| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let reply = reply.clone();
        receiver.reply(move |_| reply.clone());
        let relay = to(&scene, &receiver).set("SINKS__CRM__ACCEPT_STATUS", "302, 409").start();
        scene.add();
        scene.add();
        receiver.wait(2, &relay);
        settles(&scene, &relay, 2, 0);
        assert!(!relay.log().contains("WARN"), "{}", relay.log());
        ends(relay);
        assert_eq!(receiver.count(), 2);
    });
}

#[test]
fn what_is_rejected_is_a_dead_letter_at_once() {
    let cases = [
        ("422", (Reply::status(422), "422 Unprocessable Entity")),
        ("503 with Retry-After", (Reply::status(503).header("retry-after", "3600"), "503 Service Unavailable")),
        ("410", (Reply::status(410), "410 Gone")),
    ];
    side_by_side(&cases, |(reply, said)| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let first = reply.clone();
        receiver.reply(move |place| if place == 0 { first.clone() } else { Reply::status(200) });
        let relay = to(&scene, &receiver).set("SINKS__CRM__REJECT_STATUS", "410,422,503").start();
        let dead = scene.add();
        relay.wait_for_log(&format!("ERROR {MESSAGE_IS_DEAD} message.id=\"{dead}\" sink.name=\"crm\""));
        relay.wait_for_log(&format!("reason=\"rejected\" answer=\"{said}\""));
        let next = scene.add();
        receiver.wait(2, &relay);
        settles(&scene, &relay, 1, 1);
        assert_eq!(receiver.webhook_ids(), [dead, next], "the sink goes on, and tries the first no more");
        assert!(!relay.log().contains(SINK_FAILS), "{}", relay.log());
        ends(relay);
    });
}

#[test]
fn a_limit_on_requests_spreads_them_out() {
    let scene = Scene::new();
    scene.add_past(6);
    let receiver = Receiver::in_background();
    receiver.answer(|place| (if place % 3 == 0 { 500 } else { 200 }, Duration::ZERO));
    let relay = to(&scene, &receiver).set("SINKS__CRM__REQUESTS_PER_MINUTE", "240").start();
    settles(&scene, &relay, 6, 0);
    let times: Vec<_> = receiver.received().iter().map(|request| request.at).collect();
    assert!(times.len() >= 9, "attempts that failed count, too: {}", times.len());
    let whole = times[times.len() - 1] - times[0];
    let least = Duration::from_millis(250) * u32::try_from(times.len() - 1).unwrap();
    assert!(whole + Duration::from_millis(150) >= least, "{} requests within {whole:?}", times.len());
    ends(relay);
}

#[test]
fn messages_of_a_number_wait_for_each_other() {
    let scene = Scene::new();
    let now = scene.handle().now();
    let past = (0..12_i64).map(|place| {
        let time = now - SignedDuration::from_secs(100 - place);
        NewMessage::new().number(format!("+1650555010{}", place % 3)).received_at(time).ingested_at(time)
    });
    scene.handle().add_many(past);
    let receiver = Receiver::in_background();
    // The first two attempts for each message fail after a delay.
    receiver.reply(|place| Reply {
        delay: Duration::from_millis(20),
        ..Reply::status(if place % 4 == 3 { 200 } else { 500 })
    });
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__ORDER", "number").set("SINKS__CRM__RETRY__MAX", "100ms");
    let mut relay = setup.start();
    receiver.wait(9, &relay);
    relay.kill();
    let relay = setup.start();
    settles(&scene, &relay, 12, 0);
    ends(relay);
    let rows = scene.handle().rows();
    let number_of = |id: &str| rows.iter().find(|row| row.id == id).unwrap().number_id.clone();
    let numbers: BTreeSet<String> = rows.iter().map(|row| row.number_id.clone()).collect();
    assert_eq!(numbers.len(), 3);
    for number in numbers {
        let mut attempts: Vec<String> =
            receiver.webhook_ids().into_iter().filter(|id| number_of(id) == number).collect();
        attempts.dedup();
        let expected: Vec<String> =
            rows.iter().rev().filter(|row| row.number_id == number).map(|row| row.id.clone()).collect();
        assert_eq!(attempts, expected, "one after the other");
    }
}

#[test]
fn what_is_too_old_is_not_sent() {
    let scene = Scene::new();
    let old = scene.handle().now() - SignedDuration::from_secs(3600);
    let old = scene.handle().add(NewMessage::new().received_at(old).ingested_at(old));
    let receiver = Receiver::in_background();
    let relay = to(&scene, &receiver).set("SINKS__CRM__MAX_AGE", "10m").start();
    let young = scene.add();
    relay.wait_for_log(&format!(
        "ERROR {MESSAGE_IS_DEAD} message.id=\"{old}\" sink.name=\"crm\" attempts=0 reason=\"expired\" \
         answer=\"too old before it could be sent\""
    ));
    settles(&scene, &relay, 1, 1);
    ends(relay);
    assert_eq!(receiver.webhook_ids(), [young]);
}

#[test]
fn what_grows_too_old_while_the_receiver_is_down_becomes_a_dead_letter() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    let relay = to(&scene, &receiver)
        .set("SINKS__CRM__MAX_AGE", "3s")
        .set("SINKS__CRM__RETRY__INITIAL", "1h")
        .set("SINKS__CRM__RETRY__MAX", "1h")
        .start();
    let id = scene.add();
    relay.wait_for_log(&format!(
        "ERROR {MESSAGE_IS_DEAD} message.id=\"{id}\" sink.name=\"crm\" attempts=1 reason=\"expired\" \
         answer=\"503 Service Unavailable\""
    ));
    settles(&scene, &relay, 0, 1);
    ends(relay);
    assert_eq!(receiver.count(), 1, "without another request");
}

#[test]
fn a_sink_that_is_switched_off_keeps_its_messages() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__ENABLED", "false");
    let relay = setup.start();
    relay.wait_for_log(&format!("INFO {SINK_IS_SWITCHED_OFF} sink.name=\"crm\""));
    let ids = [scene.add(), scene.add()];
    wait_until("both messages", || count(&scene, "fresh") == 2, || relay.log());
    let list = Setup::bare(scene.dir()).args(&["sinks", "list"]).output().1;
    assert!(list.contains("paused for ") && list.contains(": enabled = false in the configuration"), "{list}");
    let resumed = Setup::bare(scene.dir()).args(&["sinks", "resume", "crm"]).output();
    assert_eq!(
        (resumed.0, resumed.1.as_str()),
        (0, "crm is switched off in the configuration: set enabled = true there and restart the relay")
    );
    // The end of a pause does not switch on a sink that the configuration switches off.
    for verb in ["pause", "resume"] {
        assert_eq!(Setup::bare(scene.dir()).args(&["sinks", verb, "crm"]).output().0, 0);
    }
    let reason = || scene.count("SELECT count(*) FROM sink WHERE paused = 'disabled'");
    wait_until("the switch to be shown again", || reason() == 1, || relay.log());
    assert!(!relay.log().contains("resumed"), "{}", relay.log());
    ends(relay);
    assert_eq!(receiver.count(), 0);
    let relay = to(&scene, &receiver).start();
    receiver.wait(2, &relay);
    settles(&scene, &relay, 2, 0);
    let mut received = receiver.webhook_ids();
    received.sort_by_key(|id| ids.iter().position(|known| known == id));
    assert_eq!(received, ids);
    ends(relay);
}

#[test]
fn never_giving_up_means_never() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(404);
    let relay = to(&scene, &receiver)
        .set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "never")
        .set("SINKS__CRM__RETRY__MAX", "100ms")
        .start();
    scene.add();
    receiver.wait(15, &relay);
    assert_eq!(count(&scene, "dead"), 0);
    receiver.answer_with(200);
    settles(&scene, &relay, 1, 0);
    ends(relay);
}

#[test]
fn a_silence_that_was_asked_for_survives_a_kill() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let date = scene.handle().now() + SignedDuration::from_secs(5);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    receiver.reply(move |place| match place {
        0 => Reply::status(429).header("retry-after", date.clone()),
        _ => Reply::status(200),
    });
    let mut setup = to(&scene, &receiver);
    let mut relay = setup.start();
    scene.add();
    receiver.wait(1, &relay);
    let recorded = || scene.count("SELECT count(*) FROM sink WHERE busy_until > 0 AND failures = 0") == 1;
    wait_until("it is written down", recorded, || relay.log());
    relay.kill();
    let relay = setup.start();
    scene.add();
    receiver.wait(3, &relay);
    let received = receiver.received();
    let silence = received[1].at - received[0].at;
    assert!(silence >= Duration::from_secs(3), "{silence:?}: neither message may break it");
    settles(&scene, &relay, 2, 0);
    ends(relay);
}

#[test]
fn a_kill_does_not_forget_that_nothing_gets_through() {
    let scene = Scene::new();
    scene.add_past(30);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__RETRY__INITIAL", "20s").set("SINKS__CRM__RETRY__MAX", "20s");
    let mut relay = setup.start();
    relay.wait_for_log(NOTHING_GETS_THROUGH);
    wait_until("it is written down", || scene.count("SELECT failures FROM sink") >= 10, || relay.log());
    relay.kill();
    let before = receiver.count();
    let mut relay = setup.start();
    receiver.wait(before + 1, &relay);
    wait_until("that is written down too", || scene.count("SELECT failures FROM sink") >= 11, || relay.log());
    relay.kill();
    assert_eq!(receiver.count(), before + 1, "a start asks once, and not eight times");
}

#[test]
fn a_sink_that_is_added_later_begins_where_it_is_told() {
    type Start = fn(Timestamp) -> String;
    let cases: [(&str, (Start, usize)); 4] = [
        ("now", (|_| "now".to_owned(), 0)),
        ("the beginning", (|_| "beginning".to_owned(), 6)),
        ("a duration back", (|_| "120m".to_owned(), 2)),
        ("a time", (|now| (now - SignedDuration::from_mins(180)).to_string(), 3)),
    ];
    side_by_side(&cases, |(start, older)| {
        let scene = Scene::new();
        let now = scene.handle().now();
        let start = start(now);
        let past = (0..6_i64).rev().map(|hours| now - SignedDuration::from_mins(60 * hours + 30));
        scene.handle().add_many(past.map(|time| NewMessage::new().received_at(time).ingested_at(time)));
        let (old, new) = (Receiver::in_background(), Receiver::in_background());
        let relay = to(&scene, &old).start();
        old.wait(6, &relay);
        settles(&scene, &relay, 6, 0);
        ends(relay);
        let mut setup = to(&scene, &old)
            .set("SINKS__NEW__TYPE", "http")
            .set("SINKS__NEW__URL", &new.url())
            .set("SINKS__NEW__CONCURRENCY", "1")
            .set("SINKS__NEW__START", &start);
        let relay = setup.start();
        relay.wait_for_log(&format!("INFO {SINK_IS_NEW} sink.name=\"new\" start="));
        let live = scene.add();
        new.wait(older + 1, &relay);
        settles(&scene, &relay, 8 + i64::try_from(*older).unwrap(), 0);
        if *older > 0 {
            relay.wait_for_log(&format!("INFO {NEW_SINK_IS_FILLED} sink.name=\"new\" messages={older}"));
        }
        ends(relay);
        let relay = setup.start();
        let last = scene.add();
        new.wait(older + 2, &relay);
        ends(relay);
        let mut received = new.webhook_ids();
        assert_eq!(received.pop(), Some(last), "it is known now");
        received.sort();
        let mut expected: Vec<String> = scene.ids()[6 - older..6].iter().cloned().chain([live]).collect();
        expected.sort();
        assert_eq!(received, expected);
        assert_eq!(old.count(), 8, "the others notice nothing");
    });
}
