//! Tests of sinks of type `amqp`, with the broker RabbitMQ.
//!
//! A broker takes many seconds to begin, so a test tries several things with one broker.

use amq_protocol::types::AMQPValue;
use joltsms_relay::delivery::log_sentences::{SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;

use super::server_sinks::{relay_with, wait_until_delivered};
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::rabbitmq::{QueuedMessage, RabbitMq};

/// Prepares a relay whose only sink publishes to this exchange.
fn relay_to(scene: &Scene, url: &str, exchange: &str) -> Setup {
    let keys = format!(
        "type = \"amqp\"\nurl = \"{url}\"\nexchange = \"{exchange}\"\nrouting_key = \"sms.{{{{ message.to }}}}\""
    );
    relay_with(scene, &keys)
}

#[test]
fn what_a_broker_answers_has_the_right_consequence() {
    if !RabbitMq::is_installed() {
        return;
    }
    let scene = Scene::new();
    let broker = RabbitMq::start(scene.dir());
    messages_arrive_with_their_properties(&broker);
    an_exchange_that_is_missing_and_a_message_without_a_queue_are_tried_again(&broker);
    a_full_queue_slows_the_sink_down(&broker);
    a_refused_login_pauses_the_sink_and_no_secret_is_shown(&broker);
    a_broker_that_blocks_publishers_is_left_alone(&broker);
}

fn messages_arrive_with_their_properties(broker: &RabbitMq) {
    let scene = Scene::new();
    broker.channel().make_queue("plain", &[]);
    let id = scene.handle().add(NewMessage::new().number("+16505550199").body("Your code is 123456"));
    let mut relay = relay_to(&scene, &broker.url("", ""), "plain").start();
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    let body = scene.handle().row(&id).unwrap().json;
    let routing_key = "sms.+16505550199".to_owned();
    let content_type = "application/json".to_owned();
    assert_eq!(broker.messages("plain"), [QueuedMessage { routing_key, id, content_type, is_persistent: true, body }]);
    // Without an exchange, the routing key is the name of a queue.
    let direct = Scene::new();
    let keys = format!("type = \"amqp\"\nurl = \"{}\"\nrouting_key = \"direct\"", broker.url("guest:guest@", "/%2f"));
    let check = || relay_with(&direct, &keys).args(&["check", "--online"]).output();
    let (code, said, log) = check();
    assert!(code == 1 && said.contains("but the queue direct does not exist"), "{code} {said} {log}");
    broker.channel().make_queue("direct", &[]);
    let (code, said, log) = check();
    assert!(said.contains("the queue direct exists"), "{code} {said} {log}");
    direct.add();
    let mut relay = relay_with(&direct, &keys).start();
    wait_until_delivered(&direct, 1, &relay);
    assert_eq!(relay.stop().code(), Some(0));
    assert_eq!(broker.messages("direct").len(), 1);
}

fn an_exchange_that_is_missing_and_a_message_without_a_queue_are_tried_again(broker: &RabbitMq) {
    let scene = Scene::new();
    let number = "+16505550199";
    scene.handle().add(NewMessage::new().number(number));
    let setup = || relay_to(&scene, &broker.url("", ""), "late");
    let (code, said, log) = setup().args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains("the exchange late does not exist"), "{code} {said} {log}");
    assert!(said.contains("declare the exchange and bind a queue to it"), "{said}");
    let mut relay = setup().start();
    relay.wait_for_log("the exchange late does not exist");
    broker.channel().make_exchange("late");
    relay.wait_for_log("no queue takes messages with this routing key (NO_ROUTE)");
    broker.channel().make_queue("late", &[]);
    wait_until_delivered(&scene, 1, &relay);
    assert_eq!(broker.messages("late").len(), 1, "what came back was not stored");
    assert_eq!(relay.stop().code(), Some(0));
    assert!(!relay.log().contains(number), "{}", relay.log());
}

fn a_full_queue_slows_the_sink_down(broker: &RabbitMq) {
    let scene = Scene::new();
    let limits =
        [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", AMQPValue::LongString("reject-publish".into()))];
    broker.channel().make_queue("small", &limits);
    let mut relay = relay_to(&scene, &broker.url("", ""), "small").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    scene.add();
    relay.wait_for_log("the broker does not take the message (basic.nack): is a queue full?");
    broker.channel().purge("small");
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.stop().code(), Some(0));
}

