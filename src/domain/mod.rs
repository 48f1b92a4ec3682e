//! Pure values and rules: no IO, no async, no clock.

mod sink_name;
mod start;
mod unix_ms;

pub use sink_name::{InvalidSinkName, SinkName};
pub use start::Start;
pub use unix_ms::UnixMs;
