//! What is shown of a relay to those outside of it.
//!
//! [`LiveFile`] is what a running relay says of itself beside its state; [`Status`] puts it together with the state, the
//! budget and the role lock, also when no relay runs; [`problems`] judges it. Nothing here changes anything.

mod health;
mod json;
mod live;
mod status;

pub use health::problems;
pub use json::{letter_json, sink_json, status_json, trace_json};
pub use live::{Live, LiveFile, LiveSink};
pub use status::{BudgetStatus, Status, WalkView};
