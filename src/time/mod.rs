//! The only reader of clocks, and how long to back off.

pub mod backoff;
mod clock;
mod heartbeat;
mod trust;

pub use clock::{Clock, ClockMemory, Rebase};
pub use heartbeat::{AT_LEAST_EVERY, Heartbeat};
pub use tokio::time::Instant;
