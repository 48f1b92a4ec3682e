//! Building clients: one for the API, one for each receiver.

use std::time::Duration;

use reqwest::redirect::Policy;

use super::way::Way;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For one whole request, the answer's body included.
    pub timeout: Duration,
    /// For the TCP and TLS handshakes together.
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

/// The same within HTTP/2, where one dead connection would fail all requests for as long as it is kept.
const HTTP2_KEEPALIVE: Duration = Duration::from_secs(10);

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
        .pool_idle_timeout(options.keep_idle)
        .tcp_keepalive(TCP_KEEPALIVE)
        .http2_keep_alive_interval(HTTP2_KEEPALIVE)
        .http2_keep_alive_timeout(HTTP2_KEEPALIVE);
    way.apply(builder).and_then(reqwest::ClientBuilder::build).map_err(explain)
}
