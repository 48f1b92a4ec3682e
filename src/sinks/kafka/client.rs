//! The sink that produces to Kafka, and the client that its attempts share.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;

use super::answers::{connection, failed, not_delivered};
use super::{KafkaRecord, KafkaTarget, WEBHOOK_ID};
use crate::domain::Finding;
use crate::sinks::server::{CheckedServer, MissingPlace, check_online};
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};
use crate::time::Clock;

/// Connects, and asks whether the topic exists. Produces nothing.
pub(super) async fn check(target: &KafkaTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let ask = async {
        let target = target.clone();
        let asked = tokio::task::spawn_blocking(move || has_topic(&target)).await;
        let has_topic = asked.unwrap_or_else(|_| Err(failed("the client of Kafka has failed")))?;
        if has_topic {
            return Ok(CheckedServer::works("found the topic at"));
        }
        let what = "the topic does not exist".to_owned();
        let remedy = format!(
            "make the topic, or correct sinks.{name}.topic; brokers that make topics by themselves make it with the first message"
        );
        Ok(CheckedServer::lacks("connected to", MissingPlace { what, remedy }))
    };
    check_online(name, &target.brokers, clock, ask).await
}

/// Asks the brokers whether they have the topic.
///
/// # Errors
/// The failed attempt: the brokers cannot be reached, or they refuse the login or the request.
fn has_topic(target: &KafkaTarget) -> Result<bool, Attempt> {
    let mut config = config(target);
    // This request must not make the topic.
    config.set("allow.auto.create.topics", "false");
    let notes = ConnectionNotes::default();
    let producer: Result<FutureProducer<ConnectionNotes>, _> = config.create_with_context(notes.clone());
    let producer = producer.map_err(|error| failed(&wrong_properties(&error)))?;
    let metadata = producer.client().fetch_metadata(Some(&target.topic), target.timeout).map_err(|error| {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        connection(notes.last().unwrap_or(code))
    })?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == target.topic);
    match topic.map(|topic| topic.error().map(RDKafkaErrorCode::from)) {
        Some(None) => Ok(true),
        None | Some(Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(false),
        Some(Some(code)) => Err(not_delivered(code, None, target.timeout)),
    }
}

/// Makes the configuration of the client.
fn config(target: &KafkaTarget) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Unless the operator's properties say something else, the client sends each message at once, without waiting for
    // further messages, and tries at least once a second to reach a broker that was lost.
    config.set("linger.ms", "0").set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &target.properties {
        config.set(name, value.expose());
    }
    config
        .set("bootstrap.servers", &target.brokers)
        .set("acks", "all")
        // If the client sends a message again within one attempt, the partition still gets the message only once.
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", target.timeout.as_millis().to_string());
    config
}

/// Describes why the client does not take the properties. Their values, which may be secrets, are not shown.
fn wrong_properties(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => format!("properties: {name} has no such value, or does not exist"),
        _ => "properties: the client of Kafka does not take them together".to_owned(),
    }
}

/// The last error that the client reported about its connections.
#[derive(Clone, Default)]
struct ConnectionNotes(Arc<Mutex<Option<RDKafkaErrorCode>>>);

impl ConnectionNotes {
    fn last(&self) -> Option<RDKafkaErrorCode> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, code: Option<RDKafkaErrorCode>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }
}

impl ClientContext for ConnectionNotes {
    // The client's log is thrown away. The words about failed attempts say the same.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, _: &str) {
        // The client first reports why a broker cannot be reached, and later only that all brokers are down. The first
        // report says more, so the later one does not replace it.
        let code = error.rdkafka_error_code();
        if code != Some(RDKafkaErrorCode::AllBrokersDown) || self.last().is_none() {
            self.note(code);
        }
    }
}

/// A client that is open.
#[derive(Clone)]
struct OpenProducer {
    producer: FutureProducer<ConnectionNotes>,
    notes: ConnectionNotes,
}

/// A sink that produces to a topic of Kafka.
pub(super) struct KafkaSink(Arc<KafkaClient>);

/// The client that the attempts of a sink share.
struct KafkaClient {
    target: KafkaTarget,
    /// The client, which keeps its own connections; `None` if the next attempt has to make one.
    open: Mutex<Option<OpenProducer>>,
}

impl KafkaSink {
    /// Makes the sink and its client, which begins to connect to the brokers.
    ///
    /// # Errors
    /// The reason why the client does not take the properties, in words.
    pub(super) fn new(target: &KafkaTarget) -> Result<Self, String> {
        let sink = Self(Arc::new(KafkaClient { target: target.clone(), open: Mutex::default() }));
        sink.0.producer()?;
        Ok(sink)
    }
}

impl Sink for KafkaSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let client = Arc::clone(&self.0);
        Box::pin(async move {
            match client.produce(outgoing).await {
                Ok(attempt) | Err(attempt) => attempt,
            }
        })
    }
}

impl KafkaClient {
    /// Returns the client. If there is no client, makes one.
    fn producer(&self) -> Result<OpenProducer, String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let notes = ConnectionNotes::default();
        let producer = config(&self.target).create_with_context(notes.clone());
        let producer = producer.map_err(|error| wrong_properties(&error))?;
        Ok(open.insert(OpenProducer { producer, notes }).clone())
    }

    /// Lets the next attempt make another client, unless another attempt has replaced this one already.
    fn give_up(&self, failed: &OpenProducer) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.notes.0, &failed.notes.0)) {
            *open = None;
        }
    }

    async fn produce(&self, outgoing: Outgoing) -> Result<Attempt, Attempt> {
        let target = &self.target;
        let record = target.record(outgoing).map_err(|answer| Attempt::Rejected { status: None, answer })?;
        let KafkaRecord { key, id, content_type, body } = record;
        let open = self.producer().map_err(|answer| Attempt::Gone { status: None, answer })?;
        let headers = OwnedHeaders::new()
            .insert(Header { key: WEBHOOK_ID, value: Some(&id) })
            .insert(Header { key: "content-type", value: Some(&content_type) });
        let record = FutureRecord::to(&target.topic).key(&key).payload(&body).headers(headers);
        match open.producer.send(record, Timeout::After(target.timeout)).await {
            Ok(_) => {
                open.notes.note(None);
                Ok(Attempt::Accepted { status: None })
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                // After a lost connection (`MessageTimedOut`) the client works again by itself. After every other error
                // the next attempt makes another client, because some errors last: for minutes the client returns an
                // error about a topic without asking the brokers again, and some other errors it returns for ever.
                if code != RDKafkaErrorCode::MessageTimedOut {
                    self.give_up(&open);
                }
                Err(not_delivered(code, open.notes.last(), target.timeout))
            }
        }
    }
}
