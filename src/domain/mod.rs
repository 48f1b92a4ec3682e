//! Pure values and rules: no IO, no async, no clock.

mod start;
mod unix_ms;

pub use start::Start;
pub use unix_ms::UnixMs;
