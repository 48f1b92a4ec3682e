//! The mock cluster of librdkafka, a part of this process. Its broker is not killed: it loses its connections.

use std::path::Path;
use std::time::Duration;

use super::{Peer, try_kills};
use crate::support::servers::kafka::{KafkaCluster, TopicRecord};

/// The time that the broker takes for an answer, so that messages are in flight whenever something is killed.
const DELAY: Duration = Duration::from_millis(20);

/// A cluster of Kafka, whose broker loses its connections.
#[derive(Default)]
struct KafkaPeer(Option<KafkaCluster>);

impl Peer for KafkaPeer {
    fn keys(&mut self, _: &Path) -> String {
        let cluster = self.0.insert(KafkaCluster::start("sms"));
        cluster.slow_down(DELAY);
        format!(
            "type = \"kafka\"\nbrokers = \"{}\"\ntopic = \"sms\"\ntimeout = \"5s\"\nconcurrency = 2",
            cluster.brokers()
        )
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

#[test]
fn kafka() {
    try_kills("kafka", 200, &mut KafkaPeer::default());
}
