//! Tests of the details of the receiving number, as receivers get them from the real program.

use std::fs;

use joltsms_simulator::{Effect, NewMessage, NewNumber, Rule};

use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::Receiver;

/// A relay with three sinks: `told` shows details of the number, `plain` does not show any, `team` is a chat.
const CONFIGURATION: &str = r#"
[sinks.told]
type = "http"
url = "TOLD"
format = "template"
template = '{"service": {{ number.serviceName | tojson }}, "tags": {{ number.tags | tojson }}, "body": "{{ message.body }}"}'

[sinks.plain]
type = "http"
url = "PLAIN"
format = "template"
template = '{"to": "{{ number.phoneNumber }}", "number": "{{ number.id }}"}'

[sinks.team]
type = "http"
url = "TEAM"
format = "slack"
"#;

struct Receivers {
    told: Receiver,
    plain: Receiver,
    team: Receiver,
}

impl Receivers {
    fn new() -> Self {
        let [told, plain, team] = [(); 3].map(|()| Receiver::in_background());
        Self { told, plain, team }
    }

    fn start(&self, scene: &Scene) -> Relay {
        let Self { told, plain, team } = self;
        let text = [("TOLD", told), ("PLAIN", plain), ("TEAM", team)]
            .into_iter()
            .fold(CONFIGURATION.to_owned(), |text, (name, receiver)| text.replace(name, &receiver.url()));
        let file = scene.file(&text);
        scene.setup_from_beginning().args(&["--config", &file]).start()
    }
}

fn number(scene: &Scene, service: &str) {
    scene.handle().add_number(NewNumber {
        id: Some("n-1".to_owned()),
        phone_number: Some("+16505551234".to_owned()),
        service_name: Some(service.to_owned()),
        tags: vec!["prod".to_owned(), "a \"b\"".to_owned()],
        ..NewNumber::default()
    });
}

fn message(scene: &Scene, id: &str) {
    let now = scene.handle().now();
    let message = NewMessage::new().id(id).number("n-1").from("+18005559876").body("hello");
    scene.handle().add(message.received_at(now));
}

/// Adds a message to a known number while the list of numbers cannot be read. Returns the scene, and the number of the
/// fault rule.
fn list_refused() -> (Scene, u64) {
    let scene = Scene::new();
    number(&scene, "PayPal");
    let refused = scene.handle().add_fault(Rule::always(Effect::status(503)).path("/v1/numbers"));
    message(&scene, "1");
    (scene, refused)
}

fn bodies(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(|request| String::from_utf8(request.body.to_vec()).unwrap()).collect()
}

#[test]
fn what_a_template_says_of_the_number_is_waited_for_over_a_restart() {
    let (scene, refused) = list_refused();
    let receivers = Receivers::new();
    let mut relay = receivers.start(&scene);
    receivers.plain.wait(1, &relay);
    relay.wait_for_log("the list of numbers cannot be read; messages that need details of their number wait");
    scene.wait_for_fault(refused, 2);
    assert_eq!(receivers.told.count(), 0, "nobody guesses");
    assert_eq!(bodies(&receivers.plain), [r#"{"to": "+16505551234", "number": "n-1"}"#]);
    relay.kill();
    scene.handle().clear_faults();
    let mut relay = receivers.start(&scene);
    receivers.told.wait(1, &relay);
    // From now on the details are known, and no message waits.
    message(&scene, "2");
    receivers.told.wait(2, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let expected = r#"{"service": "PayPal", "tags": ["prod", "a \"b\""], "body": "hello"}"#;
    assert_eq!(bodies(&receivers.told), [expected; 2]);
    assert_eq!(receivers.told.webhook_ids(), ["1", "2"]);
}

#[test]
fn a_number_that_is_not_listed_has_none() {
    let scene = Scene::new();
    scene.handle().add_fault(Rule::always(Effect::EmptyPage { more: false }).path("/v1/numbers"));
    message(&scene, "1");
    let receivers = Receivers::new();
    let mut relay = receivers.start(&scene);
    receivers.told.wait(1, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!(bodies(&receivers.told), [r#"{"service": null, "tags": [], "body": "hello"}"#]);
}

#[test]
fn a_chat_shows_the_service_where_it_is_known_and_waits_for_nothing() {
    let (scene, refused) = list_refused();
    let receivers = Receivers::new();
    let mut relay = receivers.start(&scene);
    receivers.team.wait(1, &relay);
    scene.wait_for_fault(refused, 1);
    scene.handle().clear_faults();
    receivers.told.wait(1, &relay);
    message(&scene, "2");
    receivers.team.wait(2, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    let texts: Vec<String> = bodies(&receivers.team)
        .iter()
        .map(|body| serde_json::from_str::<serde_json::Value>(body).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let expected =
        ["SMS to +16505551234 from +18005559876\nhello", "SMS to +16505551234 (PayPal) from +18005559876\nhello"];
    assert_eq!(texts, expected);
}

#[test]
fn a_chat_alone_has_the_list_of_numbers_read() {
    let scene = Scene::new();
    number(&scene, "PayPal");
    let team = Receiver::in_background();
    let mut relay = scene.setup_from_beginning().sink(&team.url()).set("SINKS__CRM__FORMAT", "discord").start();
    scene.wait_until(|handle| handle.requests().iter().any(|request| request.path.starts_with("/v1/numbers")));
    scene.wait_until(|_| scene.count("SELECT count(*) FROM number WHERE id = 'n-1' AND details IS NOT NULL") == 1);
    message(&scene, "1");
    team.wait(1, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert!(bodies(&team)[0].contains(r"SMS to +16505551234 \\(PayPal\\) from"), "{:?}", bodies(&team));
}

#[test]
fn what_waited_before_the_template_needed_the_number_waits_for_it_too() {
    let scene = Scene::new();
    number(&scene, "PayPal");
    message(&scene, "1");
    let receiver = Receiver::in_background();
    receiver.answer_with(503);
    let with = |template: &str| -> Setup {
        let path = scene.dir().join("sms.j2");
        fs::write(&path, template).unwrap();
        let setup = scene.setup_from_beginning().sink(&receiver.url()).set("SINKS__CRM__FORMAT", "template");
        let setup = setup.set("SINKS__CRM__CONTENT_TYPE", "text/plain").set("SINKS__CRM__RETRY__INITIAL", "100ms");
        setup.set("SINKS__CRM__RETRY__FACTOR", "1").set("SINKS__CRM__TEMPLATE_FILE", &path.display().to_string())
    };
    let mut relay = with("{{ message.body }}").start();
    receiver.wait(1, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!(scene.count("SELECT count(*) FROM number WHERE fetched_at IS NOT NULL"), 0, "nobody asked");
    receiver.answer_with(200);
    let before = receiver.count();
    let mut relay = with("{{ message.body }} for {{ number.serviceName }}").start();
    receiver.wait(before + 1, &relay);
    assert_eq!(relay.stop().code(), Some(0), "{}", relay.log());
    assert_eq!(bodies(&receiver)[before..], ["hello for PayPal"]);
}
