//! Tests in which receivers fail in every way that they can. Each message is retried until its receiver has it, and no
//! other message waits.

use joltsms_relay::delivery::log_sentences::{
    MESSAGE_IS_DEAD, NOTHING_GETS_THROUGH, RECEIVER_IS_GONE, RECEIVER_WANTS_SILENCE, SINK_FAILS, SINK_IS_PAUSED,
    SINK_WAS_RESUMED, SINK_WORKS_AGAIN,
};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::cases::side_by_side;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::raw::{RawAnswer, RawServer};
use crate::support::servers::receiver::{Received, Receiver, Reply};
use crate::support::waiting::wait_until;

/// Returns a relay with a sink that retries soon.
fn to(scene: &Scene, receiver: &Receiver) -> Setup {
    scene
        .setup_from_beginning()
        .sink(&receiver.url())
        .set("SINKS__CRM__RETRY__INITIAL", "100ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1")
        .set("SINKS__CRM__TIMEOUT", "500ms")
}

fn count(scene: &Scene, state: &str) -> i64 {
    scene.count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
}

fn ends(mut relay: Relay) {
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

/// A receiver that fails twice, then works.
struct Failure {
    reply: Reply,
    said: &'static str,
}

#[test]
fn what_fails_is_tried_again_with_the_same_id() {
    let failure = |reply, said| Failure { reply, said };
    let status = |status, said| failure(Reply::status(status), said);
    let huge = Bytes::from(vec![b'x'; 30 << 20]);
    let cases = [
        ("400", status(400, "400 Bad Request")),
        ("401", status(401, "401 Unauthorized")),
        ("404", status(404, "404 Not Found")),
        ("413", status(413, "413 Payload Too Large")),
        ("422", status(422, "422 Unprocessable Entity")),
        ("500", status(500, "500 Internal Server Error")),
        ("503", status(503, "503 Service Unavailable")),
        (
            "301",
            failure(
                Reply::status(301).header("location", "https://login.example/?next=hook"),
                "301 redirect to https://login.example/?…, not followed",
            ),
        ),
        ("304", status(304, "304 Not Modified")),
        ("no answer", failure(Reply::never(), "no answer within 500ms")),
        ("huge", failure(Reply { body: huge, ..Reply::status(500) }, "500 Internal Server Error")),
    ];
    side_by_side(&cases, |Failure { reply, said }| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let reply = reply.clone();
        receiver.reply(move |place| if place < 2 { reply.clone() } else { Reply::status(204) });
        let relay = to(&scene, &receiver).start();
        let id = scene.add();
        receiver.wait(3, &relay);
        relay.wait_for_log(&format!("{SINK_WORKS_AGAIN} sink.name=\"crm\""));
        let log = relay.log();
        assert_eq!(log.matches(&format!("{SINK_FAILS} sink.name=\"crm\"")).count(), 1);
        assert!(log.contains(&format!("reason=\"{said}\"")), "{log}");
        assert_eq!(receiver.webhook_ids(), [id.clone(), id.clone(), id]);
        let received = receiver.received();
        assert!(received.windows(2).all(|pair| pair[0].body == pair[1].body));
        let pause = received[1].at - received[0].at;
        assert!(pause >= Duration::from_millis(90), "no pause: {pause:?}");
        ends(relay);
        assert_eq!(receiver.count(), 3);
    });
}

