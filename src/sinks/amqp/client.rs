//! The sink that publishes, and what its attempts share.

use std::sync::Arc;

use tokio::time::timeout;

use super::AmqpTarget;
use super::answers::attempt;
use super::connection::AmqpConnection;
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::server::{Connector, KeptConnection, check_online, failed};
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};
use crate::time::Clock;

/// Connects, logs in, asks whether the exchange exists, and publishes nothing.
pub(super) async fn check(target: &AmqpTarget, name: &str, clock: &Clock) -> Vec<Finding> {
    let connect = async {
        let connector = target.server.connector().map_err(|error| failed(error.to_string()))?;
        connector.connect(|stream| AmqpConnection::open(stream, target)).await?;
        Ok("logged in to")
    };
    check_online(name, &target.server, clock, connect).await
}

/// A sink that publishes to an AMQP broker.
pub(super) struct AmqpSink(Arc<AmqpPublisher>);

/// What the attempts of a sink share.
struct AmqpPublisher {
    target: AmqpTarget,
    connector: Connector,
    connection: KeptConnection<AmqpConnection>,
}

impl AmqpSink {
    /// Makes the sink. Nothing is connected yet.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(target: &AmqpTarget) -> Result<Self, TlsSetupError> {
        let connector = target.server.connector()?;
        Ok(Self(Arc::new(AmqpPublisher { target: target.clone(), connector, connection: KeptConnection::new() })))
    }
}

impl Sink for AmqpSink {
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
                (Err(_), Some(connection)) => match connection.give_up_unless_blocked() {
                    Some(answer) => attempt(answer),
                    None => failed(format!("no confirm within {patience:?}")),
                },
            }
        })
    }
}

impl AmqpPublisher {
    /// Publishes a message. `used` becomes the connection that is used.
    async fn publish(&self, outgoing: Outgoing, used: &mut Option<Arc<AmqpConnection>>) -> Result<Attempt, Attempt> {
        let target = &self.target;
        let message = target.message(outgoing).map_err(|answer| Attempt::Rejected { status: None, answer })?;
        let connect = self.connector.connect(|stream| AmqpConnection::open(stream, target));
        let connection = used.insert(self.connection.get(connect).await?);
        Ok(attempt(connection.publish(message).await.map_err(failed)?))
    }
}
