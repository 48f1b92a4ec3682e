//! The client that publishes, and the check of a sink for `check --online`.

use std::time::Duration;

use tokio::time::timeout;

use super::answers::{StreamLookup, attempt, stream_lookup};
use super::connection::{NatsConnection, log_in};
use super::{NatsMessage, NatsTarget};
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{CheckedServer, Connector, MissingPlace, ServerClient, check_online, failed};
use crate::sinks::{Attempt, Outgoing};
use crate::time::Clock;

/// Connects, logs in, and asks whether a stream takes the subject. Publishes nothing.
pub(super) async fn check(target: &NatsTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let client = NatsPublisher::new(target).map_err(|error| failed(error.to_string()))?;
        let connection = client.connect().await?;
        let subject = target.subject_pattern();
        let asked = timeout(client.patience(), connection.ask(NatsMessage::stream_lookup(&subject))).await;
        let Ok(answer) = asked else { return Err(client.unanswered(&connection)) };
        let done = "logged in to";
        Ok(match stream_lookup(&answer.map_err(failed)?) {
            StreamLookup::Found(stream) => {
                CheckedServer::has(done, format!("stream {stream} takes subjects that match {subject}"))
            }
            StreamLookup::NoStream => CheckedServer::lacks(
                done,
                MissingPlace {
                    what: format!("no stream takes subjects that match {subject}"),
                    remedy: format!(
                        "make a stream, such as `nats stream add SMS --subjects '{subject}'`, or correct sinks.{name}.subject"
                    ),
                },
            ),
            StreamLookup::NoJetStream => CheckedServer::lacks(
                done,
                MissingPlace {
                    what: "JetStream is not enabled".to_owned(),
                    remedy: "enable JetStream on the server and for the account of the user".to_owned(),
                },
            ),
            StreamLookup::Unknown(why) => CheckedServer::has(
                done,
                format!("it is not known whether a stream takes subjects that match {subject}: {why}"),
            ),
        })
    };
    check_online(name, &target.server, clock, connect).await
}

/// A client that publishes to JetStream.
pub(super) struct NatsPublisher {
    target: NatsTarget,
    connector: Connector,
}

impl NatsPublisher {
    /// Makes the client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &NatsTarget) -> Result<Self, TlsSetupError> {
        let server = &target.server;
        let connector = if target.is_encrypted { server.connector_for_later_tls()? } else { server.connector()? };
        Ok(Self { target: target.clone(), connector })
    }
}

impl ServerClient for NatsPublisher {
    type Connection = NatsConnection;
    type Message = NatsMessage;

    const ANSWER: &'static str = "acknowledgement";

    fn patience(&self) -> Duration {
        self.target.server.timeout
    }

    fn message(&self, outgoing: Outgoing) -> Result<NatsMessage, String> {
        self.target.message(outgoing)
    }

    async fn connect(&self) -> Result<NatsConnection, Attempt> {
        self.connector.connect(|stream| log_in(stream, &self.connector, &self.target)).await
    }

    async fn send(&self, message: NatsMessage, connection: &NatsConnection) -> Attempt {
        connection.ask(message).await.map_or_else(failed, |answer| attempt(&answer))
    }
}
