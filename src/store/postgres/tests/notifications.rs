//! Tests of notifications: what gives a hint, and that hints come again after a connection broke.

use std::time::Duration;

use super::super::replica::Replica;
use super::super::waiting::{runtime, wait_for};
use super::*;
use crate::domain::PauseReason;
use crate::store::{ChangeHints, ChangeWatch, LeaseOffer, LeaseTransactions as _};

const LONG: Duration = Duration::from_secs(600);

/// Joins as a relay that gets hints.
fn join(database: &Database, name: &str) -> (Replica, ChangeWatch) {
    let hints = ChangeHints::default();
    (Replica::join(&database.notifying(&hints), name).unwrap(), hints.watch())
}

fn take(replica: &mut Replica) -> i64 {
    match replica.take(LONG).unwrap() {
        LeaseOffer::Granted { epoch, .. } => epoch,
        LeaseOffer::Held(view) => panic!("{view:?}"),
    }
}

fn wait_for_hint(watch: &mut ChangeWatch) {
    wait_for(runtime().unwrap(), Duration::from_secs(60), watch.changed()).expect("a hint");
}

#[test]
fn a_lease_that_is_given_back_gives_a_hint() {
    let Some(database) = scratch_database("a_lease_that_is_given_back") else { return };
    let (mut first, (_second, mut hints)) = (join(&database, "first").0, join(&database, "second"));
    let epoch = take(&mut first);
    first.hand_over(epoch).unwrap();
    wait_for_hint(&mut hints);
    take(&mut first);
    first.leave().unwrap();
    wait_for_hint(&mut hints);
}

#[test]
fn a_command_gives_a_hint_in_its_own_schema_only() {
    let name = "a_command_gives_a_hint";
    let (Some(database), Some(other)) = (scratch_database(name), scratch_database(name)) else { return };
    let (_relay, mut hints) = join(&database, "relay");
    let (_elsewhere, mut hints_elsewhere) = join(&other, "elsewhere");
    let mut command = PostgresBackend::open(&database).unwrap();
    register(&mut command, &["crm"]);
    wait_for_hint(&mut hints);
    command.pause(SinkId(1), PauseReason::Operator, UnixMs(1)).unwrap();
    wait_for_hint(&mut hints);
    // If the commands above gave a hint in the other schema, too, it would come within this time.
    let moment = Duration::from_millis(200);
    assert_eq!(wait_for(runtime().unwrap(), moment, hints_elsewhere.changed()), None);
}

#[test]
fn hints_come_again_after_the_connection_was_ended() {
    let Some(database) = scratch_database("hints_come_again") else { return };
    let (mut relay, mut hints) = join(&database, "relay");
    take(&mut relay);
    let session = |relay: &Replica| -> Result<Option<i32>, Error> {
        relay.state.read(|statements| statements.value("SELECT pg_backend_pid()", vec![]))
    };
    let first = session(&relay).unwrap().unwrap();
    run_outside(&database, &format!("SELECT pg_terminate_backend({first})"));
    // A relay uses this connection every second or two, to ask for its lease. When it finds the connection closed, it
    // connects again. In this test `session` uses the connection.
    while !session(&relay).is_ok_and(|session| session != Some(first)) {}
    let mut command = PostgresBackend::open(&database).unwrap();
    register(&mut command, &["crm"]);
    wait_for_hint(&mut hints);
}
