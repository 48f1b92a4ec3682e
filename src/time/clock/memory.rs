//! The knowledge about the relay's time that outlives a process.

use serde::{Deserialize, Serialize};

/// The knowledge about the relay's time that a process leaves to the next process, and to commands that run beside it.
/// Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockMemory {
    /// The id of the machine's present boot; `None` if it is not known.
    pub boot: Option<String>,
    /// The relay's time when the machine started.
    pub booted_at: i64,
    /// The relay's time when this memory was written.
    pub written_at: i64,
    /// Whether the API had confirmed the relay's time.
    pub confirmed: bool,
    /// The newest instant at which an earlier process had a confirmed time. `None` if there is no such instant, or if
    /// `confirmed` is true.
    pub confirmed_at: Option<i64>,
    /// By how many milliseconds the machine's clock was ahead of the API's clock.
    pub machine_ahead_ms: Option<i64>,
    /// By how many milliseconds the clock of the messages was ahead of the relay's time.
    pub messages_ahead_ms: Option<i64>,
}
