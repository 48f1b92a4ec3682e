//! What the client needs to know.

use std::time::Duration;

use reqwest::Url;

use crate::http::Transport;
use crate::secret::Secret;

/// The API's address, keys and limits: `[api]` of the configuration, resolved.
#[derive(Clone, Debug)]
pub struct Options {
    /// Base URL, without `/v1`.
    pub url: Url,
    /// At least one key; the first that the API accepts is used.
    pub keys: Vec<Secret>,
    /// Never more requests than this in any 60 seconds; at least 1.
    pub requests_per_minute: u32,
    /// For one whole request, body included.
    pub timeout: Duration,
    /// For the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
    /// Through which proxy, and with which certificates.
    pub transport: Transport,
}
