//! The only code that reads clocks, the decision which clock is right, and the waits of a back-off.

pub mod backoff;
mod boot_id;
mod clock;
mod liveness;
mod trust;

pub use clock::{Clock, ClockCorrection, ClockMemory, MachineJump, RelayMoment};
pub use liveness::{Liveness, MAX_TURN_INTERVAL};
pub use tokio::time::Instant;
pub use trust::{ClockDoubt, agree, is_plausible};
