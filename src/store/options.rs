//! What the store needs to know.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::UnixMs;

/// Where the state lives and how long it is kept: `[state]` of the configuration, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The state directory; made with mode 0700 if it is missing.
    pub dir: PathBuf,
    /// How long a message stays after every sink has it.
    pub keep_delivered: Keep,
    /// How long a dead letter stays.
    pub keep_dead: Keep,
    /// So many bytes the state may take, the journal included: beyond them nothing new is read.
    pub max_size: u64,
    /// So many bytes must be free on its file system: with fewer nothing new is read.
    pub min_free: u64,
}

impl Options {
    /// Whether nothing that was delivered is kept, not even for a moment.
    pub fn lets_go_at_once(&self) -> bool {
        self.keep_delivered == Keep::For(Duration::ZERO)
    }
}

/// A time to keep things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This long, counted from the delivery, or from when it was given up.
    For(Duration),
    /// Until somebody removes them.
    Forever,
}

impl Keep {
    /// What was settled before this instant goes; `None` = nothing does. While nobody knows what time it is (`now` is `None`)
    /// only that goes which is not to be kept at all.
    pub fn cutoff(self, now: Option<UnixMs>) -> Option<UnixMs> {
        match self {
            Self::For(Duration::ZERO) => Some(UnixMs::MAX),
            Self::For(keep) => Some(now?.before(keep)),
            Self::Forever => None,
        }
    }
}
