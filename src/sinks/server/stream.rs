//! Connects to a server over TCP, and with TLS if the configuration of the sink asks for it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::SinkServer;
use crate::http::failure;
use crate::http::tls_client::TlsSetupError;
use crate::sinks::Attempt;

/// A stream of bytes, over TCP alone or over TLS.
pub(in crate::sinks) trait ByteStream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> ByteStream for S {}

/// An open connection, encrypted or not.
pub(in crate::sinks) type ServerStream = Box<dyn ByteStream>;

/// A [`SinkServer`] with its TLS set up.
#[derive(Clone)]
pub(in crate::sinks) struct Connector {
    server: SinkServer,
    tls: Option<Arc<ClientConfig>>,
}

impl SinkServer {
    /// Makes the connector. If the connections begin with a TLS handshake, prepares TLS.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(in crate::sinks) fn connector(&self) -> Result<Connector, TlsSetupError> {
        let tls = self.is_encrypted.then(|| self.tls.client_config().map(Arc::new)).transpose()?;
        Ok(Connector { server: self.clone(), tls })
    }

    /// Makes the connector for connections that begin without encryption, and that [`Connector::encrypt`] encrypts
    /// later. Prepares TLS.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the certificates cannot be used.
    pub(in crate::sinks) fn connector_for_later_tls(&self) -> Result<Connector, TlsSetupError> {
        Ok(Connector { server: self.clone(), tls: Some(Arc::new(self.tls.client_config()?)) })
    }
}

impl Connector {
    /// Connects, and lets `greet` do what the protocol wants before the first message, such as the login. Both together
    /// may take `connect_timeout`.
    ///
    /// # Errors
    /// The failed attempt.
    pub(in crate::sinks) async fn connect<C, G: Future<Output = Result<C, Attempt>>>(
        &self,
        greet: impl FnOnce(ServerStream) -> G,
    ) -> Result<C, Attempt> {
        let connecting = async { greet(self.open().await.map_err(failed)?).await };
        match timeout(self.server.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(failed(format!("no connection within {:?}", self.server.connect_timeout))),
        }
    }

    /// Opens the connection.
    ///
    /// # Errors
    /// The reason why there is no connection, in words.
    async fn open(&self) -> Result<ServerStream, String> {
        let host = self.host();
        let port = self.server.url.port().unwrap_or(self.server.default_port);
        let addresses: Vec<_> = match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                let text = error.to_string();
                let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
                return Err(format!("cannot resolve the host name: {why}"));
            }
        };
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|error| words(&error))?;
        // Without this, the system may hold a small message back until the server has acknowledged the bytes before it
        // (Nagle's algorithm).
        tcp.set_nodelay(true).ok();
        if self.server.is_encrypted { self.encrypt(Box::new(tcp)).await } else { Ok(Box::new(tcp)) }
    }

    /// Encrypts a connection that was opened without encryption.
    ///
    /// # Errors
    /// The reason why the connection is not encrypted, in words.
    pub(in crate::sinks) async fn encrypt(&self, stream: ServerStream) -> Result<ServerStream, String> {
        let tls = self.tls.as_ref().ok_or("TLS was not set up")?;
        let name = ServerName::try_from(self.host().to_owned());
        let name = name.map_err(|_| "the host name cannot be in a certificate")?;
        let encrypted = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        Ok(Box::new(encrypted.map_err(|error| words(&error))?))
    }

    fn host(&self) -> &str {
        let host = self.server.url.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// A failed attempt of which only the words are known.
pub(in crate::sinks) fn failed(answer: impl Into<String>) -> Attempt {
    Attempt::Failed { status: None, retry_after: None, answer: answer.into() }
}

/// Returns the error of the connection (`io::Error`) that caused the error of a client; `None` if the error has another
/// cause.
#[cfg(any(feature = "sink-postgres", feature = "sink-smtp"))]
pub(in crate::sinks) fn io_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    std::iter::successors(error.source(), |cause| Error::source(*cause)).find_map(|cause| cause.downcast_ref())
}

/// Describes why a connection failed or was lost.
pub(in crate::sinks) fn words(error: &io::Error) -> String {
    let words = failure::describe_io(error);
    // The usual words for this error propose `http` instead of `https`. This makes no sense for other protocols.
    if words.starts_with("the answer is not TLS") {
        "the answer is not TLS: is it the port for TLS?".to_owned()
    } else {
        words
    }
}
