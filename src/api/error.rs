//! What a request for a page can come to, if not to a page.

use std::fmt;

/// Why there is no page. The text is for people: no key, no URL, no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401, or a 403 with a reason: this key will not do.
    #[error("the API does not accept the key: {0}")]
    KeyRefused(KeyRefusal),
    /// A 403 that is not the API's: its CDN keeps us out.
    #[error("403 from the network in front of the API, not from the API")]
    Blocked,
    /// 429.
    #[error("429: over the rate limit")]
    RateLimited,
    /// A 4xx that blames the request. With a cursor in it, it is the cursor.
    #[error("{status}: {code}")]
    Refused {
        /// The status.
        status: u16,
        /// The API's code, or what the status means.
        code: String,
    },
    /// 5xx.
    #[error("{0} from the API")]
    Server(u16),
    /// 3xx: redirects are not followed, they would hand the key to another host.
    #[error("{status} redirect to {location}, not followed; is api.url right?")]
    Redirected {
        /// The status.
        status: u16,
        /// The host it points to.
        location: String,
    },
    /// No answer, or half of one.
    #[error("{0}")]
    Transport(String),
    /// An answer that is not a page.
    #[error("the answer is not a page of messages: {0}")]
    Malformed(String),
    /// A page that is no JSON, or is cut off, in its list of rows, so that these cannot be told apart. A smaller page may do.
    #[error("the answer is not a page of messages: {0}")]
    Garbled(String),
    /// A page with more bytes than are read.
    #[error("the page has more than {cap} bytes")]
    TooLarge {
        /// The most that is read.
        cap: usize,
    },
}

/// Which answer refused a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRefusal {
    /// 401 or 403.
    pub status: u16,
    /// The API's code, such as `UNAUTHORIZED`.
    pub code: String,
}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status, self.code)
    }
}

impl Error {
    /// A short word for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeyRefused(_) => "key_refused",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate_limited",
            Self::Refused { .. } => "refused",
            Self::Server(_) => "server",
            Self::Redirected { .. } => "redirected",
            Self::Transport(_) => "transport",
            Self::Malformed(_) | Self::Garbled(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
        }
    }
}
