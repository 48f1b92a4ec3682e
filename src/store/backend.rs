//! The contract of a backend: which transactions a database has to offer to a relay, and what they promise.
//!
//! Two backends fulfil the contract: [`super::sqlite`], and `postgres` with the feature `replicas`. The tests in
//! `store/tests` run on every backend.

use std::fmt;

use super::account::AccountTransactions;
use super::copying::CopyTransactions;
use super::coverage::CoverageTransactions;
use super::delivery::DeliveryTransactions;
use super::disk::DiskMaintenance;
use super::expiry::ExpiryTransactions;
use super::numbers::NumberTransactions;
use super::operator::OperatorTransactions;
use super::registration::RegistrationTransactions;
use super::relay_time::RelayTimeTransactions;
use super::replay::ReplayTransactions;
use super::retention::RetentionTransactions;
use super::views::ViewTransactions;

/// An opened state: all transactions of a relay and of its commands, one trait for each group of them. Each trait is in
/// the same file as the values that it takes and returns.
///
/// Every method promises this, unless its own documentation says otherwise:
///
/// - **Atomic.** A method that takes `&mut self` changes the state in one transaction. If it returns an error, nothing
///   was changed.
/// - **Durable.** When a method has returned, its change survives a power cut.
/// - **Up to date.** A method that takes `&self` writes nothing. It sees every change that was made before it was
///   called, also by another connection or another process.
/// - **Not alone.** At most one relay works on a state ([`super::RoleLock`]), but commands in other processes read and
///   write the same state. So the state may change between a caller's read and its write. That is why a method that
///   writes checks the state again in its own transaction.
/// - **Short.** No transaction is open when a method returns, and none is open during a request over the network. A
///   method with much work does one portion of it, and returns where the next portion begins.
/// - **Without a clock.** A backend reads no clock. It stores the instants that it is given, in milliseconds.
/// - **Blocking.** A method blocks its thread until it is done, also if the client of the database is asynchronous. So
///   [`super::Store`] calls it on threads that may block.
///
/// A backend for a database server promises one thing more: a relay that has lost its role cannot change the state,
/// even if it has not noticed the loss. The transaction of each change checks the role, and fails if the relay has lost
/// it.
///
/// # Errors
/// A state in a SQLite file:
/// - [`Error::Damaged`](super::Error::Damaged): the state holds something that no relay can have written.
/// - [`Error::Locked`](super::Error::Locked): another program holds a lock for too long.
/// - [`Error::Database`](super::Error::Database): every failure that may pass, such as a full disk.
///
/// A state in PostgreSQL:
/// - [`Error::DamagedSchema`](super::Error::DamagedSchema): the state holds something that no relay can have written.
/// - [`Error::Unreachable`](super::Error::Unreachable), [`Error::Database`](super::Error::Database): failures that may
///   pass.
/// - [`Error::RoleLost`](super::Error::RoleLost), [`Error::Uncertain`](super::Error::Uncertain),
///   [`Error::WentBack`](super::Error::WentBack): the term of the relay has ended.
pub trait Backend:
    AccountTransactions
    + CopyTransactions
    + CoverageTransactions
    + DeliveryTransactions
    + DiskMaintenance
    + ExpiryTransactions
    + NumberTransactions
    + OperatorTransactions
    + RegistrationTransactions
    + RelayTimeTransactions
    + ReplayTransactions
    + RetentionTransactions
    + ViewTransactions
    + fmt::Debug
    + Send
{
}

/// An opened state, whichever backend keeps it.
pub type Spool = dyn Backend;
