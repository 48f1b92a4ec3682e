//! The spool: every SQL statement of the project, one function a transaction.
//!
//! Invariants:
//! - What a function wrote is on the disk when it returns; what it did not finish never happened.
//! - There is one relay on a state ([`RoleLock`]), and one writer in it. Commands may write small transactions beside it.
//! - No transaction is open during a network call: a function does its work and returns.
//! - The store knows sinks by name only, and makes their delivery rows in the transaction that releases a message.

mod account;
mod ageing;
mod checksum;
mod commit_counter;
mod coverage;
mod delivery;
mod erasure;
mod error;
mod handle;
mod instants;
mod integrity;
mod migration;
mod number_details;
mod numbers;
mod operator;
mod options;
mod permissions;
mod registration;
mod release;
mod rename;
mod replay;
mod retention;
mod role;
mod salvage;
mod schema;
mod sink_id;
mod snapshot;
mod space;
mod spool;
mod state_files;
#[cfg(test)]
mod tests;
mod trace;

pub use account::Account;
pub use ageing::{Expired, Sweep, TooOld};
pub use delivery::{Chunk, Claim, HealthRecord, Settlement, Waiting};
pub use error::Error;
pub use handle::Store;
pub use number_details::{NumberDetails, NumberKey, Undecided, WhichUndecided};
pub use numbers::Firsts;
pub use operator::{DeadLetterVerdict, DeadPlace, Pause, Resumed, Resumes, Selection};
pub use options::{Keep, Options};
pub use registration::{Filled, Registered, SinkSetup};
pub use release::Wants;
pub use rename::{Dropping, MayDrop};
pub use replay::{Before, Choice, Portion, Replayable, Replays};
pub use retention::{Cutoffs, Dropped, Forgotten, Place};
pub use role::{Role, RoleLock, is_running};
pub use salvage::{Salvage, Saved, SavedDelivery, save};
pub use sink_id::SinkId;
pub use snapshot::{DeadLetter, LetterPlace, Look, SinkView, size};
pub use space::{JOURNAL_COUNTS, Space};
pub use spool::Spool;
pub use trace::{Fate, Trace};
