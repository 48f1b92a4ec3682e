//! What a sink is doing, for whoever asks.

use crate::domain::{PauseReason, UnixMs};

/// One sink as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Deliveries begun and not yet recorded.
    pub in_flight: usize,
    /// Whether the last attempt failed.
    pub failing: bool,
    /// When the first of the failures and refusals ended that no success followed, as far as this process has seen.
    pub failing_since: Option<UnixMs>,
    /// Why nothing is sent, if nothing is.
    pub held: Option<Held>,
}

/// Why nothing is sent to a sink. Its messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its reader closed the stream.
    Closed,
    /// The receiver answered 410: it wants nothing more. Until somebody resumes the sink.
    Gone,
    /// Somebody paused it, until somebody resumes it.
    Operator,
    /// The configuration says so: `enabled = false`.
    Disabled,
    /// The receiver asked for silence, and has accepted nothing since.
    Busy {
        /// When the silence ends, or has ended.
        until: UnixMs,
    },
    /// Nothing got through lately: one message at a time is tried.
    Probing {
        /// When the next one is tried; `None` while one is.
        next: Option<UnixMs>,
    },
}

impl Held {
    /// A pause, as opposed to what passes by itself.
    pub(super) fn paused(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Operator => Self::Operator,
            PauseReason::Gone => Self::Gone,
            PauseReason::Closed => Self::Closed,
            PauseReason::Disabled => Self::Disabled,
        }
    }
}

/// What a sink's loop publishes after each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) status: SinkStatus,
    /// The wake-up after which nothing was found that may be begun now, while nothing was in flight.
    pub(super) idle_after: Option<u64>,
}
