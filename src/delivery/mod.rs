//! For each sink: claim -> format -> send -> settle.
//!
//! Every sink has its own rows, workers, retry clock and breaker, so that a dead one holds back nobody. What happens to a
//! message and to its sink is decided by pure functions (`decide`, `breaker`, `throttle`, `lanes`, `pace`, `expiry`,
//! `health`); `supervisor` is the loop that carries it out, one for each sink, and `settler` writes the results of all of
//! them down.
//!
//! Invariants:
//! - A delivery is settled exactly when an attempt has ended, and its worker is free only when that is on the disk.
//! - Claims live in memory. Whatever happens to this process, the store is where the last settled attempts left it.
//! - No loop turns without a reason, and no wait is shorter than 100 ms whatever is configured.

mod attempt;
mod breaker;
mod decide;
mod expiry;
mod failure_notice;
pub mod filter;
mod health;
mod lanes;
mod options;
mod pace;
mod queues;
mod refused_alone;
mod running;
mod settler;
mod status;
mod supervisor;
mod throttle;

pub use options::{Options, Order, Retry};
pub use running::{Delivery, Setup, Waker};
pub use status::{Held, SinkStatus};
pub use supervisor::Drained;

#[cfg(test)]
mod tests;
