//! Tests of the lease: at most one relay has it, and a relay that lost it changes nothing.

use std::time::Duration;

use super::super::replica::{Replica, group};
use super::*;
use crate::store::{LeaseOffer, LeaseTransactions as _, ReplicaGroup, RequestTransactions as _, Store};

/// A lease of this length does not end by itself during a test.
const LONG: Duration = Duration::from_secs(600);

/// Lets the lease end now.
fn end_lease(database: &Database) {
    run_outside(database, &format!("UPDATE {}.lease SET expires = clock_timestamp()", database.namespace()));
}

fn join(database: &Database, name: &str) -> Replica {
    Replica::join(database, name).unwrap()
}

fn granted(offer: LeaseOffer) -> i64 {
    match offer {
        LeaseOffer::Granted { epoch, .. } => epoch,
        LeaseOffer::Held(view) => panic!("{view:?}"),
    }
}

fn opened(database: &Database, epoch: i64) -> PostgresBackend {
    PostgresBackend::open(database).unwrap().under_lease(epoch)
}

fn page(seq: i64) -> [PollChange; 2] {
    [insert(seq, "hello", RowStanding::News, None), release(&[seq])]
}

#[test]
fn of_many_relays_one_gets_the_lease() {
    let Some(database) = scratch_database("of_many_relays") else { return };
    let names: Vec<String> = (0..8).map(|number| format!("relay {number}")).collect();
    let offers: Vec<LeaseOffer> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            names.iter().map(|name| scope.spawn(|| join(&database, name).take(LONG).unwrap())).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let granted: Vec<_> = offers.iter().filter(|offer| matches!(offer, LeaseOffer::Granted { epoch: 1, .. })).collect();
    assert_eq!(granted.len(), 1, "{offers:?}");
    let anybody = join(&database, "anybody");
    let ReplicaGroup { lease: view, replicas } = group(&anybody.state).unwrap();
    assert!(names.contains(view.holder.as_ref().unwrap()) && view.epoch == 1 && view.left > LONG / 2, "{view:?}");
    let there: Vec<String> = replicas.into_iter().map(|replica| replica.name).collect();
    assert_eq!(there, names);
}

#[test]
fn a_relay_that_lost_its_lease_to_another_one_changes_nothing_and_makes_no_request() {
    let Some(database) = scratch_database("a_relay_that_another_one_followed") else { return };
    let (mut first, mut second) = (join(&database, "first"), join(&database, "second"));
    let epoch = granted(first.take(LONG).unwrap());
    let mut spool = opened(&database, epoch);
    register(&mut spool, &["crm"]);
    spool.commit(&page(1), UnixMs(1)).unwrap();
    first.state.record_request(epoch).unwrap();
    end_lease(&database);
    let later = granted(second.take(LONG).unwrap());
    assert!(later > epoch);
    assert!(matches!(spool.commit(&page(2), UnixMs(2)), Err(Error::RoleLost)));
    assert!(matches!(spool.settle(&[settled(SinkId(1), 1, DELIVERED)], UnixMs(2)), Err(Error::RoleLost)));
    assert!(matches!(spool.pause(SinkId(1), crate::domain::PauseReason::Gone, UnixMs(2)), Err(Error::RoleLost)));
    assert!(matches!(first.state.record_request(epoch), Err(Error::RoleLost)));
    assert!(!first.renew(epoch, LONG).unwrap());
    first.hand_over(epoch).unwrap();
    assert_eq!(
        group(&second.state).unwrap().lease.holder.as_deref(),
        Some("second"),
        "the first relay cannot give back the lease of the second"
    );
    let mut next = opened(&database, later);
    assert_eq!(next.known(&["m1", "m2"]).unwrap(), [Some(Seq(1)), None]);
    assert_eq!(next.waiting(SinkId(1)).unwrap().fresh, 1);
    next.commit(&page(2), UnixMs(3)).unwrap();
    assert_eq!(
        second.state.recent_requests().unwrap().len(),
        1,
        "the second relay sees the request that the first one made"
    );
}

#[test]
fn a_relay_whose_lease_has_ended_changes_nothing_even_if_no_other_took_it() {
    let Some(database) = scratch_database("a_lease_that_has_ended") else { return };
    let mut relay = join(&database, "relay");
    let epoch = granted(relay.take(LONG).unwrap());
    let mut spool = opened(&database, epoch);
    end_lease(&database);
    assert!(matches!(spool.commit(&page(1), UnixMs(1)), Err(Error::RoleLost)));
    assert!(!relay.renew(epoch, LONG).unwrap(), "a lease that has ended cannot be renewed");
    let again = granted(relay.take(LONG).unwrap());
    assert!(again > epoch);
    assert!(matches!(spool.commit(&page(1), UnixMs(1)), Err(Error::RoleLost)));
    opened(&database, again).commit(&page(1), UnixMs(1)).unwrap();
}

