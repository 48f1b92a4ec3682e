//! Makes connections with reqwest's code for names, proxies, TLS and time limits.
//!
//! reqwest does not hand out its connections. But a layer around its connector sees each new connection. The dialer
//! begins a request, and its layer takes the connection away. So the request fails, and its error carries the
//! connection to the dialer. In this way one code makes the connections to receivers, the connections of `check
//! --online`, and those of the API client.
//!
//! Invariant: no byte of the request is sent. Only `CONNECT` is sent if an HTTP proxy has to make the connection to an
//! https URL, because otherwise there would be no connection.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use reqwest::Url;
use tower_layer::Layer;
use tower_service::Service;

use super::client::{self, ClientBuildError, ClientOptions};
use super::transport::Transport;

type BoxError = Box<dyn Error + Send + Sync>;

/// A connection that is ready for HTTP: it leads through the proxy if there is one, and the TLS handshake is done if the
/// URL needs one.
pub(super) trait DialedConnection: Read + Write + Connection + Send + Unpin {}

impl<C: Read + Write + Connection + Send + Unpin> DialedConnection for C {}

impl Connection for Box<dyn DialedConnection> {
    fn connected(&self) -> Connected {
        (**self).connected()
    }
}

/// Makes connections to one address over one transport.
#[derive(Debug)]
pub(super) struct Dialer {
    client: reqwest::Client,
    url: Url,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The connection could not be made. The error contains no URL.
    #[error("no connection")]
    Failed(#[source] reqwest::Error),
    /// The request got an answer, so reqwest has used the connection itself.
    #[error("the connection was lost")]
    Lost,
}

impl Dialer {
    /// Makes a dialer for connections to the host of `url`.
    ///
    /// # Errors
    /// [`ClientBuildError`] if TLS is needed and cannot be set up.
    pub(super) fn new(options: &ClientOptions, transport: &Transport, url: &Url) -> Result<Self, ClientBuildError> {
        let client = client::build_with(options, transport, url, |builder| builder.connector_layer(HandOver))?;
        Ok(Self { client, url: url.clone() })
    }

    /// Returns a client that can build requests. The client cannot send them, because the dialer takes its connections
    /// away.
    pub(super) fn request_builder(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Makes a connection.
    ///
    /// # Errors
    /// [`DialError`] if there is no connection.
    pub(super) async fn dial(&self) -> Result<Box<dyn DialedConnection>, DialError> {
        let sent = self.client.head(self.url.clone()).send().await;
        let error = sent.err().ok_or(DialError::Lost)?;
        handed_over(&error).ok_or_else(|| DialError::Failed(error.without_url()))
    }
}

/// Takes the connection out of the failure of its request.
fn handed_over(error: &reqwest::Error) -> Option<Box<dyn DialedConnection>> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(HandedOver(connection)) = cause.downcast_ref() {
            return connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        next = cause.source();
    }
    None
}

/// The failure of a request whose connection was taken.
struct HandedOver(Mutex<Option<Box<dyn DialedConnection>>>);

impl fmt::Debug for HandedOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HandedOver")
    }
}

impl fmt::Display for HandedOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the connection was handed over")
    }
}

impl Error for HandedOver {}

/// Puts a [`HandOverConnector`] around a connector.
#[derive(Clone)]
struct HandOver;

/// Takes each connection as soon as the connection is made, and fails with [`HandedOver`].
#[derive(Clone)]
struct HandOverConnector<S>(S);

impl<S> Layer<S> for HandOver {
    type Service = HandOverConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        HandOverConnector(connector)
    }
}

impl<S, R> Service<R> for HandOverConnector<S>
where
    S: Service<R, Error = BoxError>,
    S::Response: DialedConnection + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let connecting = self.0.call(destination);
        Box::pin(async move {
            let connection: Box<dyn DialedConnection> = Box::new(connecting.await?);
            Err(HandedOver(Mutex::new(Some(connection))).into())
        })
    }
}
