//! Tests of the properties that only the backend for PostgreSQL has.

#[path = "../../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the whole program")]
mod server;

mod breaks;
mod held_transaction;
mod leases;
mod notifications;
mod opening;
mod plans;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use server::PostgresServer;

use super::connection::{PostgresBackend, Statements};
use super::database::Database;
use super::statement::{Failure, Param, get, params};
use crate::domain::{Cursor, DeliveryClass, PollChange, RowStanding, Seq, UnixMs, Walk};
use crate::secret::Secret;
use crate::store::tests::{ALL, DELIVERED, gap, insert, marks, register, release, retry, settled};
use crate::store::{
    CoverageTransactions as _, DeliveryTransactions as _, DiskMaintenance as _, Error, OperatorTransactions as _,
    RegistrationTransactions as _, SinkId, SinkSetup, Spool, StateLocation, ViewTransactions as _, is_running,
};

/// Returns a schema that no other test uses, on the server that all tests of this process share. If no server is
/// installed, reports that `test` is skipped, and returns `None`.
pub(in crate::store) fn scratch_database(test: &str) -> Option<Database> {
    let Some(server) = PostgresServer::of_this_process() else {
        skipped(test);
        return None;
    };
    Some(database(&server.url(), &server.new_namespace()))
}

fn skipped(test: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no PostgreSQL server is installed");
    // The harness would hide the output of the print macros in a test that passes.
    drop(writeln!(std::io::stderr(), "\nSKIPPED {test}: no PostgreSQL server is installed"));
}

fn database(url: &str, namespace: &str) -> Database {
    Database::new(&Secret::from(url), namespace).unwrap()
}

/// Opens the state in a schema without a lease. The first call makes the state.
pub(in crate::store) fn open(database: &Database) -> Box<Spool> {
    Box::new(PostgresBackend::open(database).unwrap())
}

/// Runs a query on the state in a schema. The query must return one number, and this number is returned.
pub(in crate::store) fn number(database: &Database, query: &str) -> i64 {
    let state = PostgresBackend::on(database);
    state.read(|statements| statements.value(query, vec![])).unwrap().unwrap()
}

/// Makes a change in a write transaction of the state in a schema.
pub(in crate::store) fn change(database: &Database, change: &str) {
    run(&mut PostgresBackend::on(database), change);
}

/// Runs a change in a write transaction of the state. Returns how many records were changed.
fn run(spool: &mut PostgresBackend, sql: &str) -> usize {
    spool.transaction(|statements| statements.change(sql, vec![])).unwrap()
}

/// Runs statements on a connection of their own, outside of a transaction of the state.
fn run_outside(database: &Database, sql: &str) {
    run_in(&PostgresBackend::on(database), sql);
}

/// Runs statements on the connection of a state, outside of a transaction of the state.
fn run_in(own: &PostgresBackend, sql: &str) {
    let run = |statements: &Statements<'_>| sql.split(';').try_for_each(|sql| statements.command(sql));
    own.with_client(|client, runtime| run(&Statements::new(client, runtime, &own.round_trips))).unwrap();
}

/// Closes a state, and waits until the server has ended the state's connection. From then on the server's statistics
/// include what this connection has read.
fn close(database: &Database, spool: PostgresBackend) {
    let connection: Option<i64> =
        spool.read(|statements| statements.value("SELECT pg_backend_pid()::bigint", vec![])).unwrap();
    drop(spool);
    let is_open = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", connection.unwrap());
    let is_closed = |_| {
        let closed = number(database, &is_open) == 0;
        if !closed {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        closed
    };
    assert!((0..6_000).any(is_closed), "the connection is still open");
}