/// A receiver asks for silence, which is no failure of a message. The log reports this once, no retry schedule grows,
/// and the relay sends as much as the receiver allows.
#[test]
fn a_receiver_that_sets_the_pace_gets_its_messages_at_that_pace() {
    let cases = [
        ("429", (429, None, "429 Too Many Requests")),
        ("429 with Retry-After", (429, Some("0.3"), "429 Too Many Requests")),
        ("503 with Retry-After", (503, Some("0.3"), "503 Service Unavailable")),
    ];
    side_by_side(&cases, |(status, asks, said)| {
        let scene = Scene::new();
        scene.add_past(12);
        let receiver = Receiver::in_background();
        let (status, asks) = (*status, *asks);
        let last = Mutex::new(None::<Instant>);
        receiver.reply(move |_| {
            let mut last = last.lock().unwrap();
            if last.is_none_or(|last| last.elapsed() >= Duration::from_millis(300)) {
                *last = Some(now());
                return Reply::status(200);
            }
            let reply = Reply::status(status);
            asks.map_or(reply.clone(), |asks| reply.header("retry-after", asks))
        });
        // The first wait of the retry schedule is an hour, so the test would time out if a refusal moved a message
        // along its schedule.
        let relay = to(&scene, &receiver).set("SINKS__CRM__RETRY__INITIAL", "1h").start();
        wait_until("all", || count_if_there(&scene) == 12, || relay.log());
        let log = relay.log();
        let told = format!("WARN {RECEIVER_WANTS_SILENCE} sink.name=\"crm\"");
        assert_eq!(log.matches(&told).count(), 1, "{log}");
        assert!(log.contains(&format!("reason=\"{said}\" wait_s=")) && !log.contains(SINK_FAILS), "{log}");
        assert_eq!(scene.count("SELECT max(attempts) FROM delivery"), 1);
        ends(relay);
    });
}

#[test]
fn every_2xx_is_success_whatever_follows() {
    let huge = Bytes::from(vec![b'x'; 30 << 20]);
    let cases = [
        ("201", Reply::status(201)),
        ("202", Reply::status(202)),
        ("204", Reply::status(204)),
        ("299", Reply::status(299)),
        ("huge", Reply { body: huge, ..Reply::status(200) }),
        ("html", Reply { body: Bytes::from_static(b"<html>"), ..Reply::status(200) }),
    ];
    side_by_side(&cases, |reply| {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        let reply = reply.clone();
        receiver.reply(move |_| reply.clone());
        let relay = to(&scene, &receiver).start();
        let ids = [scene.add(), scene.add()];
        wait_until("both to be settled", || count_if_there(&scene) == 2, || relay.log());
        assert!(!relay.log().contains("WARN"), "{}", relay.log());
        ends(relay);
        let mut received = receiver.webhook_ids();
        received.sort_by_key(|id| ids.iter().position(|known| known == id));
        assert_eq!(received, ids);
    });
}

#[expect(clippy::disallowed_methods, reason = "this receiver goes by the time")]
fn now() -> Instant {
    Instant::now()
}

fn count_if_there(scene: &Scene) -> i64 {
    if scene.dir().join("state/state.db").exists() { count(scene, "delivered") } else { 0 }
}

#[test]
fn retry_after_is_kept_to() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.reply(|place| match place {
        0 => Reply::status(503).header("retry-after", "1.5"),
        _ => Reply::status(200),
    });
    let relay = to(&scene, &receiver).start();
    let first = scene.add();
    receiver.wait(1, &relay);
    // The receiver asked for silence, so the other messages may not be sent either.
    let second = scene.add();
    receiver.wait(3, &relay);
    let received = receiver.received();
    let silence = received[1].at - received[0].at;
    assert!(silence >= Duration::from_millis(1400), "{silence:?}");
    let mut ids = receiver.webhook_ids();
    assert_eq!(ids.remove(0), first);
    ids.sort_by_key(|id| *id != first);
    assert_eq!(ids, [first, second]);
    ends(relay);
}

#[test]
fn a_receiver_that_is_gone_pauses_the_sink_until_it_is_resumed() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(410);
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "100ms");
    let relay = setup.start();
    let mut ids = vec![scene.add()];
    relay.wait_for_log(&format!("ERROR {RECEIVER_IS_GONE} sink.name=\"crm\" hint=\"joltsms-relay sinks resume crm\""));
    ids.push(scene.add());
    wait_until("the second message", || count(&scene, "fresh") == 1, || relay.log());
    ends(relay);
    assert_eq!(receiver.count(), 1, "nothing more was sent");
    receiver.answer_with(200);
    let relay = setup.start();
    relay.wait_for_log(&format!("WARN {SINK_IS_PAUSED} sink.name=\"crm\" reason=\"gone\" since="));
    scene.wait_for_polls(3);
    assert_eq!(receiver.count(), 1, "nor after a restart");
    let (code, said, log) = to(&scene, &receiver).args(&["sinks", "resume", "crm"]).output();
    assert_eq!((code, log.as_str()), (0, ""));
    assert!(said.starts_with("crm is resumed: it was paused for "), "{said}");
    relay.wait_for_log(&format!("INFO {SINK_WAS_RESUMED} sink.name=\"crm\""));
    receiver.wait(3, &relay);
    wait_until("both to be settled", || count(&scene, "delivered") == 2, || relay.log());
    let mut received = receiver.webhook_ids().split_off(1);
    received.sort_by_key(|id| ids.iter().position(|known| known == id));
    assert_eq!(received, ids);
    ends(relay);
}

