//! Turns a valid configuration into a running relay, and ends the relay in good order.
//!
//! There are two phases: [`build`] takes the role lock and opens everything; [`Daemon::run`] runs the relay. A relay
//! that shares its state in PostgreSQL opens the state only when it is elected, in the second phase (`replica`). At the
//! stop, the parts end in this order: ingest, delivery, store. Delivery first gives the attempts in flight some time to
//! end, and settles them. The stop signal belongs to the caller ([`Stop`]), so that a test stops a daemon as a signal
//! does.

mod build;
mod build_error;
mod cut_off;
mod drain;
mod election;
mod ending;
pub mod log_sentences;
pub mod logging;
mod observers;
mod open;
mod permissions;
mod progress;
mod purpose;
mod queue_watch;
mod reader_watch;
mod relay_feed;
mod relay_process;
mod reload;
mod replica;
mod run;
mod service;
mod service_status;
mod signals;
mod sink_builder;
mod status_writer;
mod term;
mod volume;
mod watchdog;
mod work_permit;

pub use build::build;
pub use build_error::BuildError;
pub use ending::{Ended, RunError};
pub use observers::ObserverError;
pub use progress::Bar;
pub use purpose::Purpose;
pub use reload::{ReadAgain, ReadConfig, Reloading};
pub use run::Daemon;
pub use signals::{SignalReceivers, Stop, StopSignal, Surroundings, ignores_hangups, on_signals};
