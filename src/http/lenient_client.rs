//! The client for receivers: it also accepts answers with certain mistakes in the head, if the status can be read.
//!
//! The parser of the HTTP library would refuse an answer with such a mistake. So each connection mends the mistakes
//! before the parser sees the answer (`lenient_head.rs` lists them). reqwest's own client has no place for this step.
//! So requests go through hyper's client, over connections of the `Dialer`.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{HeaderValue, PROXY_AUTHORIZATION};
use reqwest::{Body, Method, Request, RequestBuilder, Response, Url};
use tokio::time::timeout;
use tower_service::Service;

use super::client::{self, ClientBuildError, ClientOptions};
use super::client_options::{LARGEST_HEAD, MOST_HEADERS};
use super::dialer::{DialError, DialedConnection, Dialer};
use super::failure;
use super::lenient_connection::LenientConnection;
use super::proxy::Proxy;
use super::transport::Transport;

/// A client for requests to one receiver.
#[derive(Clone, Debug)]
pub struct LenientClient {
    client: legacy::Client<LenientConnector, Body>,
    /// Builds the requests, but sends none of them.
    builder: reqwest::Client,
    timeout: Duration,
    /// The user and the password for a proxy that reads the requests before it passes them on.
    proxy_authorization: Option<HeaderValue>,
}

/// Why a request has no answer. [`Self::describe`] puts the error into words for operators.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There was no answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The request cannot be sent as it is. The error contains no URL.
    #[error("the request cannot be built")]
    Unsendable(#[source] reqwest::Error),
    /// There was no connection, or no answer that can be read.
    #[error("the request failed")]
    Failed(#[source] legacy::Error),
}

impl RequestError {
    /// Describes the error as [`failure::describe`] does, for a request through `proxy`. If there was no connection,
    /// the words name the proxy.
    pub fn describe(&self, proxy: &Proxy, options: &ClientOptions) -> String {
        let cause = match self {
            Self::TimedOut => return failure::no_answer(options),
            Self::Unsendable(error) => return failure::describe(error, options),
            Self::Failed(cause) => cause,
        };
        match cause.source().and_then(<dyn Error>::downcast_ref) {
            Some(DialError::Failed(error)) => failure::describe_through(proxy, error, options),
            Some(DialError::Lost) | None => failure::describe_cause(cause),
        }
    }
}

impl LenientClient {
    /// Makes a client for requests to `url` over `transport`. The client sends each request once and follows no
    /// redirects. The client does not unpack bodies, so it does not ask for compressed bodies.
    ///
    /// # Errors
    /// [`ClientBuildError`] if TLS is needed and cannot be set up.
    pub fn new(options: &ClientOptions, transport: &Transport, url: &Url) -> Result<Self, ClientBuildError> {
        let dialer = Dialer::new(options, transport, url)?;
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.keep_idle)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(MOST_HEADERS)
            .http2_max_header_list_size(LARGEST_HEAD)
            .http2_keep_alive_interval(client::HTTP2_PING_AFTER)
            .http2_keep_alive_timeout(client::HTTP2_PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        Ok(Self {
            builder: dialer.request_builder(),
            client: builder.build(LenientConnector(Arc::new(dialer))),
            timeout: options.timeout,
            proxy_authorization: transport.proxy.authorization_for(url),
        })
    }

    /// Begins a request to `url`. [`Self::execute`] adds the headers that every request has.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.builder.request(method, url)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`RequestError`] if there is no answer.
    pub async fn execute(&self, mut request: Request) -> Result<Response, RequestError> {
        client::add_headers(request.headers_mut());
        if let Some(authorization) = &self.proxy_authorization {
            request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let request =
            hyper::Request::try_from(request).map_err(|error| RequestError::Unsendable(error.without_url()))?;
        match timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer.map(Body::wrap).into()),
            Ok(Err(error)) => Err(RequestError::Failed(error)),
            Err(_) => Err(RequestError::TimedOut),
        }
    }
}

/// Makes the connections of a [`LenientClient`], all to the same address.
#[derive(Clone, Debug)]
struct LenientConnector(Arc<Dialer>);

impl Service<Uri> for LenientConnector {
    type Response = LenientConnection<Box<dyn DialedConnection>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move { Ok(LenientConnection::new(dialer.dial().await?)) })
    }
}
