//! Building clients: one for the API, one for each receiver.

use std::time::Duration;

use reqwest::redirect::Policy;

use super::resolver::Resolver;
use super::way::Way;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For one whole request, the answer's body included.
    pub timeout: Duration,
    /// For the host's name and the TCP and TLS handshakes together; see `resolver` for names that take longer.
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses; see [`KEEP_IDLE`].
    pub keep_idle: Duration,
    /// Whether answers may come compressed. Caps count what they are unpacked to.
    pub gzip: bool,
}

/// Servers close idle connections after 5 s (Node) or more. A request that meets the closing fails, and a POST may not
/// simply be repeated: so we close first.
pub const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How every request names us.
pub const USER_AGENT: &str = concat!("joltsms-relay/", env!("CARGO_PKG_VERSION"));

/// A peer that is gone without a word is noticed after about a minute.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The same within HTTP/2, where all requests share one connection, and go on failing with it if it dies: a request that
/// is given up does not end it. So the other side is pinged when nothing came for a while, and must answer in time, which
/// a server does that is only slow.
const HTTP2_PING_AFTER: Duration = Duration::from_secs(3);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A client cannot be built, as a rule because the machine has no certificates to trust.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}")]
pub struct BuildError(String);

/// A client that sends each request once, this way, and follows nothing.
///
/// # Errors
/// [`BuildError`] where TLS cannot be set up.
pub fn build(options: &ClientOptions, way: &Way) -> Result<reqwest::Client, BuildError> {
    let explain = |error| BuildError(super::failure::describe(&error, options));
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout)
        .redirect(Policy::none())
        .referer(false)
        // By itself it repeats what a server refused before looking at it: unseen by the budget and by the back-off.
        .retry(reqwest::retry::never())
        .gzip(options.gzip)
        .dns_resolver(Resolver::new(options.connect_timeout.min(options.timeout)))
        .pool_idle_timeout(options.keep_idle)
        .tcp_keepalive(TCP_KEEPALIVE)
        .http2_keep_alive_interval(HTTP2_PING_AFTER)
        .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .http2_keep_alive_while_idle(true);
    way.apply(builder).and_then(reqwest::ClientBuilder::build).map_err(explain)
}
