//! Where a first run begins.

use std::time::Duration;

use super::UnixMs;

/// `poll.start`: which messages that were there before the first run are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// None of them.
    Now,
    /// All of them.
    Beginning,
    /// Those received at this instant or later.
    At(UnixMs),
    /// Those received this long before the first page, or later. Resolved once, against the server's time.
    Back(Duration),
}
