//! Peers that are real servers, which are killed with SIGKILL and started again.

use std::path::Path;

use super::{Peer, try_kills};
#[cfg(feature = "sink-kafka")]
use crate::support::servers::kafka::{KafkaCluster, TopicRecord};
use crate::support::servers::mosquitto::Mosquitto;
use crate::support::servers::nats::{NatsServer, StreamMessage};
use crate::support::servers::postgres::PostgresDatabase;
use crate::support::servers::rabbitmq::RabbitMq;
use crate::support::servers::smtp::MailServer;

/// An MQTT broker with a subscriber.
#[derive(Default)]
struct MqttPeer(Option<Mosquitto>);

impl Peer for MqttPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let mut broker = Mosquitto::start(dir, "allow_anonymous true");
        broker.subscribe();
        let keys = format!("type = \"mqtt\"\nurl = \"{}\"\ntopic = \"sms/{{{{ message.to }}}}\"", broker.url());
        self.0 = Some(broker);
        keys
    }

    fn arrived(&self) -> Vec<String> {
        let received = self.0.as_ref().unwrap().received();
        let id = |properties: String| properties.strip_prefix("webhook-id:").unwrap().to_owned();
        received.into_iter().map(|(_, properties, _)| id(properties)).collect()
    }

    fn kill_server(&mut self) -> bool {
        let broker = self.0.as_mut().unwrap();
        broker.kill();
        broker.start_again();
        true
    }
}

#[test]
fn mqtt() {
    if Mosquitto::is_installed() {
        try_kills("mqtt", 200, &mut MqttPeer::default());
    }
}

/// A mail server.
#[derive(Default)]
struct MailPeer(Option<MailServer>);

impl Peer for MailPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let server = self.0.insert(MailServer::start(dir, &[]));
        let address = server.address();
        format!("type = \"smtp\"\nurl = \"smtp://{address}\"\nfrom = \"sms@example.com\"\nto = \"ops@example.com\"")
    }

    fn arrived(&self) -> Vec<String> {
        let id = |mail: serde_json::Value| {
            let id = mail["id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
            id.strip_suffix("@example.com").unwrap().to_owned()
        };
        self.0.as_ref().unwrap().received().into_iter().map(id).collect()
    }

    fn kill_server(&mut self) -> bool {
        let server = self.0.as_mut().unwrap();
        server.kill();
        server.start_again();
        true
    }
}

#[test]
fn smtp() {
    if MailServer::is_installed() {
        try_kills("smtp", 200, &mut MailPeer::default());
    }
}

/// A database server with a table.
#[derive(Default)]
struct PostgresPeer(Option<PostgresDatabase>);

impl Peer for PostgresPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let database = self.0.insert(PostgresDatabase::start(dir));
        database.query("CREATE TABLE sms (id text PRIMARY KEY, received_at timestamptz, sender text, recipient text, code text, payload text)");
        format!("type = \"postgres\"\nurl = \"{}\"\ntable = \"sms\"", database.url())
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().query("SELECT id FROM sms").lines().map(str::to_owned).collect()
    }

    fn kill_server(&mut self) -> bool {
        let database = self.0.as_mut().unwrap();
        database.kill();
        database.start_again();
        true
    }

    fn repeats_of_a_kill(&self) -> usize {
        0
    }
}

#[test]
fn postgres() {
    if PostgresDatabase::is_installed() {
        try_kills("postgres", 200, &mut PostgresPeer::default());
    }
}

/// A stream of NATS, which drops repeats.
#[derive(Default)]
struct NatsPeer(Option<NatsServer>);

impl Peer for NatsPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let server = self.0.insert(NatsServer::start_with_stream(dir));
        format!("type = \"nats\"\nurl = \"{}\"\nsubject = \"sms.{{{{ message.to }}}}\"", server.url("nats", ""))
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().messages().iter().map(StreamMessage::id).collect()
    }

    fn kill_server(&mut self) -> bool {
        self.0.as_mut().unwrap().kill_and_start_again();
        true
    }

    fn repeats_of_a_kill(&self) -> usize {
        0
    }
}

#[test]
fn nats() {
    if NatsServer::is_installed() {
        try_kills("nats", 200, &mut NatsPeer::default());
    }
}

/// A queue of RabbitMQ.
#[derive(Default)]
struct AmqpPeer(Option<RabbitMq>);

impl Peer for AmqpPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let broker = self.0.insert(RabbitMq::start(dir));
        broker.channel().make_queue("sms", &[]);
        let url = broker.url("", "");
        format!("type = \"amqp\"\nurl = \"{url}\"\nexchange = \"sms\"\nrouting_key = \"{{{{ message.to }}}}\"")
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().messages("sms").into_iter().map(|message| message.id).collect()
    }

    fn kill_server(&mut self) -> bool {
        self.0.as_mut().unwrap().kill_and_start_again();
        true
    }
}

#[test]
fn amqp() {
    if RabbitMq::is_installed() {
        try_kills("amqp", 200, &mut AmqpPeer::default());
    }
}

/// A cluster of Kafka, whose broker loses its connections.
#[cfg(feature = "sink-kafka")]
#[derive(Default)]
struct KafkaPeer(Option<KafkaCluster>);

#[cfg(feature = "sink-kafka")]
impl Peer for KafkaPeer {
    fn keys(&mut self, _: &Path) -> String {
        let cluster = self.0.insert(KafkaCluster::start("sms"));
        format!("type = \"kafka\"\nbrokers = \"{}\"\ntopic = \"sms\"\ntimeout = \"5s\"", cluster.brokers())
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().records().iter().map(TopicRecord::id).collect()
    }

    fn kill_server(&mut self) -> bool {
        let cluster = self.0.as_ref().unwrap();
        cluster.take_down();
        cluster.bring_up();
        true
    }
}

#[cfg(feature = "sink-kafka")]
#[test]
fn kafka() {
    try_kills("kafka", 200, &mut KafkaPeer::default());
}
