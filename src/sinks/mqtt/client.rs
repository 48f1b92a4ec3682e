//! The sink that publishes, and what its attempts share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use super::answers::{Acknowledgement, acknowledgement};
use super::connection::{BrokerConnection, LoginOptions};
use super::{MqttTarget, home_assistant};
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{Connector, KeptConnection, check_online, failed};
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};
use crate::time::Clock;

/// Connects, logs in, and publishes nothing.
pub(super) async fn check(target: &MqttTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connector = target.server.connector().map_err(|error| failed(error.to_string()))?;
        // A name of our own would end the connection of the running relay.
        let login = LoginOptions { client_id: String::new(), login: target.login.clone() };
        let connection = connector.connect(|stream| BrokerConnection::open(stream, login)).await?;
        connection.check_qos(target.qos)?;
        Ok("logged in to")
    };
    check_online(name, &target.server, clock, connect).await
}

/// A sink that publishes to an MQTT broker.
pub(super) struct MqttSink(Arc<PublisherState>);

/// What the attempts of a sink share.
struct PublisherState {
    target: MqttTarget,
    connector: Connector,
    connection: KeptConnection<BrokerConnection>,
    told_of_no_subscribers: AtomicBool,
    /// The sensors that Home Assistant was told of. A broker keeps this, but a new broker may stand at the address, so
    /// sensors are announced again after a connection was lost.
    announced: Mutex<BTreeSet<String>>,
}

impl MqttSink {
    /// Makes the sink. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &MqttTarget) -> Result<Self, TlsSetupError> {
        Ok(Self(Arc::new(PublisherState {
            target: target.clone(),
            connector: target.server.connector()?,
            connection: KeptConnection::new(),
            told_of_no_subscribers: AtomicBool::new(false),
            announced: Mutex::default(),
        })))
    }
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

impl PublisherState {
    /// Publishes a message, after what Home Assistant is told.
    async fn publish_all(&self, outgoing: Outgoing) -> Result<Attempt, Attempt> {
        let target = &self.target;
        let sensor = target.home_assistant.then(|| home_assistant::sensor(&outgoing, &target.codes)).flatten();
        let publication = match target.publication(outgoing) {
            Ok(publication) => publication,
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
                acknowledgement(connection.publish(sensor.announcement(), target.qos).await)?;
                self.announced.lock().unwrap_or_else(PoisonError::into_inner).insert(sensor.number.clone());
            }
            acknowledgement(connection.publish(sensor.state(), target.qos).await)?;
        }
        let answer = connection.publish(publication, target.qos).await;
        giving_up.is_answered = true;
        let has_subscribers = acknowledgement(answer)? != Acknowledgement::WithoutSubscribers;
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
