//! What arrives: the new messages of an account, for commands that wait for them.
//!
//! [`ArrivalReader`] reads the state of the running relay. Without a relay one of the waiting commands polls the API,
//! within the budget of the state, into a state of its own below the state directory (`scratch`); the other commands
//! read that state. When a relay starts, they all change over to the relay's state, and no second program polls. A state
//! that several relays share is always read as it is, because one of them polls.
//!
//! Invariants:
//! - A message is new by its id and its place in the state, not by a clock (`baseline`). There is one exception:
//!   messages that the API had before the command began, and that nobody had read yet.
//! - Each message is returned once.
//! - No transaction is open while the caller has the messages.

mod baseline;
mod error;
mod reader;
mod scratch;

pub use baseline::{Baseline, Since};
pub use error::ArrivalError;
pub use reader::{ArrivalReader, ReaderOptions};
pub use scratch::{PollingOptions, remove_leftovers};
