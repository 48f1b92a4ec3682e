//! The mock cluster of librdkafka, and a consumer that reads its topic.

use std::cell::RefCell;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// The longest time for a question to the broker. After an outage librdkafka may never get an answer to a question, so a
/// longer time would only be lost; whoever waits for records asks again.
const ANSWER: Duration = Duration::from_secs(2);

/// A record of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicRecord {
    pub(crate) key: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl TopicRecord {
    /// Returns the value of `webhook-id`.
    pub(crate) fn id(&self) -> String {
        self.headers.iter().find(|(name, _)| name == "webhook-id").unwrap().1.clone()
    }
}

/// A cluster of one broker, with a topic of one partition.
pub(crate) struct KafkaCluster {
    cluster: MockCluster<'static, DefaultProducerContext>,
    consumer: BaseConsumer,
    topic: String,
    read: RefCell<Vec<TopicRecord>>,
}

impl KafkaCluster {
    /// Starts a cluster with this topic.
    pub(crate) fn start(topic: &str) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, 1, 1).unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "1000")
            // Questions wait behind a request for records, which the broker holds back until there are records.
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        Self { cluster, consumer, topic: topic.to_owned(), read: RefCell::default() }
    }

    /// Returns the brokers with commas between them.
    pub(crate) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Lets the broker take this time for each answer.
    pub(crate) fn slow_down(&self, time: Duration) {
        self.cluster.broker_round_trip_time(-1, time).unwrap();
    }

    /// Returns the records of the topic, as far as the broker has told them by now.
    pub(crate) fn records(&self) -> Vec<TopicRecord> {
        let mut read = self.read.borrow_mut();
        let watermarks = self.consumer.fetch_watermarks(&self.topic, 0, ANSWER);
        let last = usize::try_from(watermarks.map_or(0, |(_, high)| high)).unwrap();
        while read.len() < last {
            let Some(Ok(message)) = self.consumer.poll(ANSWER) else { continue };
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            let headers = message.headers().unwrap();
            let headers = headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect();
            read.push(TopicRecord { key: text(message.key()), headers, body: text(message.payload()) });
        }
        read.clone()
    }

    /// Ends all connections to the broker, and refuses new ones.
    pub(crate) fn take_down(&self) {
        self.cluster.broker_down(-1).unwrap();
    }

    /// Lets the broker take connections again.
    pub(crate) fn bring_up(&self) {
        self.cluster.broker_up(-1).unwrap();
    }

    /// Lets the broker answer one request of this kind with an error.
    pub(crate) fn refuse_once(&self, request: RDKafkaApiKey, error: RDKafkaRespErr) {
        self.cluster.request_errors(request, &[error]);
    }
}
