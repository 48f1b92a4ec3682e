//! Delivery to each sink: a message is claimed, formatted, sent and settled.
//!
//! Every sink has its own rows, workers, retry schedule and breaker, so that a dead sink holds back no other. Pure
//! functions decide what happens to a message and to its sink: `decide`, `breaker`, `throttle`, `lanes`, `pace`,
//! `max_age`, `health`. `supervisor` is the loop of one sink, which carries out these decisions. `settler` writes the
//! results of all sinks to the store.
//!
//! Invariants:
//! - A delivery is settled exactly when an attempt has ended. Its worker is free only when the settlement is on the disk.
//! - Claims live in memory. Whatever happens to this process, the store is as the last settled attempts left it.
//! - No loop turns without a reason, and no wait after a failure is shorter than 100 ms, whatever is configured.

mod attempt;
mod breaker;
mod context;
mod decide;
mod failure_notice;
pub mod filter;
mod health;
mod lanes;
pub mod log;
mod max_age;
mod moment;
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
pub use status::{Drained, Held, SinkStatus};

#[cfg(test)]
mod tests;
