//! The client that publishes, and the check of a sink for `check --online`.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::MqttTarget;
use super::answers::{Acknowledgement, acknowledgement};
use super::connection::{BrokerConnection, LoginOptions};
use super::home_assistant::{Sensor, sensor};
use super::publication::Publication;
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{CheckedServer, Connector, ServerClient, check_online, failed};
use crate::sinks::{Attempt, Outgoing};
use crate::time::Clock;

/// Connects and logs in. Publishes nothing.
pub(super) async fn check(target: &MqttTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connector = target.server.connector().map_err(|error| failed(error.to_string()))?;
        // The check has no client id. If it had the client id of the sink, the broker would end the connection of the
        // running relay.
        let login = LoginOptions { client_id: String::new(), login: target.login.clone() };
        let connection = connector.connect(|stream| BrokerConnection::open(stream, login)).await?;
        connection.check_qos(target.qos)?;
        Ok(CheckedServer::works("logged in to"))
    };
    check_online(name, &target.server, clock, connect).await
}

/// A client that publishes to an MQTT broker.
pub(super) struct MqttPublisher {
    target: MqttTarget,
    connector: Connector,
    told_of_no_subscribers: AtomicBool,
}

/// The publications for a message.
pub(super) struct MqttMessage {
    publication: Publication,
    /// The sensor of Home Assistant that the message changes.
    sensor: Option<Sensor>,
}

impl MqttPublisher {
    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &MqttTarget) -> Result<Self, TlsSetupError> {
        let connector = target.server.connector()?;
        Ok(Self { target: target.clone(), connector, told_of_no_subscribers: AtomicBool::new(false) })
    }

    /// Publishes the sensor for Home Assistant, if there is one, and then the message.
    async fn publish_all(
        &self,
        message: MqttMessage,
        connection: &BrokerConnection,
    ) -> Result<Acknowledgement, Attempt> {
        let MqttMessage { publication, sensor } = message;
        let publish = async |publication| {
            acknowledgement(&connection.publish(publication, self.target.qos).await.map_err(failed)?)
        };
        if let Some(sensor) = sensor {
            let announced = || connection.announced.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = !announced().contains(&sensor.number);
            if is_new {
                publish(sensor.announcement()).await?;
                announced().insert(sensor.number.clone());
            }
            publish(sensor.state()).await?;
        }
        publish(publication).await
    }

    /// Warns that the broker has no subscriber for a message. There is only one warning, until a message has a
    /// subscriber again.
    fn tell_of_no_subscribers(&self, acknowledgement: Acknowledgement) {
        if acknowledgement != Acknowledgement::WithoutSubscribers {
            self.told_of_no_subscribers.store(false, Ordering::Relaxed);
        } else if !self.told_of_no_subscribers.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                server = %self.target.server,
                hint = "does the subscriber use the topic of the sink, and is it connected?",
                "the MQTT broker took a message for which it has no subscriber"
            );
        }
    }
}

impl ServerClient for MqttPublisher {
    type Connection = BrokerConnection;
    type Message = MqttMessage;

    const ANSWER: &'static str = "acknowledgement";

    fn patience(&self) -> Duration {
        self.target.server.timeout
    }

    fn message(&self, outgoing: Outgoing) -> Result<MqttMessage, String> {
        let target = &self.target;
        let sensor = target.home_assistant.then(|| sensor(&outgoing, &target.codes)).flatten();
        Ok(MqttMessage { publication: target.publication(outgoing)?, sensor })
    }

    async fn connect(&self) -> Result<BrokerConnection, Attempt> {
        let target = &self.target;
        let login = LoginOptions { client_id: target.client_id.clone(), login: target.login.clone() };
        let connection = self.connector.connect(|stream| BrokerConnection::open(stream, login)).await?;
        connection.check_qos(target.qos)?;
        Ok(connection)
    }

    async fn send(&self, message: MqttMessage, connection: &BrokerConnection) -> Attempt {
        match self.publish_all(message, connection).await {
            Ok(acknowledgement) => {
                self.tell_of_no_subscribers(acknowledgement);
                Attempt::Accepted { status: None }
            }
            Err(ended) => ended,
        }
    }
}
