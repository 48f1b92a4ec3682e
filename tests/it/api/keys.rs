//! Tests of keys that the API refuses: the relay takes the next key. When no key is left, deliveries go on, and the log
//! says what to do.

use std::time::Duration;

use joltsms_simulator::{Effect, NewMessage, NewNumber, Rule};

use crate::support::cases::side_by_side;
use crate::support::relay::Setup;
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;

const NEXT: &str = "the API does not accept the key; trying the next one refusal=401 UNAUTHORIZED";
const NONE_LEFT: &str =
    "the API accepts no key: make a new one in the dashboard and configure it; deliveries go on refusal=";

/// Returns a scene with an API that notices a revoked key at once.
fn scene() -> Scene {
    Scene::with(|switches| switches.key_cache = Duration::ZERO)
}

/// Makes a second key beside the first key. Returns a relay with both keys, and the id of the second key.
fn two_keys(scene: &Scene) -> (Setup, String) {
    let second = scene.handle().create_key("second", None).unwrap();
    let file = scene.file("[api]\nkey = [{ env = \"JOLTSMS_API_KEY\" }, { env = \"SECOND_KEY\" }]\n");
    (scene.setup_from_beginning().env("JOLTSMS_RELAY_CONFIG", &file).env("SECOND_KEY", &second.secret), second.id)
}

#[test]
fn the_next_key_is_taken_when_one_is_revoked() {
    let scene = scene();
    scene.add_past(15);
    let (mut setup, second) = two_keys(&scene);
    let relay = setup.start();
    assert_eq!(relay.ids(15), scene.ids());
    assert!(scene.handle().requests().iter().all(|request| request.key.as_ref() != Some(&second)));
    scene.handle().revoke_key("start");
    relay.wait_for_log(NEXT);
    let id = scene.add();
    assert_eq!(relay.ids(1), [id]);
    assert_eq!(scene.handle().requests().last().unwrap().key, Some(second));
    assert!(!relay.log().contains("ERROR"), "{}", relay.log());
    ends_with_nothing_more(relay);
}

#[test]
fn a_key_that_is_refused_for_two_requests_at_once_is_given_up_once() {
    let scene = scene();
    scene.add_past(60);
    let (setup, second) = two_keys(&scene);
    // A poll is refused after a delay. Meanwhile the catch-up goes on, and is refused at once.
    let slow = |milliseconds| Rule::always(Effect::Latency(Duration::from_millis(milliseconds))).key("start");
    let refused = Effect::status(401);
    scene.handle().add_fault(slow(800).and(refused.clone()).cursor(false).from_nth(2));
    scene.handle().add_fault(slow(150).and(refused).cursor(true).from_nth(4));
    scene.handle().add_fault(slow(150).cursor(true));
    let relay = setup.set("POLL__INTERVAL", "100ms").start();
    assert_eq!(relay.ids(60), scene.ids(), "{}", relay.log());
    let refused = scene.handle().counters().by_status[&401];
    assert_eq!(refused, 2, "this test needs both under way");
    assert_eq!(relay.log().matches(NEXT).count(), 1, "{}", relay.log());
    assert!(!relay.log().contains(NONE_LEFT), "{}", relay.log());
    assert_eq!(scene.handle().requests().last().unwrap().key, Some(second));
    ends_with_nothing_more(relay);
}

#[test]
fn without_any_key_deliveries_go_on() {
    let scene = scene();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let (setup, _) = two_keys(&scene);
    let mut setup = setup.sink(&receiver.url()).set("SINKS__CRM__RETRY__INITIAL", "1s");
    let mut relay = setup.start();
    receiver.wait(3, &relay);
    scene.handle().revoke_key("start");
    scene.handle().revoke_key("second");
    relay.wait_for_log(&format!("{NONE_LEFT}401 UNAUTHORIZED retry_s=60"));
    let requests = scene.handle().counters().requests;
    receiver.answer_with(200);
    receiver.wait(6, &relay);
    assert_eq!(scene.handle().counters().requests, requests, "the API is left alone");
    assert_eq!(relay.log().matches(NONE_LEFT).count(), 1);
    assert_eq!(relay.stop().code(), Some(0));
    // Another start with a new key goes on where the relay was.
    let third = scene.handle().create_key("third", None).unwrap();
    let id = scene.add();
    let mut relay = setup.env("SECOND_KEY", &third.secret).start();
    receiver.wait(7, &relay);
    assert_eq!(receiver.received()[6].webhook_id(), id);
    assert_eq!(relay.stop().code(), Some(0));
}

/// The second key belongs to another account. The API accepts the key, but the state must not be mixed with that
/// account.
#[test]
fn a_key_of_another_account_stops_no_deliveries() {
    let scene = scene();
    scene.add_past(3);
    let receiver = Receiver::in_background();
    receiver.answer_with(500);
    let (setup, _) = two_keys(&scene);
    let mut relay = setup.sink(&receiver.url()).set("SINKS__CRM__RETRY__INITIAL", "1s").start();
    receiver.wait(3, &relay);
    scene.handle().clear_messages();
    let number = scene.handle().add_number(NewNumber::default());
    scene.handle().add(NewMessage::new().id("other").number(number.id));
    scene.handle().revoke_key("start");
    relay.wait_for_log("refusal=the key belongs to another account than the state and is not used retry_s=60");
    receiver.answer_with(200);
    receiver.wait(6, &relay);
    assert!(receiver.received().iter().all(|received| received.webhook_id() != "other"));
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
}

#[test]
fn once_ends_with_77_when_no_key_is_accepted() {
    let cases = [("401", (401, "401 UNAUTHORIZED")), ("403 with its reason", (403, "403 SESSION_REQUIRED"))];
    side_by_side(&cases, |(status, said)| {
        let scene = scene();
        scene.add_past(3);
        scene.handle().add_fault(Rule::always(Effect::status(*status)));
        let (code, stdout, log) = scene.setup_from_beginning().args(&["once"]).output();
        assert_eq!((code, stdout.as_str()), (77, ""));
        let why = format!("the API accepts no key: make a new one in the dashboard and configure it why={said}");
        assert!(log.contains(&why), "{log}");
    });
}

#[test]
fn once_takes_the_next_key_too() {
    let scene = scene();
    scene.add_past(15);
    let (setup, _) = two_keys(&scene);
    scene.handle().revoke_key("start");
    let (code, stdout, log) = setup.args(&["once"]).output();
    assert_eq!((code, stdout.lines().count()), (0, 15), "{log}");
    assert!(log.contains(NEXT));
}

#[test]
fn a_key_on_a_path_for_browsers_is_said_with_the_reason() {
    let scene = scene();
    scene.add_past(3);
    scene.handle().add_fault(Rule::always(Effect::status(403)));
    let mut relay = scene.setup_from_beginning().start();
    relay.wait_for_log(&format!("{NONE_LEFT}403 SESSION_REQUIRED"));
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn an_expired_key_is_a_refused_key() {
    let scene = scene();
    scene.add_past(3);
    let relay = scene.setup_from_beginning().start();
    relay.ids(3);
    scene.handle().expire_key("start", Some(scene.handle().now()));
    relay.wait_for_log(&format!("{NONE_LEFT}401 UNAUTHORIZED"));
    ends_with_nothing_more(relay);
}
