//! The common parts of sinks that keep a connection to a server, for example to a message broker or a database.
//!
//! Invariants:
//!
//! - A `ServerSink` (amqp, mqtt, nats, postgres) has one connection at a time, which all its attempts use. An attempt
//!   that finds no connection makes one. Attempts that begin during this try wait for it, and if it fails, all of them
//!   fail. So if the server is gone, the relay tries to reach it only as often as the sink's retry schedule and breaker
//!   allow.
//! - If a connection is lost, the attempts that wait for an answer fail. This module never sends a message a second
//!   time.
//! - The words about a failure never contain the secrets of a URL.

#[cfg(any(feature = "sink-amqp", feature = "sink-mqtt", feature = "sink-nats"))]
mod conversation;
#[cfg(feature = "server-connections")]
mod kept;
#[cfg(any(feature = "server-connections", feature = "sink-kafka"))]
mod online;
pub(super) mod settings;
#[cfg(any(feature = "sink-amqp", feature = "sink-mqtt", feature = "sink-nats", feature = "sink-postgres"))]
mod sink;
#[cfg(feature = "server-connections")]
mod stream;

use std::fmt;
use std::time::Duration;

use reqwest::Url;

#[cfg(any(feature = "sink-amqp", feature = "sink-mqtt", feature = "sink-nats"))]
pub(super) use self::conversation::{Conversation, Reply, RequestProtocol};
#[cfg(any(feature = "sink-amqp", feature = "sink-kafka", feature = "sink-nats"))]
pub(super) use self::online::MissingPlace;
#[cfg(any(feature = "server-connections", feature = "sink-kafka"))]
pub(super) use self::online::{CheckedServer, check_online};
#[cfg(any(feature = "sink-amqp", feature = "sink-mqtt", feature = "sink-nats", feature = "sink-postgres"))]
pub(super) use self::sink::{ServerClient, ServerSink};
#[cfg(any(feature = "sink-postgres", feature = "sink-smtp"))]
pub(super) use self::stream::io_cause;
#[cfg(feature = "server-connections")]
pub(super) use self::{
    kept::{KeptConnection, Reusable},
    stream::{Connector, ServerStream, failed, words},
};
use crate::http::{RedactedUrl, Tls};
use crate::secret::Secret;

/// The address of a sink's server, and the settings of the connections to the server.
#[derive(Clone)]
pub(super) struct SinkServer {
    /// The address, which may contain a user and a password.
    pub(super) url: Url,
    /// The port, if the address names none.
    pub(super) default_port: u16,
    /// Whether a connection begins with a TLS handshake.
    pub(super) is_encrypted: bool,
    /// The certificates.
    pub(super) tls: Tls,
    /// The longest time for connecting, with all handshakes.
    pub(super) connect_timeout: Duration,
    /// The longest time for one attempt.
    pub(super) timeout: Duration,
}

/// A user and a password.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "server-connections"), expect(dead_code, reason = "clients log in"))]
pub(super) struct ServerLogin {
    pub(super) user: String,
    pub(super) password: Secret,
}

impl SinkServer {
    /// Returns the user and the password of the address, if it has them.
    pub(super) fn login(&self) -> Option<ServerLogin> {
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = self.url.username();
        let password = self.url.password();
        let login = || ServerLogin { user: plain(user), password: plain(password.unwrap_or_default()).into() };
        (!user.is_empty() || password.is_some()).then(login)
    }
}

/// Shows scheme, host and port.
impl fmt::Display for SinkServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        RedactedUrl(&self.url).fmt(out)
    }
}

impl fmt::Debug for SinkServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, default_port, is_encrypted, tls, connect_timeout, timeout } = self;
        out.debug_struct("Server")
            .field("url", &format_args!("{self}"))
            .field("default_port", default_port)
            .field("is_encrypted", is_encrypted)
            .field("tls", tls)
            .field("connect_timeout", connect_timeout)
            .field("timeout", timeout)
            .finish()
    }
}
