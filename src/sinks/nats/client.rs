//! The sink that publishes, and what its attempts share.

use std::sync::Arc;

use tokio::time::timeout;

use super::NatsTarget;
use super::answers::attempt;
use super::connection::{NatsConnection, log_in};
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{Connector, KeptConnection, check_online, failed};
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};
use crate::time::Clock;

/// Connects, logs in, and publishes nothing.
pub(super) async fn check(target: &NatsTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connector = connector(target).map_err(|error| failed(error.to_string()))?;
        connector.connect(|stream| log_in(stream, &connector, target)).await?;
        Ok("logged in to")
    };
    check_online(name, &target.server, clock, connect).await
}

/// Sets TLS up, if the connections need it.
fn connector(target: &NatsTarget) -> Result<Connector, TlsSetupError> {
    if target.is_encrypted { target.server.connector_for_later_tls() } else { target.server.connector() }
}

/// A sink that publishes to JetStream.
pub(super) struct NatsSink(Arc<NatsPublisher>);

/// What the attempts of a sink share.
struct NatsPublisher {
    target: NatsTarget,
    connector: Connector,
    connection: KeptConnection<NatsConnection>,
}

impl NatsSink {
    /// Makes the sink. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &NatsTarget) -> Result<Self, TlsSetupError> {
        let connector = connector(target)?;
        Ok(Self(Arc::new(NatsPublisher { target: target.clone(), connector, connection: KeptConnection::new() })))
    }
}

impl Sink for NatsSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let publisher = Arc::clone(&self.0);
        Box::pin(async move {
            let patience = publisher.target.server.timeout;
            let mut used = None;
            match (timeout(patience, publisher.publish(outgoing, &mut used)).await, used) {
                (Ok(Ok(attempt) | Err(attempt)), _) => attempt,
                (Err(_), None) => failed(format!("no connection within {patience:?}")),
                (Err(_), Some(connection)) => {
                    // The server may be silent for good.
                    connection.give_up();
                    failed(format!("no acknowledgement within {patience:?}"))
                }
            }
        })
    }
}

impl NatsPublisher {
    /// Publishes a message. `used` becomes the connection that is used.
    async fn publish(&self, outgoing: Outgoing, used: &mut Option<Arc<NatsConnection>>) -> Result<Attempt, Attempt> {
        let target = &self.target;
        let message = target.message(outgoing).map_err(|answer| Attempt::Rejected { status: None, answer })?;
        let connect = self.connector.connect(|stream| log_in(stream, &self.connector, target));
        let connection = used.insert(self.connection.get(connect).await?);
        Ok(attempt(&connection.ask(message).await.map_err(failed)?))
    }
}
