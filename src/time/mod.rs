//! The only reader of clocks, the decision which clock is believed, and the waits of a back-off.

pub mod backoff;
mod boot;
mod clock;
mod heartbeat;
mod trust;

pub use clock::{Clock, ClockMemory, MachineJump, Rebase};
pub use heartbeat::{AT_LEAST_EVERY, Heartbeat};
pub use tokio::time::Instant;
pub use trust::{ClockDoubt, agree, is_plausible};
