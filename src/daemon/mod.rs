//! From a valid configuration to a running relay, and back.
//!
//! Two phases: [`build`] takes the role lock and opens everything; [`Daemon::run`] runs. Stop order: ingest, then
//! delivery, which gives what is in flight a grace and settles it, then the store. The stop signal belongs to the
//! caller ([`Stop`]), so that a test stops a daemon as a signal does.

mod build;
mod drain;
pub mod logging;
mod permissions;
mod progress;
mod run;
pub mod sentences;
mod service;
mod signals;
mod status_writer;

pub use build::{BuildError, Purpose, build};
pub use progress::Bar;
pub use run::{Daemon, Ended, RunError};
pub use signals::{Stop, StopSignal, Surroundings, ignores_hangups, on_signals};
