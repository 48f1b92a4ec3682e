//! The setting that decides where a first run begins.

use std::fmt;
use std::time::Duration;

use super::UnixMs;

/// `poll.start`: which of the messages from before the first run are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No messages from before the first run.
    Now,
    /// All messages.
    Beginning,
    /// Messages received at this instant or later.
    At(UnixMs),
    /// Messages received this long before the first page, or later. The instant is computed once, from the first page
    /// and the API's time.
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
