//! Sinks of type `mqtt`: each message is published to an MQTT 5 broker.
//!
//! Invariants, beside those of [`super::server`]:
//!
//! - A message is delivered when the broker has acknowledged it. QoS 0, which has no acknowledgement, does not exist here.
//! - The session is clean: after a lost connection nothing is sent again but by delivery.
//! - No value of a message can add a level or a wildcard to the topic.

mod answers;
mod connection;
mod home_assistant;
mod settings;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rumqttc::v5::mqttbytes::QoS;
use tokio::time::timeout;

use self::answers::{Publication, publication};
use self::connection::{BrokerConnection, LoginOptions, Message};
use super::http::webhook_id::webhook_id;
use super::server::{Connector, Kept, Server, ServerLogin, check_online, failed};
use super::{Attempt, Attempting, OnlineCheck, Outgoing, Preview, Sink, SinkBuildError, SinkType, Target};
use crate::domain::Sanitized;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
use crate::time::Clock;

/// The user property that holds the message's id.
const WEBHOOK_ID: &str = "webhook-id";

/// The longest topic, in bytes.
const LONGEST_TOPIC: usize = 65_535;

/// The type `mqtt`.
#[derive(Debug)]
pub(super) struct Mqtt;

/// The broker and the topic of a sink.
#[derive(Clone)]
struct MqttTarget {
    server: Server,
    login: Option<ServerLogin>,
    /// The name of the client; if it is empty, the broker gives one.
    client_id: String,
    topic: Arc<Template>,
    qos: QoS,
    retain: bool,
    /// Whether Home Assistant gets a sensor for each number.
    home_assistant: bool,
}

impl SinkType for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, is_meant: bool) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, is_meant)?))
    }
}

impl MqttTarget {
    /// Makes the publication of a message.
    ///
    /// # Errors
    /// The reason why the message has no topic.
    fn message(&self, outgoing: Outgoing) -> Result<Message, String> {
        let topic = self.topic.render(&outgoing.message, None).map_err(|mistake| format!("topic: {mistake}"))?;
        if topic.len() > LONGEST_TOPIC {
            return Err(format!("topic: longer than {LONGEST_TOPIC} bytes"));
        }
        Ok(Message {
            topic,
            retain: self.retain,
            id: webhook_id(&outgoing.id),
            content_type: outgoing.content_type.into_owned(),
            body: outgoing.body,
        })
    }
}

impl Target for MqttTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        let retained = if self.retain { ", retained" } else { "" };
        let sensors = if self.home_assistant { ", sensors for Home Assistant" } else { "" };
        format!("MQTT broker {}, QoS {}{retained}{sensors}", self.server, self.qos as u8)
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let message = self.message(outgoing.clone()).map_err(|why| format!("cannot be sent this: {why}"))?;
        let line = |text: &str| Sanitized::line(text).to_string();
        let mut head = format!("{}\n", self.describe());
        if self.home_assistant {
            for sensor in home_assistant::sensor(&outgoing).iter().flat_map(home_assistant::Sensor::messages) {
                head += &format!("{}: {}\n", line(&sensor.topic), line(&String::from_utf8_lossy(&sensor.body)));
            }
        }
        head += &format!("topic: {}\n", line(&message.topic));
        head += &format!("content-type: {}\n{WEBHOOK_ID}: {}\n\n", message.content_type, message.id);
        Ok(Preview { head, body: message.body })
    }

    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        let connect = async {
            let connector = self.server.connector().map_err(|error| failed(error.to_string()))?;
            let login = LoginOptions { client_id: String::new(), login: self.login.clone() };
            let connection = connector.connect(|stream| BrokerConnection::open(stream, login)).await?;
            connection.check_qos(self.qos)?;
            Ok("logged in to")
        };
        Box::pin(check_online(name, &self.server, clock, connect))
    }

    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        let connector = self.server.connector()?;
        let shared = Shared {
            target: self.clone(),
            connector,
            connection: Kept::new(),
            told_of_no_subscribers: AtomicBool::new(false),
            announced: Mutex::default(),
        };
        Ok(Arc::new(MqttSink(Arc::new(shared))))
    }
}

impl fmt::Debug for MqttTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, login, client_id, topic, qos, retain, home_assistant } = self;
        out.debug_struct("Mqtt")
            .field("server", server)
            .field("login", &login.is_some())
            .field("client_id", client_id)
            .field("topic", topic)
            .field("qos", qos)
            .field("retain", retain)
            .field("home_assistant", home_assistant)
            .finish()
    }
}

/// A sink that publishes to an MQTT broker.
struct MqttSink(Arc<Shared>);

/// What the attempts of a sink share.
struct Shared {
    target: MqttTarget,
    connector: Connector,
    connection: Kept<BrokerConnection>,
    told_of_no_subscribers: AtomicBool,
    /// The sensors that Home Assistant was told of. A broker keeps this, but a new broker may stand at the address, so
    /// sensors are announced again after a connection was lost.
    announced: Mutex<BTreeSet<String>>,
}

impl Sink for MqttSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let patience = shared.target.server.timeout;
            match timeout(patience, shared.publish_all(outgoing)).await {
                Ok(Ok(attempt) | Err(attempt)) => attempt,
                Err(_) => failed(format!("no acknowledgement within {patience:?}")),
            }
        })
    }
}

impl Shared {
    /// Publishes a message, after what Home Assistant is told.
    async fn publish_all(&self, outgoing: Outgoing) -> Result<Attempt, Attempt> {
        let target = &self.target;
        let sensor = target.home_assistant.then(|| home_assistant::sensor(&outgoing)).flatten();
        let message = match target.message(outgoing) {
            Ok(message) => message,
            Err(answer) => return Ok(Attempt::Rejected { status: None, answer }),
        };
        let connect = async {
            let login = LoginOptions { client_id: target.client_id.clone(), login: target.login.clone() };
            let connection = self.connector.connect(|stream| BrokerConnection::open(stream, login)).await?;
            connection.check_qos(target.qos)?;
            self.announced.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Ok(connection)
        };
        let connection = self.connection.get(connect).await?;
        let mut giving_up = GiveUpUnlessAnswered { connection: &connection, is_answered: false };
        if let Some(sensor) = sensor {
            let is_new = !self.announced.lock().unwrap_or_else(PoisonError::into_inner).contains(&sensor.number);
            if is_new {
                publication(connection.publish(sensor.announcement(), target.qos).await)?;
                self.announced.lock().unwrap_or_else(PoisonError::into_inner).insert(sensor.number.clone());
            }
            publication(connection.publish(sensor.state(), target.qos).await)?;
        }
        let answer = connection.publish(message, target.qos).await;
        giving_up.is_answered = true;
        let has_subscribers = publication(answer)? != Publication::WithoutSubscribers;
        if has_subscribers {
            self.told_of_no_subscribers.store(false, Ordering::Relaxed);
        } else if !self.told_of_no_subscribers.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                server = %target.server,
                hint = "does the subscriber use the topic of the sink, and is it connected?",
                "the MQTT broker took a message for which it has no subscriber"
            );
        }
        Ok(Attempt::Accepted { status: None })
    }
}

/// Gives up a connection on which an attempt was given up at its time-out: if the broker is silent, the next attempt needs
/// another connection.
struct GiveUpUnlessAnswered<'c> {
    connection: &'c BrokerConnection,
    is_answered: bool,
}

impl Drop for GiveUpUnlessAnswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connection.give_up();
        }
    }
}
