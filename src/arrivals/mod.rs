//! Reading arrivals: the new messages of an account, for commands that wait for new messages.
//!
//! [`ArrivalReader`] reads the state of the running relay. Without a relay one of the waiting commands polls the API,
//! within the budget of the state. It stores the messages in a state of its own below the state directory (`scratch`),
//! and the other commands read that state. When a relay starts, all waiting commands change over to the relay's state,
//! and only the relay polls. If several relays share a state, the commands always read the shared state, because one of
//! these relays polls.
//!
//! Invariants:
//! - Whether a message is new depends on its id and on its place in the state, not on a clock (`baseline`). There is
//!   one exception: for messages that were not read yet when the command began, times decide.
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