#[test]
fn a_receiver_that_is_down_is_waited_for() {
    let scene = Scene::new();
    let address = Receiver::in_background().address();
    let url = format!("http://{address}/hook");
    let relay = scene
        .setup_from_beginning()
        .sink(&url)
        .set("SINKS__CRM__RETRY__INITIAL", "200ms")
        .set("SINKS__CRM__RETRY__FACTOR", "1")
        .start();
    let id = scene.add();
    relay.wait_for_log("reason=\"connection refused\"");
    let receiver = Receiver::in_background_on(address);
    receiver.wait(1, &relay);
    relay.wait_for_log(&format!("{SINK_WORKS_AGAIN} sink.name=\"crm\" sink.waiting=0"));
    assert_eq!(receiver.webhook_ids(), [id]);
    ends(relay);
}

#[test]
fn what_is_given_up_becomes_a_dead_letter_and_stays_one() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "500ms");
    let relay = setup.start();
    let dead = scene.add();
    relay.wait_for_log(&format!("ERROR {MESSAGE_IS_DEAD} message.id=\"{dead}\" sink.name=\"crm\" http.status=500"));
    relay.wait_for_log(&format!(
        "reason=\"gave_up\" answer=\"500 Internal Server Error\" hint=\"joltsms-relay dead-letters retry --sink crm --id {dead}\""
    ));
    let attempts = receiver.count();
    assert!((3..=6).contains(&attempts), "{attempts} attempts 100 ms apart within 500 ms, and one after");
    let span = receiver.received().last().unwrap().at - receiver.received()[0].at;
    assert!(span >= Duration::from_millis(480), "given up after {span:?}");
    receiver.answer_with(200);
    let alive = scene.add();
    receiver.wait(attempts + 1, &relay);
    wait_until("the other one", || count(&scene, "delivered") == 1, || relay.log());
    ends(relay);
    let relay = setup.start();
    let last = scene.add();
    receiver.wait(attempts + 2, &relay);
    ends(relay);
    assert_eq!(receiver.webhook_ids()[attempts..], [alive, last]);
    assert_eq!(count(&scene, "dead"), 1);
    let kept = "SELECT count(*) FROM delivery JOIN message USING (seq) WHERE state = 'dead' AND raw IS NOT NULL";
    assert_eq!(scene.count(kept), 1, "with its message");
}

#[test]
fn a_dead_sink_holds_back_nobody() {
    let cases = [("never answers", Reply::never()), ("always fails", Reply::status(500))];
    side_by_side(&cases, |reply| {
        let scene = Scene::new();
        scene.add_past(60);
        let (dead, healthy) = (Receiver::in_background(), Receiver::in_background());
        // From now on no answer accepts a message, even if the answer arrives after the relay has ended.
        let reply = Reply { status: 500, ..reply.clone() };
        dead.reply(move |_| reply.clone());
        let mut setup = to(&scene, &dead)
            .set("SINKS__CRM__TIMEOUT", "20s")
            .set("SINKS__OTHER__TYPE", "http")
            .set("SINKS__OTHER__URL", &healthy.url());
        let mut relay = setup.start();
        healthy.wait(60, &relay);
        let id = scene.add();
        healthy.wait(61, &relay);
        assert_eq!(healthy.webhook_ids()[60], id);
        relay.kill();
        dead.answer_with(200);
        let relay = setup.start();
        let accepted = || -> BTreeSet<String> {
            let received = dead.received();
            received.iter().filter(|request| request.status == 200).map(Received::message_id).collect()
        };
        let expected: BTreeSet<String> = scene.ids().into_iter().collect();
        wait_until("all that was kept", || accepted().is_superset(&expected), || relay.log());
        ends(relay);
        let settled = healthy.count() - 61;
        assert!(settled <= 8, "{settled} repeats after a kill, with 8 workers");
    });
}

