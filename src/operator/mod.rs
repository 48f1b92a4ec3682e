//! The actions of an operator, for the commands and for the status page: pausing and resuming sinks, settling dead
//! letters, and replays.
//!
//! Each action is one call, or a loop, of the store's operator transactions, and says in a sentence what it did. Nothing
//! here knows whether a command or the page asked.

mod dead_letters;
mod refusal;
mod replay;
mod sinks;

pub use dead_letters::{dead_letter_selection, resolve_dead_letters, resolved};
pub use refusal::OperatorRefusal;
pub use replay::{ReplayRequest, ReplayTally, choose, count_portion, each_portion, filter_of, replayed};
pub use sinks::{learned_pace, pause_sink, resume_sink, sink_named};
