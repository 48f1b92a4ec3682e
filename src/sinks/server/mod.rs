//! What sinks share that keep a connection to a server which is no web server.
//!
//! Invariants:
//!
//! - There is one connection at a time, which all attempts use. An attempt that finds none makes one; attempts that come
//!   meanwhile wait for the same try, and share its failure. So a server that is gone is asked no more often than the
//!   sink's retry schedule and its breaker allow.
//! - A connection that is lost fails the attempts that wait for an answer. Nothing is sent a second time here.
//! - No word about a failure holds a URL with its secrets.

mod kept;
pub(super) mod settings;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;

pub(super) use self::kept::{Kept, Reusable};
pub(super) use self::stream::{ServerStream, words};
use super::Attempt;
use crate::domain::Finding;
use crate::http::tls_client::TlsSetupError;
use crate::http::{RedactedUrl, Tls};
use crate::secret::Secret;
use crate::time::Clock;

/// How the server of a sink is reached.
#[derive(Clone)]
pub(super) struct Server {
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
pub(super) struct ServerLogin {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// A [`Server`] with its TLS set up.
#[derive(Clone)]
pub(super) struct Connector {
    server: Server,
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// Sets TLS up, if the server needs it.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn connector(&self) -> Result<Connector, TlsSetupError> {
        let tls = self.is_encrypted.then(|| self.tls.client_config().map(Arc::new)).transpose()?;
        Ok(Connector { server: self.clone(), tls })
    }

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
impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        RedactedUrl(&self.url).fmt(out)
    }
}

impl fmt::Debug for Server {
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

/// A failed attempt of which only the words are known.
pub(super) fn failed(answer: impl Into<String>) -> Attempt {
    Attempt::Failed { status: None, retry_after: None, answer: answer.into() }
}

/// Tries for `check --online` to connect and to log in. `connect` tells in words what it did.
pub(super) async fn check_online(
    name: &str,
    server: &Server,
    clock: &Clock,
    connect: impl Future<Output = Result<&'static str, Attempt>>,
) -> Vec<Finding> {
    let subject = format!("{name}: connection");
    let begun = clock.monotonic();
    let finding = match connect.await {
        Ok(done) => {
            let millis = clock.monotonic().saturating_duration_since(begun).as_millis();
            Finding::works(subject, format!("{done} {server} in {millis} ms; no message was sent"))
        }
        Err(
            Attempt::Failed { answer, .. }
            | Attempt::Rejected { answer, .. }
            | Attempt::Gone { answer, .. }
            | Attempt::Busy { answer },
        ) => {
            let remedy = if answer.contains("not TLS") {
                format!("check scheme and port of sinks.{name}.url")
            } else if answer.contains("certificate") {
                format!("an authority of your own belongs into sinks.{name}.tls.ca_file")
            } else if answer.starts_with("connection refused") {
                format!("start the server at this address, or correct sinks.{name}.url")
            } else if answer.starts_with("no connection") || answer.starts_with("cannot resolve") {
                format!("check sinks.{name}.url, this machine's network, and the firewalls on the way")
            } else {
                format!("check the keys of sinks.{name}, and the log of the server")
            };
            Finding::fails(subject, format!("{server}: {answer}"), remedy)
        }
        Err(Attempt::Accepted { .. } | Attempt::Closed) => Finding::not_tried(subject, "nothing was tried"),
    };
    vec![finding]
}
