//! How clients behave, and what they take from the other side.

use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For one whole request, the answer's body included.
    pub timeout: Duration,
    /// For the host's name and the TCP and TLS handshakes together; see `resolver` for names that take longer.
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses; see [`KEEP_IDLE`](super::client::KEEP_IDLE).
    pub keep_idle: Duration,
    /// Whether answers may come compressed. Caps count what they are unpacked to.
    pub gzip: bool,
}

/// The most header lines that the head of an answer may have: as many as curl takes. The HTTP library's own limit is 100,
/// which servers with many cookies or policies exceed.
pub(super) const MOST_HEADERS: usize = 5_000;

/// The most bytes that the head of an answer may have. For HTTP/1.1 this is the HTTP library's own limit; for HTTP/2 it
/// would otherwise be 16 KiB.
pub(super) const LARGEST_HEAD: u32 = 408 << 10;
