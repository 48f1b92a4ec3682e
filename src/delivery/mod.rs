//! Delivery to each sink: claim a message -> format it -> send it -> settle it.
//!
//! Every sink has its own deliveries, workers, retry schedule and breaker, so that a dead sink holds back no other.
//! Pure functions decide what happens to a message and to its sink: `after_attempt`, `retry_schedule`, `breaker`,
//! `throttle`, `refused_alone`, `lanes`, `pace`, `max_age`, `health`. `supervisor` is the loop of one sink, which
//! carries out these decisions. `settler` writes the results of all sinks to the store.
//!
//! Invariants:
//! - When an attempt has ended, its outcome is recorded (settled). The worker takes the next delivery only when the
//!   record is on the disk.
//! - Claims are kept in memory only. If the process dies, the deliveries that were claimed but not settled can be
//!   claimed again.
//! - A loop turns only for a reason: a wake-up, the end of a delivery, an order, or a time that has come. The wait
//!   before a retry is at least 100 ms, whatever is configured.

mod after_attempt;
mod attempt;
mod breaker;
mod clock_reading;
mod context;
mod failure_notice;
pub mod filter;
mod health;
mod lanes;
pub mod log_sentences;
mod max_age;
mod outgoing;
mod pace;
mod queues;
mod refused_alone;
mod registration;
mod reload;
mod retry_schedule;
mod running;
mod settings;
mod settler;
mod setup;
mod status;
mod supervisor;
mod throttle;
mod waker;

pub use outgoing::outgoing;
pub use reload::{NewSinks, Registrar, SinkChange};
pub use retry_schedule::Retry;
pub use running::Delivery;
pub use settings::{Options, Order};
pub use setup::Setup;
pub use status::{BlockedBy, DeliveredMessages, Drained, SinkStatus};
pub use waker::Waker;

#[cfg(test)]
mod tests;
