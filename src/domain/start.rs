//! The setting of where a first run begins.

use std::fmt;
use std::time::Duration;

use super::UnixMs;

/// `poll.start`: which messages that were there before the first run are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// None of them.
    Now,
    /// All of them.
    Beginning,
    /// Messages received at this instant or later.
    At(UnixMs),
    /// Messages received this long before the first page, or later. Resolved once, by the server's time.
    Back(Duration),
}

/// Shows the value as the configuration writes it.
impl fmt::Display for Start {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => out.write_str("now"),
            Self::Beginning => out.write_str("beginning"),
            Self::At(instant) => write!(out, "{instant}"),
            Self::Back(span) => write!(out, "{:#}", jiff::SignedDuration::try_from(*span).unwrap_or_default()),
        }
    }
}
