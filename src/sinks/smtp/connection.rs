//! Connections to a mail server. A connection carries one e-mail at a time, and is kept for the next one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answers::{during_connection, during_login, during_mail};
use super::settings::Security;
use super::starttls;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::Attempt;
use crate::sinks::server::{Connector, ServerLogin, ServerStream, SinkServer};

/// The mechanisms by which the relay logs in, the preferred one first.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// The connections of a sink.
pub(super) struct MailConnections {
    connector: Connector,
    security: Security,
    login: Option<ServerLogin>,
    /// Connections that no attempt uses at this moment.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl MailConnections {
    /// Makes the value without any connection.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(super) fn new(
        server: &SinkServer,
        security: Security,
        login: Option<ServerLogin>,
    ) -> Result<Self, TlsSetupError> {
        let connector = match security {
            Security::Tls | Security::Plain => server.connector()?,
            Security::StartTls | Security::StartTlsIfOffered => server.connector_for_later_tls()?,
        };
        Ok(Self { connector, security, login, idle: Mutex::default() })
    }

    /// Sends an e-mail over a kept connection. If there is none, makes a connection.
    ///
    /// # Errors
    /// How the attempt ends if the server has not accepted the e-mail.
    pub(super) async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), Attempt> {
        let mut connection = match self.kept().await {
            Some(kept) => kept,
            None => self.open().await?,
        };
        connection.send(envelope, mail).await.map_err(|error| during_mail(&error))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(())
    }

    /// Returns a kept connection that the server has not closed; `None` if there is none.
    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// The failed attempt.
    pub(super) async fn open(&self) -> Result<AsyncSmtpConnection, Attempt> {
        let greet = async |stream| {
            let stream = match self.security {
                Security::Tls | Security::Plain => Greeted { greeting: b"", stream },
                Security::StartTls | Security::StartTlsIfOffered => {
                    let must = self.security == Security::StartTls;
                    // The server greets only once, and `starttls::begin` has read that greeting. But the library waits
                    // for a greeting, too. So it gets this one.
                    Greeted {
                        greeting: b"220 ready\r\n",
                        stream: starttls::begin(stream, &self.connector, must).await?,
                    }
                }
            };
            let hello = ClientId::default();
            let connected = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await;
            let mut connection = connected.map_err(|error| during_connection(&error))?;
            if let Some(ServerLogin { user, password }) = &self.login {
                let credentials = Credentials::new(user.clone(), password.expose().to_owned());
                connection.auth(&MECHANISMS, &credentials).await.map_err(|error| during_login(&error))?;
            }
            Ok(connection)
        };
        self.connector.connect(greet).await
    }
}

/// A stream from which the bytes of `greeting` are read first.
struct Greeted {
    greeting: &'static [u8],
    stream: ServerStream,
}

impl fmt::Debug for Greeted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Greeted")
    }
}

impl AsyncRead for Greeted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, out);
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(out.remaining()));
        out.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Greeted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
