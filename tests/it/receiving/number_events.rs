//! Tests of `[events] number_expiring`: sinks are told before a number expires.

use jiff::{SignedDuration, Timestamp};
use joltsms_simulator::NewNumber;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::relay::{Relay, Setup};
use crate::support::scene::{Scene, ends_with_nothing_more};
use crate::support::servers::receiver::Receiver;
use crate::support::waiting::wait_until;

const PHONE: &str = "+16505551234";

const EVENTS_TOLD: &str = "SELECT count(*) FROM delivery WHERE state = 'delivered'";

/// Adds a number that expires an hour before this many days are over. Returns when the number expires.
fn expiring_in(scene: &Scene, days: i64) -> Timestamp {
    let expires = scene.handle().now() + SignedDuration::from_hours(24 * days - 1);
    let number = NewNumber {
        id: Some("num_abc456".to_owned()),
        phone_number: Some(PHONE.to_owned()),
        expires_at: Some(expires),
        ..NewNumber::default()
    };
    scene.handle().add_number(number);
    expires
}

/// Prepares a relay whose sink crm asks for events and wants no message.
fn relay_to(scene: &Scene, receiver: &Receiver, format: &str) -> Setup {
    scene
        .setup()
        .sink(&receiver.url())
        .set("SINKS__CRM__EVENTS", "true")
        .set("SINKS__CRM__FORMAT", format)
        .set("SINKS__CRM__FILTER__FROM", "nobody")
        .set("EVENTS__NUMBER_EXPIRING", "7d,1d")
}

fn body_of(receiver: &Receiver, request: usize) -> Value {
    serde_json::from_slice(&receiver.received()[request].body).unwrap()
}

/// Returns how often the list of numbers was asked for.
fn lists(scene: &Scene) -> usize {
    scene.handle().requests().iter().filter(|request| format!("{request:?}").contains("/v1/numbers")).count()
}

/// Runs the relay until it has read the list of numbers once more, and polled twice after that.
fn read_the_list_again(scene: &Scene, setup: &mut Setup) -> Relay {
    let before = lists(scene);
    let mut relay = setup.start();
    scene.wait_until(|_| lists(scene) > before);
    scene.wait_for_polls(2);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    relay
}

