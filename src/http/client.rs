//! Builds HTTP clients: for the API, for the heartbeat and, as a part of `LenientClient`, for receivers.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{self, ACCEPT, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;

pub use super::client_options::ClientOptions;
use super::client_options::{LARGEST_HEAD, MOST_HEADERS};
use super::redacted_url::RedactedUrl;
use super::resolver::Resolver;
use super::transport::Transport;

/// How long an idle connection is kept. Servers close idle connections after 5 s (Node) or more. A request that is sent
/// while the server closes the connection fails, and a POST may not simply be repeated. So the relay closes idle
/// connections earlier than the servers do.
pub const KEEP_IDLE: Duration = Duration::from_secs(4);

/// The `User-Agent` of every request.
pub const USER_AGENT: &str = concat!("joltsms-relay/", env!("CARGO_PKG_VERSION"));

/// The interval of TCP keepalives. With this interval, a peer that vanished is noticed after about a minute.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// After this time without data, the client pings the other side, which must answer within [`HTTP2_PING_TIMEOUT`]. In
/// HTTP/2 all requests share one connection, and a request that is given up does not end the connection. So without
/// pings, the relay would go on using a dead connection, and every request would fail. A server that is only slow
/// answers the pings.
pub(super) const HTTP2_PING_AFTER: Duration = Duration::from_secs(3);
pub(super) const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS for {url}: {why}")]
pub struct ClientBuildError {
    /// The redacted URL of the requests that the client should have sent.
    url: String,
    why: String,
}

/// The TLS library's error on a machine without CA certificates.
const NO_AUTHORITIES: &str = "No CA certificates were loaded from the system";

/// The advice for the operator if the machine has no CA certificates.
const HOW_TO_TRUST: &str = "this machine has no CA certificates to check the other side's certificate with; install the \
                            package ca-certificates, or name a file that has them in tls.ca_file or SSL_CERT_FILE";

/// Adds the headers that every request has. A header that the request has already stays as it is.
pub fn add_headers(headers: &mut HeaderMap) {
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
}

/// Builds a client for requests to `url` over `transport`. The client sends each request once and follows no redirects.
///
/// # Errors
/// [`ClientBuildError`] if TLS is needed and cannot be set up.
pub fn build(options: &ClientOptions, transport: &Transport, url: &Url) -> Result<reqwest::Client, ClientBuildError> {
    build_with(options, transport, url, |builder| builder)
}

/// Builds a client as [`build`] does, but lets `change` change the builder first.
pub(super) fn build_with(
    options: &ClientOptions,
    transport: &Transport,
    url: &Url,
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, ClientBuildError> {
    let explain = |error| {
        let why = match super::failure::describe(&error, options) {
            words if words.contains(NO_AUTHORITIES) => HOW_TO_TRUST.to_owned(),
            words => words,
        };
        ClientBuildError { url: RedactedUrl(url).to_string(), why }
    };
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout)
        .redirect(Policy::none())
        .referer(false)
        // By default the library repeats a request if the server refused it without processing it. The budget and the
        // back-off would not see these repeated requests.
        .retry(reqwest::retry::never())
        .gzip(options.gzip)
        .dns_resolver(Resolver::new(options.connect_timeout.min(options.timeout)))
        .pool_idle_timeout(options.keep_idle)
        .tcp_keepalive(TCP_KEEPALIVE)
        .http2_keep_alive_interval(HTTP2_PING_AFTER)
        .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        // A header that is malformed must not make the whole answer unreadable. So headers are read as leniently as
        // other clients read them.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MOST_HEADERS)
        .http2_max_header_list_size(LARGEST_HEAD);
    transport.apply(change(builder), url).and_then(reqwest::ClientBuilder::build).map_err(explain)
}
