//! Tests of connections that break, and of commits whose answer was lost.

use super::*;

/// Makes the server end the connection of the opened state `spool`.
fn end_connection(database: &Database, spool: &PostgresBackend) {
    let session: Option<i64> =
        spool.read(|statements| statements.value("SELECT pg_backend_pid()::bigint", vec![])).unwrap();
    run_outside(database, &format!("SELECT pg_terminate_backend({})", session.unwrap()));
}

#[test]
fn a_state_whose_connection_broke_is_connected_again() {
    let Some(database) = scratch_database("a_state_whose_connection_broke") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm"]);
    end_connection(&database, &spool);
    // The first call fails if it still uses the broken connection. It succeeds if the client has already noticed that
    // the connection ended.
    let first = spool.sink_names();
    assert!(first.as_ref().map_or_else(Error::is_passing, |names| names == &["crm"]), "{first:?}");
    assert_eq!(spool.sink_names().unwrap(), ["crm"]);
    register(&mut spool, &["ops"]);
}

#[test]
fn a_connection_that_breaks_during_a_transaction_changes_nothing() {
    let Some(database) = scratch_database("a_connection_that_breaks") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let broken = spool.transaction(|statements| {
        statements.later("INSERT INTO meta VALUES ('start', 'now')", vec![]);
        let own: i64 = statements.value("SELECT pg_backend_pid()::bigint", vec![])?.unwrap();
        run_outside(&database, &format!("SELECT pg_terminate_backend({own})"));
        statements.exists("SELECT 1", vec![])
    });
    assert!(broken.unwrap_err().is_passing());
    assert_eq!(run(&mut spool, "INSERT INTO meta VALUES ('start', 'now')"), 1);
}

/// Runs a change in a transaction, which is rolled back if `fails` is true. Returns the transaction's id.
fn changed(spool: &mut PostgresBackend, fails: bool) -> String {
    let mut id = String::new();
    let done = spool.transaction(|statements| {
        id = statements.value("SELECT pg_current_xact_id()::text", vec![])?.unwrap();
        statements.later("INSERT INTO meta VALUES ('start', 'now') ON CONFLICT DO NOTHING", vec![]);
        if fails { Err(Failure::unreadable("no")) } else { Ok(()) }
    });
    assert_eq!(done.is_err(), fails);
    id
}

#[test]
fn the_database_says_whether_a_transaction_was_committed() {
    let Some(database) = scratch_database("the_database_says") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let (committed, aborted) = (changed(&mut spool, false), changed(&mut spool, true));
    // When this change is committed, the server has carried out the ROLLBACK that was sent before.
    run(&mut spool, "INSERT INTO meta VALUES ('start', 'now') ON CONFLICT DO NOTHING");
    spool.resolve(&committed, Failure::TooSlow).unwrap();
    assert!(spool.resolve(&aborted, Failure::TooSlow).unwrap_err().is_passing());
    register(&mut spool, &["crm"]);
}

#[test]
fn if_the_database_does_not_know_a_transaction_the_opened_state_refuses_changes() {
    let Some(database) = scratch_database("a_commit_of_which") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let refused = spool.resolve("999999999", Failure::TooSlow).unwrap_err();
    assert!(matches!(refused, Error::Uncertain) && !refused.is_passing());
    let setups = [SinkSetup::new("crm")];
    assert!(matches!(spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)), Err(Error::Uncertain)));
    register(&mut PostgresBackend::open(&database).unwrap(), &["crm"]);
}

#[test]
fn a_database_that_was_restored_to_an_earlier_moment_is_noticed() {
    let Some(database) = scratch_database("a_database_that_was_restored") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    register(&mut spool, &["crm"]);
    run(&mut spool, "INSERT INTO meta VALUES ('start', 'now')");
    run_outside(&database, &format!("UPDATE {}.writer SET commits = commits - 1", database.namespace()));
    let setups = [SinkSetup::new("web")];
    for _ in 0..2 {
        let refused = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap_err();
        assert!(matches!(refused, Error::WentBack) && refused.ends_term());
    }
    register(&mut PostgresBackend::open(&database).unwrap(), &["web"]);
}

#[test]
fn a_transaction_that_stands_still_is_ended_by_the_server() {
    let Some(database) = scratch_database("a_transaction_that_stands_still") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let mut other = PostgresBackend::open(&database).unwrap();
    let ended = spool.transaction(|statements| {
        statements.flush()?;
        // `other` waits for the lock until the server ends this transaction. Both limits are 5 s, so the wait of
        // `other` may end first. In that case it tries again.
        let waited = other.transaction(|statements| statements.exists("SELECT 1", vec![]));
        let waited = waited.or_else(|_| other.transaction(|statements| statements.exists("SELECT 1", vec![])));
        assert!(waited.unwrap());
        statements.exists("SELECT 1", vec![])
    });
    assert!(ended.unwrap_err().is_passing());
}
