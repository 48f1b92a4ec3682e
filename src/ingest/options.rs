//! What the poller needs to know.

use std::time::Duration;

use crate::domain::Start;

/// How to poll: `[poll]` of the configuration, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// From the start of one head poll to the start of the next.
    pub interval: Duration,
    /// Used when the state is new; later edits are ignored, and said.
    pub start: Start,
    /// How late a message may show up behind newer ones.
    pub lookback: Duration,
    /// How often the lookback is read again, as far as spare budget allows.
    pub sweep_interval: Duration,
}
