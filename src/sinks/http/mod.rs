//! Sinks of type `http`: HTTP receivers.

pub(crate) mod answer;
pub(crate) mod classify;
mod headers;
mod online;
pub(in crate::sinks) mod preset;
mod preview;
pub mod settings;
pub mod signing;
pub(in crate::sinks) mod tags;
pub(crate) mod webhook_id;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use tokio::time::timeout;

use self::answer::Dialect;
pub use self::classify::Statuses;
use self::classify::{Head, classify};
use self::signing::Signing;
use self::webhook_id::webhook_id;
use super::{Attempt, Attempting, OnlineCheck, Outgoing, Preview, ReadContext, Sink, SinkType, Target};
use crate::http::client::{self, ClientBuildError, ClientOptions};
use crate::http::lenient_client::{LenientClient, RequestError};
use crate::http::{Proxy, RedactedUrl, Transport, body};
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::time::Clock;

/// The type `http`.
#[derive(Debug)]
pub struct Http;

/// The settings that say where and how a sink sends.
#[derive(Clone)]
pub struct Options {
    /// The URL to which messages are sent. The URL may contain credentials, so it is shown only redacted.
    pub url: Url,
    /// The method of requests: POST, PUT or PATCH.
    pub method: Method,
    /// The headers that the operator adds; authentication is one of them. Values that may be secrets are marked as
    /// sensitive.
    pub headers: HeaderMap,
    /// The longest time for one whole request, including the answer.
    pub timeout: Duration,
    /// The longest time for the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
    /// The proxy and the certificates.
    pub transport: Transport,
    /// The signature of requests, if they are signed.
    pub signing: Option<Signing>,
    /// Statuses with a special meaning for this receiver.
    pub statuses: Statuses,
    /// How the bodies of the receiver's answers are read; `None` if only the heads of the answers count.
    pub(crate) dialect: Option<Dialect>,
}

impl SinkType for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context.is_meant)?))
    }
}

impl Target for Options {
    fn takes_lines(&self) -> bool {
        false
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.transport.proxy)
    }

    fn describe(&self) -> String {
        preview::describe(self)
    }

    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
        preview::preview(self, outgoing, clock)
    }

    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        Box::pin(online::check(self, name, clock))
    }

    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, super::SinkBuildError> {
        Ok(Arc::new(HttpSink::new(self, clock.clone())?))
    }
}

#[cfg(test)]
impl Options {
    /// Makes options with defaults for everything but the URL and the timeout.
    pub(crate) fn plain(url: Url, timeout: Duration) -> Self {
        Self {
            url,
            method: Method::POST,
            headers: HeaderMap::new(),
            timeout,
            connect_timeout: timeout,
            transport: Transport::default(),
            signing: None,
            statuses: Statuses::default(),
            dialect: None,
        }
    }
}

/// Hides the URL, which may contain a password.
impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, method, headers, timeout, connect_timeout, transport, signing, statuses, dialect: _ } = self;
        out.debug_struct("Http")
            .field("url", &RedactedUrl(url))
            .field("method", method)
            .field("headers", headers)
            .field("timeout", timeout)
            .field("connect_timeout", connect_timeout)
            .field("transport", transport)
            .field("signing", signing)
            .field("statuses", statuses)
            .finish()
    }
}

/// The header with the id of the message. The id is the same on every attempt, so that a receiver can drop repeats.
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// The most bytes that are read of an answer's body. The relay reads the body so that the connection can be used again.
/// What the body says matters only for receivers with a [`Dialect`].
const ANSWER_CAP: usize = 64 << 10;
/// The longest time for reading the body.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// A sink for one HTTP receiver.
#[derive(Debug)]
pub struct HttpSink {
    client: LenientClient,
    client_options: ClientOptions,
    proxy: Proxy,
    url: Url,
    method: Method,
    headers: HeaderMap,
    signing: Option<Signing>,
    statuses: Arc<Statuses>,
    dialect: Option<Dialect>,
    clock: Clock,
}

