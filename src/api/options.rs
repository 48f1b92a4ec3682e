//! The options of the client.

use std::time::Duration;

use reqwest::Url;

use crate::http::Transport;
use crate::secret::Secret;

/// The API's address, keys and limits: `[api]` of the configuration, resolved.
#[derive(Clone, Debug)]
pub struct Options {
    /// The base URL, without `/v1`.
    pub url: Url,
    /// The keys, at least one. The first key that the API accepts is used.
    pub keys: Vec<Secret>,
    /// The most requests in any 60 seconds; at least 1.
    pub requests_per_minute: u32,
    /// The longest time for one whole request, including the body of the answer.
    pub timeout: Duration,
    /// The longest time for the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
    /// The proxy through which requests go, and the certificates for them.
    pub transport: Transport,
}
