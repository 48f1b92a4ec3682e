//! The actions of an operator, for the commands and for the status page: pausing and resuming sinks, retrying and
//! dropping dead letters, and replays.
//!
//! Each action calls a transaction of the store, once or in a loop, and returns a sentence about the change. The
//! actions are the same for a command and for the page.

mod dead_letters;
mod refusal;
mod replay;
mod sinks;

pub use dead_letters::{dead_letter_selection, resolve_dead_letters, resolved};
pub use refusal::OperatorRefusal;
pub use replay::{ReplayRequest, ReplayTally, choose, count_portion, each_portion, filter_of, replayed};
pub use sinks::{learned_pace, pause_sink, resume_sink, sink_named};
