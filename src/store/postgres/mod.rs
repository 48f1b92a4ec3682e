//! The backend that keeps the state in a schema of a PostgreSQL database, so that several relays can share the state.
//!
//! - `waiting` lets a thread wait for the asynchronous client. `database` says which schema of which database is meant,
//!   and connects. `statement` holds the parameters of statements, and reads their rows.
//! - `connection` holds the opened state, and the two ways to use it: reading, and one write transaction.
//! - `schema` makes the tables, and brings those of earlier versions to the present format.
//! - `transactions/` implements the contract. For each file of `store/` that declares transactions, it has a file of
//!   the same name.
//!
//! Invariants:
//! - A state changes by one transaction at a time: each write transaction first locks the only record of the table
//!   `writer`. So each write transaction sees everything that the ones before it wrote.
//! - A relay writes, and makes requests to the API, only while it has the lease: each of its transactions checks the
//!   lease, and no other relay takes the lease before that transaction has ended (`replica`).
//! - No statement depends on the session: each transaction sets what it needs, and no statement is prepared by name. So
//!   a connection may lead through PgBouncer in transaction mode.
//! - Values are parameters and never parts of statements.
//! - There are no checksums as in a SQLite file. A server guards its disk itself (`initdb --data-checksums`).

mod connection;
mod database;
mod disk;
mod replica;
mod schema;
mod statement;
#[cfg(test)]
pub(super) mod tests;
mod transactions;
mod waiting;

pub(super) use connection::PostgresBackend;
pub use database::Database;
pub use replica::Replica;

impl super::Backend for PostgresBackend {}
