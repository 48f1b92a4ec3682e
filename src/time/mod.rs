//! The only reader of clocks, and how long to back off.

pub mod backoff;
mod clock;
mod trust;
mod turns;

pub use clock::{Clock, ClockMemory, Rebase};
pub use tokio::time::Instant;
pub use turns::{AT_LEAST_EVERY, Turns};