#[test]
fn each_term_is_told_once_over_restarts_as_the_vendor_s_webhook_does() {
    let scene = Scene::new();
    let (receiver, other) = (Receiver::in_background(), Receiver::in_background());
    let expires = expiring_in(&scene, 7);
    scene.add();
    let mut setup = relay_to(&scene, &receiver, "jolt-event")
        .set("SINKS__OTHER__TYPE", "http")
        .set("SINKS__OTHER__URL", &other.url());
    // The receiver fails at first, and the relay is killed.
    receiver.answer_with(500);
    let mut relay = setup.start();
    receiver.wait(1, &relay);
    relay.kill();
    receiver.answer_with(200);
    let before = receiver.count();
    let mut relay = setup.start();
    receiver.wait(before + 1, &relay);
    let event = body_of(&receiver, before);
    assert_eq!(event, body_of(&receiver, 0), "the same at every attempt");
    let id = event["id"].as_str().unwrap().to_owned();
    assert_eq!(receiver.received()[before].webhook_id(), id);
    assert_eq!((event["type"].as_str(), &event["numberId"]), (Some("number.expiring.7d"), &json!("num_abc456")));
    let told: Timestamp = event["data"]["expiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(told.as_millisecond(), expires.as_millisecond());
    let expiry = &event["data"]["expiresAt"];
    let expected = json!({ "numberId": "num_abc456", "phoneNumber": PHONE, "expiresAt": expiry, "daysUntilExpiry": 7 });
    assert_eq!(event["data"], expected);
    wait_until("the record", || scene.count(EVENTS_TOLD) == 1, || relay.log());
    let (code, traced, _) = scene.setup().args(&["trace", &id]).output();
    assert!(code == 0 && traced.starts_with("event ") && traced.contains("crm"), "{traced}");
    assert!(traced.contains("not for other: the sink does not ask for events (events = true)"), "{traced}");
    assert_eq!(relay.stop().code(), Some(0));
    let dry_run = |takes_events: &str| {
        let setup = scene.setup().set("SINKS__OTHER__TYPE", "stdout").set("SINKS__OTHER__EVENTS", takes_events);
        setup.args(&["replay", "--sink", "other", "--id", &id, "--dry-run"]).output()
    };
    let (code, said, log) = dry_run("false");
    assert!(code == 1 && said.is_empty() && log.contains("nothing selected"), "{said}{log}");
    let (code, said, log) = dry_run("true");
    let row: Vec<&str> = said.lines().last().unwrap_or_default().split_whitespace().take(5).collect();
    assert_eq!((code, row.as_slice()), (0, ["other", "0", "0", "1", "0"].as_slice()), "{log}");
    let relay = read_the_list_again(&scene, &mut setup);
    assert_eq!(receiver.count(), before + 1, "{}", relay.log());
    // The number is renewed and comes to its last day: another term of another expiry.
    expiring_in(&scene, 1);
    let mut relay = setup.start();
    receiver.wait(before + 2, &relay);
    let last = body_of(&receiver, before + 1);
    assert_eq!((last["type"].as_str(), &last["data"]["daysUntilExpiry"]), (Some("number.expiring.1d"), &json!(1)));
    let added = scene.add();
    other.wait(1, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    assert!(other.received().iter().all(|request| request.message_id() == added), "it does not ask for events");
}

#[test]
fn other_formats_show_a_sentence() {
    let formats = [
        ("text", ""),
        ("slack", "/text"),
        ("discord", "/content"),
        ("teams", "/attachments/0/content/body/1/inlines/0/text"),
        ("message", "/body"),
        ("cloudevents", "/data/body"),
    ];
    for (format, place) in formats {
        let scene = Scene::new();
        let receiver = Receiver::in_background();
        expiring_in(&scene, 1);
        let mut relay = relay_to(&scene, &receiver, format).start();
        receiver.wait(1, &relay);
        let body = String::from_utf8(receiver.received()[0].body.to_vec()).unwrap();
        let text = match place {
            "" => body.clone(),
            place => body_of(&receiver, 0).pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        let plain = text.replace('\\', "");
        assert!(plain.contains(&format!("The number {PHONE} expires in 1 day, at ")), "{format}: {body}");
        assert!(!body.contains("unknown sender"), "{body}");
        if format == "cloudevents" {
            assert_eq!(body_of(&receiver, 0)["type"], "com.joltsms.number.expiring.1d");
        }
        assert_eq!(relay.stop().code(), Some(0));
    }
}

#[test]
fn an_event_whose_text_was_removed_is_not_told_again() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    expiring_in(&scene, 7);
    let mut setup = relay_to(&scene, &receiver, "message").set("STATE__KEEP_DELIVERED", "0s");
    let mut relay = setup.start();
    receiver.wait(1, &relay);
    let is_gone = || scene.count("SELECT count(*) FROM message WHERE event = 1 AND raw IS NULL") == 1;
    wait_until("the text to be removed", is_gone, || relay.log());
    assert_eq!(relay.stop().code(), Some(0));
    let relay = read_the_list_again(&scene, &mut setup);
    assert_eq!(receiver.count(), 1, "{}", relay.log());
}

#[test]
fn an_event_that_the_disk_did_not_take_is_made_again() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    let mut setup = relay_to(&scene, &receiver, "message");
    read_the_list_again(&scene, &mut setup);
    let change = |sql: &str| {
        let connection = Connection::open(scene.dir().join("state/state.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    change(
        "CREATE TRIGGER full BEFORE INSERT ON delivery WHEN EXISTS (SELECT 1 FROM message WHERE event = 1)
         BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    expiring_in(&scene, 7);
    let relay = setup.start();
    relay.wait_for_log("the list of numbers cannot be read");
    assert_eq!(scene.count("SELECT count(*) FROM message WHERE event = 1"), 0, "all of it, or nothing");
    change("DROP TRIGGER full");
    receiver.wait(1, &relay);
    relay.wait_for_log("a number expires soon: sinks with events = true are told");
    ends_with_nothing_more(relay);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn once_looks_at_the_list_before_it_ends() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    expiring_in(&scene, 7);
    for run in 0..2 {
        let (code, _, log) = relay_to(&scene, &receiver, "message").args(&["once"]).output();
        assert_eq!((code, receiver.count()), (0, 1), "run {run}: {log}");
    }
}

#[test]
fn readers_and_verify_see_messages_only_and_a_dead_event_is_a_dead_letter() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    expiring_in(&scene, 7);
    receiver.answer_with(422);
    let setup = || relay_to(&scene, &receiver, "message").set("SINKS__CRM__REJECT_STATUS", "422");
    let mut relay = setup().start();
    receiver.wait(1, &relay);
    let dead = || scene.count("SELECT count(*) FROM delivery WHERE state = 'dead'") == 1;
    wait_until("the dead letter", dead, || relay.log());
    let wait = ["wait", "--since", "1h", "--code-regex", "expires", "--timeout", "1s"];
    let (code, printed, log) = Setup::bare(scene.dir()).args(&wait).output();
    assert_eq!((code, printed.as_str()), (124, ""), "{log}");
    let (code, printed, log) = setup().args(&["verify", "--since", "1h"]).output();
    assert!(code == 0 && printed.starts_with("the API lists 0 messages"), "{printed}\n{log}");
    let (_, listed, _) = Setup::bare(scene.dir()).args(&["dead-letters", "list"]).output();
    assert!(listed.contains("evt_number_expiring_7d_num_abc456_") && listed.contains("rejected"), "{listed}");
    receiver.answer_with(200);
    let before = receiver.count();
    let (code, _, log) = Setup::bare(scene.dir()).args(&["dead-letters", "retry", "--all"]).output();
    assert_eq!(code, 0, "{log}");
    receiver.wait(before + 1, &relay);
    let (_, exported, _) = Setup::bare(scene.dir()).args(&["state", "export"]).output();
    assert!(exported.contains(r#""standing":"event""#), "{exported}");
    relay.stop();
}

#[test]
fn a_reload_begins_to_tell() {
    let scene = Scene::new();
    let receiver = Receiver::in_background();
    expiring_in(&scene, 7);
    let sink = format!("[sinks.crm]\ntype = \"http\"\nurl = \"{}\"\nevents = true\n", receiver.url());
    let file = scene.file(&sink);
    let relay = scene.setup().env("JOLTSMS_RELAY_CONFIG", &file).start();
    scene.wait_for_polls(3);
    scene.file(&(sink + "[events]\nnumber_expiring = \"7d\"\n"));
    relay.signal("HUP");
    receiver.wait(1, &relay);
    ends_with_nothing_more(relay);
}
