//! Sinks of type `kafka`: each message is produced to a topic of Apache Kafka.
//!
//! Invariants:
//!
//! - A message is delivered when all in-sync replicas of its partition have it (`acks=all`).
//! - The client of Kafka keeps the connections, and connects again when one is lost. It gives a message up when the
//!   time limit of the attempt is over.
//! - The words about a failure contain no text of a broker.

#[cfg(feature = "sink-kafka")]
mod answers;
#[cfg(feature = "sink-kafka")]
mod client;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::http::webhook_id::webhook_id;
#[cfg(feature = "sink-kafka")]
use super::{OnlineCheck, Sink, SinkBuildError};
use super::{Outgoing, Preview, ReadContext, SinkType, Target};
use crate::domain::Sanitized;
use crate::secret::Secret;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
use crate::time::Clock;

/// The header that holds the message's id.
const WEBHOOK_ID: &str = "webhook-id";

/// The type `kafka`.
#[derive(Debug)]
pub(super) struct Kafka;

/// The brokers and the topic of a sink.
#[derive(Clone)]
struct KafkaTarget {
    /// The brokers from which the client learns of all other brokers, with commas between them.
    brokers: String,
    topic: String,
    key: Arc<Template>,
    /// Further properties of the client. The values may be secrets.
    properties: Vec<(String, Secret)>,
    /// The longest time for one attempt.
    timeout: Duration,
}

/// The record (in Kafka's sense) that is produced for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KafkaRecord {
    key: String,
    /// The `webhook-id`.
    id: String,
    content_type: String,
    body: Vec<u8>,
}

impl SinkType for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl KafkaTarget {
    /// Makes the record for a message.
    ///
    /// # Errors
    /// The reason why the message has no key.
    fn record(&self, outgoing: Outgoing) -> Result<KafkaRecord, String> {
        let key = self.key.render(&outgoing.message, None).map_err(|mistake| format!("key: {mistake}"))?;
        let id = webhook_id(&outgoing.id);
        Ok(KafkaRecord { key, id, content_type: outgoing.content_type.into_owned(), body: outgoing.body })
    }
}

impl Target for KafkaTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("Kafka brokers {}, topic {}", self.brokers, self.topic)
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let record = self.record(outgoing).map_err(|why| format!("this message cannot be sent: {why}"))?;
        let mut head = format!("{}\nkey: {}\n", self.describe(), Sanitized::line(&record.key));
        head += &format!("{WEBHOOK_ID}: {}\ncontent-type: {}\n\n", record.id, record.content_type);
        Ok(Preview { head, body: record.body })
    }

    #[cfg(feature = "sink-kafka")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-kafka")]
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(client::KafkaSink::new(self).map_err(SinkBuildError::Kafka)?))
    }
}

impl fmt::Debug for KafkaTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, topic, key, properties, timeout } = self;
        let names: Vec<&String> = properties.iter().map(|(name, _)| name).collect();
        out.debug_struct("Kafka")
            .field("brokers", brokers)
            .field("topic", topic)
            .field("key", key)
            .field("properties", &names)
            .field("timeout", timeout)
            .finish()
    }
}
