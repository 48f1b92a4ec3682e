//! HTTP for both ends of the relay: for the API client and for the HTTP sinks.
//!
//! Invariants: only the caller may repeat a request or follow a redirect. Each body is read up to a limit. A URL is
//! shown only without its secret parts.

pub mod body;
pub mod client;
mod client_options;
pub mod connect;
pub mod date;
mod dialer;
pub mod failure;
mod http2_failure;
pub mod lenient_client;
mod lenient_connection;
mod lenient_head;
mod proxy;
#[cfg(test)]
#[path = "../../tests/support/servers/raw.rs"]
#[expect(dead_code, reason = "shared with the tests of the whole program")]
pub(crate) mod raw_server;
mod redacted_url;
mod resolver;
pub mod retry_after;
pub mod settings;
#[cfg(test)]
mod tests;
#[cfg(feature = "server-connections")]
pub mod tls_client;
mod tls_failure;
pub mod tls_files;
mod transport;

pub use proxy::{Proxy, UnusableProxy, UnusableVariable, UselessException, parse_address as parse_proxy};
pub use redacted_url::RedactedUrl;
pub use transport::{ClientCertificate, Tls, Transport};
