//! The client that publishes, and the check of a sink for `check --online`.

use std::time::Duration;

use super::answers::{NOT_FOUND, attempt, channel_closed};
use super::connection::{AmqpConnection, find_place};
use super::{AmqpMessage, AmqpTarget};
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{CheckedServer, Connector, MissingPlace, ServerClient, check_online, failed};
use crate::sinks::{Attempt, Outgoing};
use crate::time::Clock;

/// Connects, logs in, and asks whether the configured exchange exists. If there is no exchange and all messages go to
/// the same queue, asks whether this queue exists. Publishes nothing.
pub(super) async fn check(target: &AmqpTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let done = "logged in to";
    let connect = async {
        let client = AmqpPublisher::new(target).map_err(|error| failed(error.to_string()))?;
        let queue = target.only_queue();
        let place = queue.as_ref().map_or_else(|| target.exchange_name(), |queue| format!("queue {queue}"));
        match client.connector.connect(|stream| find_place(stream, target, queue.as_deref(), &place)).await {
            Ok(()) if queue.is_some() => Ok(CheckedServer::has(done, format!("the {place} exists"))),
            Ok(()) => {
                let found =
                    format!("the {place} exists; only the first message shows whether a queue gets the messages");
                Ok(CheckedServer::has(done, found))
            }
            Err(Attempt::Failed { answer, .. }) if answer == channel_closed(NOT_FOUND, &place) => {
                let remedy = match queue {
                    Some(_) => format!("declare the queue, or correct sinks.{name}.routing_key"),
                    None => format!("declare the exchange and bind a queue to it, or correct sinks.{name}.exchange"),
                };
                Ok(CheckedServer::lacks(done, MissingPlace { what: answer, remedy }))
            }
            Err(ended) => Err(ended),
        }
    };
    check_online(name, &target.server, clock, connect).await
}

/// A client that publishes to an AMQP broker.
pub(super) struct AmqpPublisher {
    target: AmqpTarget,
    connector: Connector,
}

impl AmqpPublisher {
    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &AmqpTarget) -> Result<Self, TlsSetupError> {
        Ok(Self { target: target.clone(), connector: target.server.connector()? })
    }
}

impl ServerClient for AmqpPublisher {
    type Connection = AmqpConnection;
    type Message = AmqpMessage;

    const ANSWER: &'static str = "confirm";

    fn patience(&self) -> Duration {
        self.target.server.timeout
    }

    fn message(&self, outgoing: Outgoing) -> Result<AmqpMessage, String> {
        self.target.message(outgoing)
    }

    async fn connect(&self) -> Result<AmqpConnection, Attempt> {
        self.connector.connect(|stream| AmqpConnection::open(stream, &self.target)).await
    }

    async fn send(&self, message: AmqpMessage, connection: &AmqpConnection) -> Attempt {
        connection.publish(message).await.map_or_else(failed, attempt)
    }

    fn refusal(&self, connection: &AmqpConnection) -> Option<Attempt> {
        connection.block().map(attempt)
    }
}
