//! The state of a relay on disk: which messages were read, which sink is owed which message, and when.
//!
//! - The files of this folder hold the values, the states of a delivery, the errors, and the contract ([`Backend`]),
//!   which says what each transaction does and promises.
//! - `sqlite/` and `postgres/` fulfil the contract, with SQLite and with PostgreSQL. All SQL statements on the state
//!   are in these folders.
//! - [`Store`] is the handle that tasks use. [`open`], [`open_for_command`] and [`open_snapshot`] open a state, which
//!   lies at a [`StateLocation`].
//!
//! Invariants:
//! - A change is on disk when its transaction returns. An interrupted transaction changes nothing.
//! - At most one relay works on a state: the relay that has the [`RoleLock`] or, if the state is in PostgreSQL, the
//!   [`Lease`]. This relay writes over one connection. Commands may write small transactions at the same time.
//! - No transaction is open during a request over the network.
//! - The store does not know how a sink sends messages. It knows the name of each sink, and which messages the sink
//!   wants. The store makes the deliveries of a message for all sinks in the transaction that releases the message.

mod account;
mod backend;
mod change_hints;
mod command_role;
mod copy_state;
mod copying;
mod coverage;
mod delivery;
mod delivery_state;
mod disk;
mod error;
mod expiry;
mod handle;
mod lease;
mod location;
mod message_selection;
mod numbers;
mod open;
mod operator;
mod permissions;
#[cfg(feature = "replicas")]
mod postgres;
#[cfg(not(feature = "replicas"))]
#[path = "without_postgres.rs"]
mod postgres;
mod readers;
mod recipient;
mod registration;
mod relay_time;
mod release_order;
mod replay;
mod retention;
mod role;
mod salvage;
mod settings;
mod sink_id;
mod snapshot;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod views;
mod wait_claims;

pub use account::{Account, AccountTransactions};
pub use backend::{Backend, Spool};
pub use change_hints::{ChangeHints, ChangeWatch};
pub use command_role::CommandRole;
pub use copy_state::{CopyEnd, copy_state};
pub use copying::{CopiedRecord, CopiedTable, CopiedValue, CopyTransactions, NextRecords};
pub use coverage::CoverageTransactions;
pub use delivery::{Claim, ClaimLimits, DeliveryTransactions, FirstClaims, HealthRecord, Settlement, WaitingCounts};
pub use delivery_state::DeliveryState;
pub use disk::{DiskMaintenance, DiskUsage, USUAL_JOURNAL_BYTES};
pub use error::Error;
pub use expiry::{ExpiredMessage, ExpiryPortion, ExpiryScan, ExpiryTransactions};
pub use handle::Store;
pub use lease::{
    LEASE, Lease, LeaseOffer, LeaseTransactions, LeaseView, ReplicaGroup, ReplicaView, RequestId, RequestTransactions,
};
pub use location::StateLocation;
pub use message_selection::MessageSelection;
pub use numbers::{DecidedUpTo, NumberDetails, NumberKey, NumberTransactions, UndecidedScope};
pub use open::{
    erase_delivered, is_running, join_replicas, open, open_for_command, open_reader, open_snapshot, request_records,
    size,
};
pub use operator::{
    DeadLetterAction, DeadLetterSelection, DropPermission, DropProgress, OperatorTransactions, Pause, ResolvedUpTo,
    ResumeCount, Resumed,
};
pub use postgres::Database;
pub use readers::{
    ReaderRegistration, RegisteredReader, acknowledge_reader, make_readers_directory, registered_readers,
};
pub use registration::{BackfillPortion, RegisteredSink, RegistrationTransactions, SinkSetup};
pub use relay_time::RelayTimeTransactions;
pub use replay::{PastDelivery, ReplayCount, ReplayPortion, ReplaySelection, ReplayTransactions, Replayable};
pub use retention::{ForgottenIds, ForgottenUpTo, RemovedMessages, RetentionCutoffs, RetentionTransactions};
pub use role::{LockFileState, RoleLock, is_locked};
pub use salvage::{SalvageReport, SalvagedDelivery, SalvagedMessage};
pub use settings::{Options, RetentionPeriod, Settings};
pub use sink_id::SinkId;
pub use snapshot::Snapshot;
pub use sqlite::{save, size as size_of_files};
pub use views::{Arrival, DeadLetter, DeadLetterReason, ListedUpTo, SinkView, Trace, TracedDelivery, ViewTransactions};
pub use wait_claims::claim_for_waiter;
