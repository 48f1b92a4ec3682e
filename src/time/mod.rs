//! The only reader of clocks, and how long to back off.

pub mod backoff;
mod clock;
mod turns;

pub use clock::Clock;
pub use tokio::time::Instant;
pub use turns::{AT_LEAST_EVERY, Turns};