fn a_refused_login_pauses_the_sink_and_no_secret_is_shown(broker: &RabbitMq) {
    let scene = Scene::new();
    scene.add();
    broker.channel().make_queue("login", &[]);
    broker.control(&["add_user", "relay", "right-hunter2"]);
    broker.control(&["set_permissions", "-p", "/", "relay", "^none$", ".*", "^none$"]);
    let with = |password: &str, path: &str| relay_to(&scene, &broker.url(&format!("relay:{password}@"), path), "login");
    let mut shown = Vec::new();
    for (password, path, expected) in [
        ("wrong-hunter2", "", "the broker refuses the login: Login was refused"),
        ("right-hunter2", "/nowhere", "the broker refuses the login: vhost nowhere not found"),
        ("right-hunter2", "", "logged in to amqp://…@127.0.0.1"),
    ] {
        let (code, said, log) = with(password, path).args(&["check", "--online"]).output();
        assert!(said.contains(expected), "{code} {said} {log}");
        shown.extend([said, log]);
    }
    let mut relay = with("wrong-hunter2", "").start();
    relay.wait_for_log("the broker refuses the login");
    assert_eq!(relay.stop().code(), Some(0));
    let (code, _, log) = with("right-hunter2", "").args(&["sinks", "resume", "trial"]).output();
    assert_eq!(code, 0, "{log}");
    let mut again = with("right-hunter2", "").start();
    wait_until_delivered(&scene, 1, &again);
    assert_eq!(again.stop().code(), Some(0));
    // The right to write ends, and the broker closes the channel at the next message.
    broker.control(&["set_permissions", "-p", "/", "relay", "^none$", "^none$", "^none$"]);
    scene.add();
    let mut forbidden = with("right-hunter2", "").start();
    forbidden.wait_for_log("the user may not publish to the exchange login");
    assert_eq!(forbidden.stop().code(), Some(0));
    shown.extend([relay.log(), again.log(), forbidden.log()]);
    assert!(shown.iter().all(|shown| !shown.contains("hunter2")), "{shown:?}");
}

fn a_broker_that_blocks_publishers_is_left_alone(broker: &RabbitMq) {
    let scene = Scene::new();
    broker.channel().make_queue("blocked", &[]);
    let mut relay = relay_to(&scene, &broker.url("", ""), "blocked").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    broker.control(&["set_disk_free_limit", "1000000GB"]);
    // The broker blocks a publisher at its next message, which may or may not be confirmed.
    scene.add();
    scene.add();
    relay.wait_for_log("the broker takes no messages at the moment: low on disk");
    broker.control(&["set_disk_free_limit", "1MB"]);
    wait_until_delivered(&scene, 3, &relay);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_lost_broker_is_a_retry_and_its_return_is_noticed() {
    if !RabbitMq::is_installed() {
        return;
    }
    let scene = Scene::new();
    let mut broker = RabbitMq::start(scene.dir());
    broker.channel().make_queue("sms", &[]);
    let mut relay = relay_to(&scene, &broker.url("", ""), "sms").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    broker.kill();
    scene.add();
    relay.wait_for_log(&format!("{SINK_FAILS} sink.name=\"trial\" reason=\"connection refused"));
    broker.start_again();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(broker.messages("sms").len(), 2);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn check_shows_what_is_published_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    let text = r#"{"id":"m.1","to":"+1650.5#","from":"+1","body":"hello","parsedCode":"42"}"#;
    std::fs::write(&message, text).unwrap();
    let arguments = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, "amqp://localhost/vhost", "sms").args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    let head = "AMQP broker amqp://localhost";
    for part in [head, ", exchange sms", "routing key: sms.+1650_5_\n", "message-id: msg_", text] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let long = "x".repeat(256);
    for (url, exchange, wrong) in [
        ("amqp://rabbit.example", "sms", "goes to rabbit.example without encryption"),
        ("mqtt://rabbit.example", "sms", "must begin with amqps:// or amqp://"),
        ("amqps://rabbit.example", long.as_str(), "`sinks.trial.exchange`"),
        (&format!("amqps://rabbit.example/{long}"), "sms", "`sinks.trial.url`"),
    ] {
        let (code, said, log) = relay_to(&scene, url, exchange).args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{url} {exchange}: {code} {said} {log}");
    }
    for routing_key in ["", "{{ number.serviceName }}", "{{ message.nothing }}", "{{ x"] {
        let keys = format!("type = \"amqp\"\nurl = \"amqps://r.example\"\nrouting_key = \"{routing_key}\"");
        let (code, _, log) = relay_with(&scene, &keys).args(&["check"]).output();
        assert!(code == 78 && log.contains("`sinks.trial.routing_key`"), "{routing_key}: {code} {log}");
    }
    let too_long = format!(r#"{{"id":"m1","to":"{long}","from":"+1","body":"hello"}}"#);
    std::fs::write(&message, too_long).unwrap();
    let (_, said, log) = relay_to(&scene, "amqps://rabbit.example", "sms").args(&arguments).output();
    assert!((said.clone() + &log).contains("routing_key: longer than 255 bytes"), "{said} {log}");
}