#[test]
fn when_nothing_gets_through_one_at_a_time_is_tried() {
    let scene = Scene::new();
    scene.add_past(30);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__RETRY__INITIAL", "300ms");
    let relay = setup.start();
    relay.wait_for_log(&format!("{NOTHING_GETS_THROUGH} sink.name=\"crm\" failures=10"));
    let begun = receiver.count();
    receiver.wait(begun + 3, &relay);
    let received = receiver.received();
    let probes: Vec<Duration> = received[begun..].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(
        begun <= 20 && probes.iter().skip(1).all(|pause| *pause >= Duration::from_millis(250)),
        "{begun} {probes:?}"
    );
    receiver.answer_with(200);
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until("all", || count(&scene, "delivered") == 30, || relay.log());
    ends(relay);
    let delivered = receiver.received().iter().filter(|request| request.status == 200).count();
    assert_eq!(delivered, 30);
}

#[test]
fn an_id_that_does_not_fit_into_a_header_is_hashed_and_stays_the_same() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.answer(|place| (if place == 0 { 500 } else { 200 }, Duration::ZERO));
    let relay = to(&scene, &receiver).start();
    let id = "a.b c\u{e9}";
    scene.handle().add(joltsms_simulator::NewMessage::new().id(id));
    receiver.wait(2, &relay);
    let ids = receiver.webhook_ids();
    assert!(ids[0] == ids[1] && ids[0].len() == 68 && ids[0].starts_with("msg_"), "{ids:?}");
    assert_eq!(receiver.received()[0].message_id(), id, "the message itself is as it came");
    ends(relay);
}

#[test]
fn the_id_is_the_same_after_a_kill() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    receiver.reply(|_| Reply::never());
    let mut setup = to(&scene, &receiver).set("SINKS__CRM__TIMEOUT", "20s");
    let mut relay = setup.start();
    let id = scene.add();
    receiver.wait(1, &relay);
    relay.kill();
    receiver.answer_with(200);
    let relay = setup.start();
    receiver.wait(2, &relay);
    assert_eq!(receiver.webhook_ids(), [id.clone(), id]);
    ends(relay);
}

/// Each odd answer accepts the message, so no message may come again.
#[test]
fn an_odd_head_is_an_answer() {
    let many = (0..1_000).map(|number| format!("x-{number}: v\r\n")).collect::<String>();
    let cases = [
        ("folded", ("content-security-policy: default-src\r\n 'self'\r\n", "ok", true)),
        ("a space before the colon", ("x-powered-by : x\r\n", "ok", true)),
        ("controls", ("set-cookie: a=b\x7fc\x01d\r\n", "ok", true)),
        ("many headers", (many.as_str(), "ok", true)),
        ("more than announced", ("", "okHTTP/1.1 500 No\r\n\r\n", false)),
        ("closed at once", ("", "ok", false)),
    ];
    side_by_side(&cases, |(lines, body, goes_on)| {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\n{body}");
        let goes_on = *goes_on;
        let receiver = RawServer::answering_each(move |_| {
            if goes_on { RawAnswer::keep(answer.clone()) } else { RawAnswer::close(answer.clone()) }
        });
        let scene = Scene::new();
        scene.add_past(3);
        let setup =
            scene.setup_from_beginning().sink(receiver.url("/").as_str()).set("SINKS__CRM__RETRY__INITIAL", "100ms");
        let relay = { setup }.start();
        wait_until("all to be delivered", || count_if_there(&scene) == 3, || relay.log());
        // If the receiver closes the connection without announcing it, the next request on that connection may fail and
        // is made again.
        assert!(!goes_on || !relay.log().contains(SINK_FAILS), "{}", relay.log());
        assert_eq!(receiver.requests().len(), 3);
        ends(relay);
    });
}
