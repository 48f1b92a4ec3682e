//! Turns a valid configuration into a running relay, and ends the relay in good order.
//!
//! There are two phases: [`build`] takes the role lock and opens everything; [`Daemon::run`] runs the relay. The stop
//! has an order: first ingest ends, then delivery, which gives deliveries in flight a grace and settles them, then the
//! store. The stop signal belongs to the caller ([`Stop`]), so that a test stops a daemon as a signal does.

mod build;
mod build_error;
mod drain;
#[cfg(feature = "replicas")]
mod election;
pub mod log_sentences;
pub mod logging;
mod observers;
mod permissions;
mod progress;
mod queue_watch;
mod reader_watch;
mod reload;
mod run;
mod service;
mod service_status;
mod setups;
mod signals;
mod status_writer;
mod volume;
mod watchdog;

pub use build::{Purpose, build};
pub use build_error::BuildError;
#[cfg(feature = "replicas")]
pub use election::{Election, ReplicaState};
pub use observers::ObserverError;
pub use progress::Bar;
pub use reload::{ReadAgain, ReadConfig, Reloading};
pub use run::{Daemon, Ended, RunError};
pub use signals::{SignalReceivers, Stop, StopSignal, Surroundings, ignores_hangups, on_signals};
