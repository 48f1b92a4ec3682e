//! What arrives: the new messages of an account, for the readers (`wait` and `tail`).
//!
//! [`ArrivalReader`] reads the state of the running relay. Without a relay one of the readers polls the API, within the
//! budget of the state. It stores the messages in the scratch state (`scratch`), and the other readers read that state.
//! When a relay starts, all readers change over to the relay's state, and only the relay polls. If several relays share
//! a state, the readers always read the shared state, because one of these relays polls.
//!
//! Invariants:
//! - Whether a message is new depends on its id and its sequence number, not on a clock (`baseline`). There is one
//!   exception: times decide about messages that were in the feed when the command began, but that no relay had read
//!   yet.
//! - Each message is returned once.
//! - No transaction is open while the caller has the messages.

mod baseline;
mod error;
mod reader;
mod scratch;

pub use baseline::{Baseline, Since};
pub use error::ArrivalError;
pub use reader::{ArrivalReader, ReaderOptions, StateTrouble};
pub use scratch::{PollingOptions, remove_leftovers};