impl HttpSink {
    /// Makes a sink that has no connection yet.
    ///
    /// # Errors
    /// [`ClientBuildError`] if TLS cannot be set up.
    pub fn new(options: &Options, clock: Clock) -> Result<Self, ClientBuildError> {
        let client_options = ClientOptions {
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            keep_idle: client::KEEP_IDLE,
            gzip: false,
        };
        let client = LenientClient::new(&client_options, &options.transport, &options.url)?;
        let Options { url, method, headers, signing, statuses, dialect, .. } = options.clone();
        let proxy = options.transport.proxy.clone();
        let statuses = Arc::new(statuses);
        Ok(Self { client, client_options, proxy, url, method, headers, signing, statuses, dialect, clock })
    }

    /// Returns the request that would be sent for a message now. The headers that the client adds are still missing in
    /// it ([`headers_on_the_wire`] adds them).
    ///
    /// # Errors
    /// An error if a part of the request cannot be sent.
    pub fn request(&self, outgoing: Outgoing) -> reqwest::Result<Request> {
        let id = webhook_id(&outgoing.id);
        let mut request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .header(header::CONTENT_TYPE, &*outgoing.content_type)
            // Without this line the client would leave this header out of a request with an empty body.
            .header(header::CONTENT_LENGTH, outgoing.body.len());
        if let Some(signing) = &self.signing {
            for (name, value) in signing.headers(&id, self.clock.machine_time(), &outgoing.body) {
                request = request.header(name, value);
            }
        }
        request.header(WEBHOOK_ID, id).body(outgoing.body).build()
    }
}

/// Returns the headers of a request as they are sent: the headers that the client adds are included, but not the
/// headers that only a proxy reads. The host is also included for HTTP/2, where it is not a header.
pub fn headers_on_the_wire(request: &Request) -> HeaderMap {
    let mut headers = request.headers().clone();
    client::add_headers(&mut headers);
    let url = request.url();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    if let Ok(host) = HeaderValue::try_from(format!("{}{port}", url.host_str().unwrap_or_default())) {
        headers.entry(header::HOST).or_insert(host);
    }
    headers
}

impl Sink for HttpSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let request = self.request(outgoing);
        let (client, sent_to) = (self.client.clone(), self.url.clone());
        let (client_options, proxy, clock) = (self.client_options, self.proxy.clone(), self.clock.clone());
        let (statuses, dialect) = (Arc::clone(&self.statuses), self.dialect);
        Box::pin(async move {
            let begun = clock.monotonic();
            let sent = match request {
                Ok(request) => client.execute(request).await,
                Err(error) => Err(RequestError::Unsendable(error.without_url())),
            };
            let response = match sent {
                Ok(response) => response,
                Err(error) => {
                    let answer = error.describe(&proxy, &client_options);
                    return Attempt::Failed { status: None, retry_after: None, answer };
                }
            };
            let answering_proxy = proxy.that_answers_for(&sent_to);
            let head = Head { proxy: answering_proxy.as_deref(), ..head(response.status(), response.headers()) };
            let attempt = classify(head, &statuses, &sent_to, clock.machine_time());
            let left = client_options.timeout.saturating_sub(clock.monotonic().saturating_duration_since(begun));
            let deadline = ANSWER_DEADLINE.min(left);
            let is_accepted = matches!(attempt, Attempt::Accepted { .. });
            let Some(dialect) = dialect.filter(|dialect| dialect.may_refuse_with_success || !is_accepted) else {
                // The result of the attempt is decided already, whatever the body says and even if it does not come.
                body::discard(response, ANSWER_CAP, deadline).await;
                return attempt;
            };
            let status = response.status().as_u16();
            // A body that does not arrive completely counts as empty.
            let body = timeout(deadline, body::read_capped(response, ANSWER_CAP)).await;
            let body = body.ok().and_then(Result::ok).unwrap_or_default();
            answer::refine(attempt, (dialect.read)(status, &body))
        })
    }
}

fn head(status: reqwest::StatusCode, headers: &HeaderMap) -> Head<'_> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (retry_after, date, location) = (text(header::RETRY_AFTER), text(header::DATE), text(header::LOCATION));
    Head { status, retry_after, date, location, proxy: None }
}
