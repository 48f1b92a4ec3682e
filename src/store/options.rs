//! What the store needs to know.

use std::path::PathBuf;
use std::time::Duration;

/// Where the state lives and how long it is kept: `[state]` of the configuration, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The state directory; made with mode 0700 if it is missing.
    pub dir: PathBuf,
    /// How long a message stays after every sink has it.
    pub keep_delivered: Keep,
}

/// A time to keep things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This long, counted from the delivery.
    For(Duration),
    /// Until somebody removes them.
    Forever,
}
