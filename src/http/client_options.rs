//! The behaviour of clients, and the limits of the answers that they accept.

use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The longest time for one whole request, including the body of the answer.
    pub timeout: Duration,
    /// The longest time for resolving the host's name and for the TCP and TLS handshakes together.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept, as for [`KEEP_IDLE`](super::client::KEEP_IDLE).
    pub keep_idle: Duration,
    /// Whether answers may be compressed. The limits of bodies count unpacked bytes.
    pub gzip: bool,
}

/// The most header lines in the head of an answer: as many as curl accepts. The HTTP library's own limit is 100, which
/// servers with many cookies or policies exceed.
pub(super) const MOST_HEADERS: usize = 5_000;

/// The most bytes in the head of an answer. This is the HTTP library's own limit for HTTP/1.1. For HTTP/2 its own limit
/// is only 16 KiB.
pub(super) const LARGEST_HEAD: u32 = 408 << 10;