#[test]
fn a_lease_is_renewed_and_handed_over() {
    let Some(database) = scratch_database("a_lease_is_renewed") else { return };
    let (mut first, mut second) = (join(&database, "first"), join(&database, "second"));
    let epoch = granted(first.take(Duration::from_secs(5)).unwrap());
    assert!(first.renew(epoch, LONG).unwrap());
    assert!(matches!(second.take(LONG).unwrap(), LeaseOffer::Held(view) if view.left > LONG / 2));
    first.hand_over(epoch).unwrap();
    first.leave().unwrap();
    assert_eq!(group(&second.state).unwrap().lease.holder, None);
    assert_eq!(granted(second.take(LONG).unwrap()), epoch + 1);
    let there: Vec<String> = group(&second.state).unwrap().replicas.into_iter().map(|replica| replica.name).collect();
    assert_eq!(there, ["second"]);
    second.leave().unwrap();
    assert_eq!(granted(first.take(LONG).unwrap()), epoch + 2, "a relay that leaves gives its lease back");
}

#[test]
fn nobody_takes_the_lease_during_the_last_transaction_of_its_holder() {
    let Some(database) = scratch_database("nobody_takes_the_lease") else { return };
    let (mut first, mut second) = (join(&database, "first"), join(&database, "second"));
    let epoch = granted(first.take(LONG).unwrap());
    let mut spool = opened(&database, epoch);
    std::thread::scope(|scope| {
        let taking = spool.transaction(|statements| {
            statements.flush()?;
            // The lease ends while its holder is in the middle of a transaction.
            end_lease(&database);
            let taking = scope.spawn(|| second.take(LONG).unwrap());
            while !is_anybody_waiting(&first) {}
            statements.later("INSERT INTO meta VALUES ('start', 'now')", vec![]);
            assert!(!taking.is_finished());
            Ok(taking)
        });
        assert_eq!(granted(taking.unwrap().join().unwrap()), epoch + 1);
    });
    assert!(matches!(spool.commit(&page(1), UnixMs(1)), Err(Error::RoleLost)));
}

/// Returns whether a transaction waits for the lock on the lease.
fn is_anybody_waiting(replica: &Replica) -> bool {
    let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM lease%'";
    replica.state.read(|statements| statements.exists(waits, vec![])).unwrap()
}

#[test]
fn renewals_and_requests_do_not_wait_for_a_write_transaction() {
    let Some(database) = scratch_database("renewing_does_not_wait") else { return };
    let mut relay = join(&database, "relay");
    let epoch = granted(relay.take(LONG).unwrap());
    let mut spool = opened(&database, epoch);
    spool
        .transaction(|statements| {
            statements.flush()?;
            assert!(relay.renew(epoch, LONG).unwrap());
            relay.state.record_request(epoch).map(drop).map_err(|error| Failure::unreadable(error.to_string()))
        })
        .unwrap();
}

#[test]
fn requests_are_remembered_with_their_age() {
    let Some(database) = scratch_database("requests_are_remembered") else { return };
    let mut relay = join(&database, "relay");
    let epoch = granted(relay.take(LONG).unwrap());
    let answered = relay.state.record_request(epoch).unwrap();
    relay.state.record_request(epoch).unwrap();
    relay.state.record_answer(answered).unwrap();
    let requests = join(&database, "next").state.recent_requests().unwrap();
    assert!(matches!(requests[..], [Some(age), None] if age < Duration::from_secs(60)), "{requests:?}");
    run_outside(
        &database,
        &format!("UPDATE {}.request SET sent = sent - INTERVAL '1 hour', answered = NULL", database.namespace()),
    );
    assert_eq!(relay.state.recent_requests().unwrap(), []);
    relay.state.record_request(epoch).unwrap();
    assert_eq!(relay.state.recent_requests().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handle_for_tasks_refuses_changes_without_the_lease() {
    let Some(database) = scratch_database("the_handle_for_tasks") else { return };
    let mut relay = join(&database, "relay");
    let epoch = granted(relay.take(LONG).unwrap());
    let store = Store::open_under_lease(&database, epoch).unwrap();
    store.write(|spool| spool.commit(&page(1), UnixMs(1))).await.unwrap();
    assert_eq!(store.read(|spool| spool.known(&["m1"])).await.unwrap(), [Some(Seq(1))]);
    relay.hand_over(epoch).unwrap();
    assert!(matches!(store.write(|spool| spool.commit(&page(2), UnixMs(1))).await, Err(Error::RoleLost)));
}
