//! Sinks of type `amqp`: each message is published to a broker that speaks AMQP 0-9-1.
//!
//! Invariants, in addition to those of [`super::server`]:
//!
//! - A message is delivered when the broker has confirmed it and has not returned it. Every message is published with
//!   the flag `mandatory`, so the broker returns a message that no queue takes.
//! - No value of a message can add a word or a wildcard to the routing key.

#[cfg(feature = "sink-amqp")]
mod answers;
#[cfg(feature = "sink-amqp")]
mod client;
#[cfg(feature = "sink-amqp")]
mod connection;
#[cfg(feature = "sink-amqp")]
mod frames;
mod settings;

use std::fmt;
use std::sync::Arc;

use super::http::webhook_id::webhook_id;
#[cfg(feature = "sink-amqp")]
use super::server::ServerSink;
use super::server::SinkServer;
#[cfg(feature = "sink-amqp")]
use super::{OnlineCheck, Sink, SinkBuildError};
use super::{Outgoing, Preview, ReadContext, SinkType, Target};
use crate::domain::Sanitized;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::template::Template;
use crate::time::Clock;

/// The longest name of an exchange and the longest routing key, in bytes.
const LONGEST_NAME: usize = 255;

/// The type `amqp`.
#[derive(Debug)]
pub(super) struct Amqp;

/// The broker and the exchange of a sink.
#[derive(Clone)]
struct AmqpTarget {
    server: SinkServer,
    /// The virtual host of the broker.
    virtual_host: String,
    /// The name of the exchange. If it is empty, a message goes to the queue that the routing key names.
    exchange: String,
    routing_key: Arc<Template>,
}

/// A message in the form in which it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AmqpMessage {
    routing_key: String,
    /// The `webhook-id`.
    id: String,
    content_type: String,
    body: Vec<u8>,
}

impl SinkType for Amqp {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl AmqpTarget {
    /// Converts a message into the form in which it is published.
    ///
    /// # Errors
    /// The reason why the message cannot be published.
    fn message(&self, outgoing: Outgoing) -> Result<AmqpMessage, String> {
        let rendered = self.routing_key.render(&outgoing.message, None);
        let routing_key = rendered.map_err(|mistake| format!("routing_key: {mistake}"))?;
        let content_type = outgoing.content_type.into_owned();
        for (name, text) in [("routing_key", &routing_key), ("content_type", &content_type)] {
            if text.len() > LONGEST_NAME {
                return Err(format!("{name}: longer than {LONGEST_NAME} bytes"));
            }
        }
        Ok(AmqpMessage { routing_key, id: webhook_id(&outgoing.id), content_type, body: outgoing.body })
    }

    /// Returns the words for the exchange.
    fn exchange_name(&self) -> String {
        match self.exchange.as_str() {
            "" => "default exchange".to_owned(),
            name => format!("exchange {}", Sanitized::line(name)),
        }
    }

    /// Returns the queue to which all messages go; `None` if an exchange is configured, or if the queue depends on the
    /// message.
    #[cfg(feature = "sink-amqp")]
    fn only_queue(&self) -> Option<String> {
        let mut names = self.routing_key.samples().into_iter().filter(|_| self.exchange.is_empty());
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }
}

impl Target for AmqpTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("AMQP broker {}, {}", self.server, self.exchange_name())
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let message = self.message(outgoing).map_err(|why| format!("this message cannot be sent: {why}"))?;
        let mut head = format!("{}\n", self.describe());
        head += &format!("routing key: {}\n", Sanitized::line(&message.routing_key));
        head += &format!("message-id: {}\ncontent-type: {}\n\n", message.id, message.content_type);
        Ok(Preview { head, body: message.body })
    }

    #[cfg(feature = "sink-amqp")]
    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(client::check(self, name, clock))
    }

    #[cfg(feature = "sink-amqp")]
    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(ServerSink::new(client::AmqpPublisher::new(self)?)))
    }
}

impl fmt::Debug for AmqpTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, virtual_host, exchange, routing_key } = self;
        out.debug_struct("Amqp")
            .field("server", server)
            .field("virtual_host", virtual_host)
            .field("exchange", exchange)
            .field("routing_key", routing_key)
            .finish()
    }
}
