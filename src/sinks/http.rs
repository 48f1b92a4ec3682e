//! HTTP receivers.

use std::time::Duration;

use reqwest::Url;

/// `[sinks.NAME]` of `type = "http"`, as far as it says where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where messages are posted. May hold credentials: it is only ever shown redacted.
    pub url: Url,
    /// For one whole request, the answer included.
    pub timeout: Duration,
    /// For the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
}
