//! The only reader of clocks, and how long to back off.

pub mod backoff;
mod clock;

pub use clock::Clock;
pub use tokio::time::Instant;
