//! The errors of a request for a page.

use std::fmt;

/// Why there is no page. The text is for people, and contains no key, no URL and no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401, or a 403 with an error code: the key is not accepted.
    #[error("the API does not accept the key: {0}")]
    KeyRefused(KeyRefusal),
    /// A 403 without an error code: a server in front of the API, such as a CDN, blocks the relay.
    #[error("403 from the network in front of the API, not from the API")]
    Blocked,
    /// 429: the rate limit was exceeded.
    #[error("429: over the rate limit")]
    RateLimited,
    /// Another 4xx: the API refuses the request. If the request had a cursor, the cursor is taken to be the reason.
    #[error("{status}: {code}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The API's error code, or the standard words for the status.
        code: String,
    },
    /// The request went through a proxy that can read it, and the proxy may have answered instead of the API. This
    /// error stands for every 407, and for a 403 or 5xx without an error code of the API.
    #[error("{status} through the proxy {proxy}, which may have answered instead of the API")]
    Proxy {
        /// The status of the answer.
        status: u16,
        /// The host and port of the proxy.
        proxy: String,
    },
    /// 5xx: the server failed. Or 408 or 425: the request came at the wrong moment.
    #[error("{0} from the API")]
    Server(u16),
    /// 3xx. Redirects are not followed, because they would give the key to another host.
    #[error("{status} redirect to {location}, not followed; is api.url right?")]
    Redirected {
        /// The status of the answer.
        status: u16,
        /// The host to which the redirect leads, or words if there is none.
        location: String,
    },
    /// There was no answer, or the body of an answer with a success status was incomplete.
    #[error("{0}")]
    Transport(String),
    /// The answer is not a page.
    #[error("the answer is not a page of messages: {0}")]
    Malformed(String),
    /// The list of rows of a page is invalid JSON or cut off, so the ends of the rows cannot be found. A smaller page
    /// may be readable.
    #[error("the answer is not a page of messages: {0}")]
    Garbled(String),
    /// The page has more bytes than the relay reads.
    #[error("the page has more than {cap} bytes")]
    TooLarge {
        /// The most bytes that the relay reads.
        cap: usize,
    },
}

/// The answer that refused a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRefusal {
    /// The status, 401 or 403.
    pub status: u16,
    /// The API's error code, such as `UNAUTHORIZED`, or the standard words for the status.
    pub code: String,
}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status, self.code)
    }
}

impl Error {
    /// Returns the HTTP status of the answer, or 200 for every success status; `None` for [`Error::Transport`].
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::KeyRefused(refusal) => Some(refusal.status),
            Self::Blocked => Some(403),
            Self::RateLimited => Some(429),
            Self::Proxy { status, .. }
            | Self::Refused { status, .. }
            | Self::Redirected { status, .. }
            | Self::Server(status) => Some(*status),
            Self::Transport(_) => None,
            Self::Malformed(_) | Self::Garbled(_) | Self::TooLarge { .. } => Some(200),
        }
    }

    /// Returns the kind of error as a word, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeyRefused(_) => "key_refused",
            Self::Blocked => "blocked",
            Self::Proxy { .. } => "proxy",
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
