//! Tests of sinks of type `kafka`, with the mock cluster of librdkafka: brokers in this process that speak the protocol.

use joltsms_relay::delivery::log_sentences::{MESSAGE_IS_DEAD, SINK_FAILS, SINK_WORKS_AGAIN};
use joltsms_simulator::NewMessage;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::server_sinks::{relay_with, wait_until_delivered};
use crate::support::relay::setup::Setup;
use crate::support::scene::Scene;
use crate::support::servers::kafka::{KafkaCluster, TopicRecord};

/// Prepares a relay whose only sink produces to this cluster. `keys` are further keys of the sink.
fn relay_to(scene: &Scene, brokers: &str, keys: &str) -> Setup {
    relay_with(scene, &format!("type = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"sms\"\n{keys}"))
}

#[test]
fn records_have_the_key_the_id_and_the_payload() {
    let scene = Scene::new();
    let cluster = KafkaCluster::start("sms");
    let id = scene.handle().add(NewMessage::new().number("+16505550199").body("Your code is 123456"));
    let (code, said, log) = relay_to(&scene, &cluster.brokers(), "").args(&["check", "--online"]).output();
    assert!(said.contains("found the topic at 127.0.0.1"), "{code} {said} {log}");
    let missing = format!("type = \"kafka\"\nbrokers = \"{}\"\ntopic = \"missing\"", cluster.brokers());
    let (code, said, log) = relay_with(&scene, &missing).args(&["check", "--online"]).output();
    assert!(code == 1 && said.contains("but the topic does not exist"), "{code} {said} {log}");
    let mut relay = relay_to(&scene, &cluster.brokers(), "").start();
    wait_until_delivered(&scene, 1, &relay);
    let body = scene.handle().row(&id).unwrap().json;
    let headers = vec![("webhook-id".to_owned(), id), ("content-type".to_owned(), "application/json".to_owned())];
    assert_eq!(cluster.records(), [TopicRecord { key: "+16505550199".to_owned(), headers, body }]);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn lost_brokers_are_a_retry_and_their_return_is_noticed() {
    let scene = Scene::new();
    let cluster = KafkaCluster::start("sms");
    let mut relay = relay_to(&scene, &cluster.brokers(), "timeout = \"2s\"").start();
    scene.add();
    wait_until_delivered(&scene, 1, &relay);
    cluster.take_down();
    scene.add();
    relay.wait_for_log(SINK_FAILS);
    assert!(relay.log().contains("no broker can be reached"), "{}", relay.log());
    cluster.bring_up();
    relay.wait_for_log(SINK_WORKS_AGAIN);
    wait_until_delivered(&scene, 2, &relay);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn what_a_broker_refuses_has_the_right_consequence() {
    let scene = Scene::new();
    let cluster = KafkaCluster::start("sms");
    let mut relay = relay_to(&scene, &cluster.brokers(), "timeout = \"5s\"").start();
    cluster.refuse_once(RDKafkaApiKey::Produce, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    scene.add();
    relay.wait_for_log("the user may not write to the topic");
    wait_until_delivered(&scene, 1, &relay);
    cluster.refuse_once(RDKafkaApiKey::Produce, RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    scene.add();
    relay.wait_for_log("longer than the brokers take");
    relay.wait_for_log(MESSAGE_IS_DEAD);
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn check_shows_the_record_and_refuses_what_makes_no_sense() {
    let scene = Scene::new();
    let message = scene.dir().join("message.json");
    let text = r#"{"id":"m.1","to":"+1650","from":"+1","body":"hello","parsedCode":"42"}"#;
    std::fs::write(&message, text).unwrap();
    let arguments = ["check", "--message", message.to_str().unwrap()];
    let (code, said, log) = relay_to(&scene, "localhost:9092", "").args(&arguments).output();
    assert_eq!(code, 0, "{log}");
    for part in ["Kafka brokers localhost:9092, topic sms", "key: +1650\n", "webhook-id: msg_", text] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (brokers, keys, wrong) in [
        ("kafka.example:9092", "", "goes to another machine without encryption"),
        ("localhost", "", "must hold hosts, each with its port"),
        ("localhost:9092", "properties = { acks = \"1\" }", "`sinks.trial.properties.acks` cannot be set"),
        ("localhost:9092", "properties = { \"sasl.password\" = \"hunter2\" }", "is written out; secrets do not belong"),
        ("localhost:9092", "key = \"{{ number.serviceName }}\"", "`sinks.trial.key`"),
        ("localhost:9092", "url = \"x\"", "`sinks.trial.url`"),
    ] {
        let (code, said, log) = relay_to(&scene, brokers, keys).args(&["check"]).output();
        assert!(code == 78 && log.contains(wrong), "{brokers} {keys}: {code} {said} {log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
