//! Sinks of type `mqtt`: each message is published to an MQTT 5 broker.
//!
//! Invariants, in addition to those of [`super::server`]:
//!
//! - A message is delivered when the broker has acknowledged it. QoS 0, which has no acknowledgement, is not supported.
//! - Each connection begins a new session (clean start). So the broker remembers nothing of a lost connection, and only
//!   delivery decides whether a message is sent again.
//! - No value of a message can add a level or a wildcard to the topic.

#[cfg(feature = "sink-mqtt")]
mod answers;
#[cfg(feature = "sink-mqtt")]
mod client;
#[cfg(feature = "sink-mqtt")]
mod connection;
mod home_assistant;
mod publication;
mod settings;

use std::fmt;
use std::sync::Arc;

use self::publication::{Publication, WEBHOOK_ID};
use super::http::webhook_id::webhook_id;
#[cfg(feature = "sink-mqtt")]
use super::server::ServerSink;
use super::server::{ServerLogin, SinkServer};
#[cfg(feature = "sink-mqtt")]
use super::{OnlineCheck, Sink, SinkBuildError};
use super::{Outgoing, Preview, ReadContext, SinkType, Target};
use crate::codes::CodeFinder;
use crate::domain::Sanitized;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
use crate::time::Clock;

/// The longest topic, in bytes.
const LONGEST_TOPIC: usize = 65_535;

/// The type `mqtt`.
#[derive(Debug)]
pub(super) struct Mqtt;

/// The broker and the topic of a sink.
#[derive(Clone)]
struct MqttTarget {
    server: SinkServer,
    login: Option<ServerLogin>,
    /// The client identifier. If it is empty, the broker chooses one.
    client_id: String,
    topic: Arc<Template>,
    /// The quality of service: 1 or 2.
    qos: u8,
    retain: bool,
    /// Whether Home Assistant gets a sensor for each number.
    home_assistant: bool,
    /// Finds the codes that the sensors show.
    codes: CodeFinder,
}

impl SinkType for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl MqttTarget {
    /// Makes the publication of a message.
    ///
    /// # Errors
    /// The reason why the message has no topic that can be sent.
    fn publication(&self, outgoing: Outgoing) -> Result<Publication, String> {
        let topic = self.topic.render(&outgoing.message, None).map_err(|mistake| format!("topic: {mistake}"))?;
        if topic.len() > LONGEST_TOPIC {
            return Err(format!("topic: longer than {LONGEST_TOPIC} bytes"));
        }
        Ok(Publication {
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
        format!("MQTT broker {}, QoS {}{retained}{sensors}", self.server, self.qos)
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let publication =
            self.publication(outgoing.clone()).map_err(|why| format!("this message cannot be sent: {why}"))?;
        let line = |text: &str| Sanitized::line(text).to_string();
        let mut head = format!("{}\n", self.describe());
        if self.home_assistant {
            let sensor = home_assistant::sensor(&outgoing, &self.codes);
            for beside in sensor.iter().flat_map(home_assistant::Sensor::publications) {
                head += &format!("{}: {}\n", line(&beside.topic), line(&String::from_utf8_lossy(&beside.body)));
            }
        }
        head += &format!("topic: {}\n", line(&publication.topic));
        head += &format!("content-type: {}\n{WEBHOOK_ID}: {}\n\n", publication.content_type, publication.id);
        Ok(Preview { head, body: publication.body })
    }

    #[cfg(feature = "sink-mqtt")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-mqtt")]
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(ServerSink::new(client::MqttPublisher::new(self)?)))
    }
}

impl fmt::Debug for MqttTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, login, client_id, topic, qos, retain, home_assistant, codes: _ } = self;
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
