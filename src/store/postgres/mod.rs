//! The backend that keeps the state in a schema of a PostgreSQL database, so that several relays can share the state.
//!
//! - `waiting` lets a thread wait for the asynchronous client.
//! - `database` names the database and the schema that keep a state, and connects to the database.
//! - `notifications` turns notifications of the server into hints.
//! - `statement` holds the parameters of statements, and reads the records that statements return.
//! - `connection` holds the opened state, and the ways to use it: transactions that read, that write, or that concern
//!   only the lease and the requests to the API.
//! - `schema` makes the tables, and brings tables of earlier versions to the present format.
//! - `replica` implements the transactions on the lease, and on the requests to the API.
//! - `transactions/` and `disk` implement the contract of a backend (`store/backend.rs`). For example,
//!   `transactions/replay.rs` implements the transactions that `store/replay.rs` declares.
//!
//! Invariants:
//! - Write transactions run one after the other, because each of them first locks the only record of the table
//!   `writer`. So each write transaction sees all earlier changes.
//! - A relay writes, and makes requests to the API, only while it has the lease. Each of its write transactions checks
//!   the lease, and no other relay gets the lease before that transaction has ended (`replica`).
//! - No statement depends on the session: each transaction sets what it needs, and no statement is prepared by name. So
//!   a connection may lead through PgBouncer in transaction mode. The exception is `LISTEN`: only a connection that has
//!   a session of its own uses it (`notifications`).
//! - Values are passed to the server as parameters. They are never written into the text of a statement.
//! - The records have no checksums, unlike the records in a SQLite file: a database server can check its disk itself
//!   (`initdb --data-checksums`).

mod connection;
mod database;
mod disk;
mod notifications;
mod replica;
mod schema;
mod statement;
#[cfg(test)]
pub(super) mod tests;
mod transactions;
mod waiting;

use super::backend::Spool;
use super::change_hints::ChangeHints;
use super::error::Error;
use super::lease::{LeaseTransactions, ReplicaGroup, RequestTransactions};
use connection::PostgresBackend;
use replica::Replica;

pub use database::Database;

impl super::Backend for PostgresBackend {}

/// Does the work of [`super::open::open_under_lease`].
pub(super) fn open_under_lease(database: &Database, epoch: i64) -> Result<(Box<Spool>, Box<Spool>), Error> {
    let writer = PostgresBackend::open(database)?.under_lease(epoch);
    let reader = writer.another();
    Ok((Box::new(writer), Box::new(reader)))
}

/// Opens an existing state, for reading or for the small transactions of a command; `None` if there is none.
pub(super) fn open_existing(database: &Database) -> Result<Option<Box<Spool>>, Error> {
    Ok(PostgresBackend::open_existing(database)?.map(|spool| -> Box<Spool> { Box::new(spool) }))
}

/// Opens an existing state for reading, and reads which relays share it; `None` if there is none.
pub(super) fn open_with_replicas(database: &Database) -> Result<Option<(Box<Spool>, ReplicaGroup)>, Error> {
    let Some(spool) = PostgresBackend::open_existing(database)? else { return Ok(None) };
    let replicas = replica::group(&spool)?;
    Ok(Some((Box::new(spool), replicas)))
}

/// Opens the state without a lease. A missing schema is made, and a schema of an earlier format is brought to the
/// present format.
pub(super) fn open_or_make(database: &Database) -> Result<Box<Spool>, Error> {
    Ok(Box::new(PostgresBackend::open(database)?))
}

/// Reads which relays share the state, whatever the format of the state is; `None` if there is no state.
pub(super) fn replicas(database: &Database) -> Result<Option<ReplicaGroup>, Error> {
    let state = PostgresBackend::on(database);
    if state.exists()? { replica::group(&state).map(Some) } else { Ok(None) }
}

/// Does the work of [`super::join_replicas`].
pub(super) fn join(
    database: &Database,
    name: &str,
    hints: Option<&ChangeHints>,
) -> Result<Box<dyn LeaseTransactions>, Error> {
    let database = hints.map_or_else(|| database.clone(), |hints| database.notifying(hints));
    Ok(Box::new(Replica::join(&database, name)?))
}

/// Does the work of [`super::request_records`].
pub(super) fn request_records(database: &Database) -> Box<dyn RequestTransactions> {
    Box::new(PostgresBackend::on(database))
}
