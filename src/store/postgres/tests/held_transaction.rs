//! Tests of claims while somebody holds a transaction open. The server keeps every old version of a record that this
//! transaction may still see.

use super::*;
use crate::store::ClaimLimits;

/// How many messages come while the transaction is open.
const MESSAGES: i64 = 200;

/// Begins a transaction that is open until the connection of the returned state is closed.
fn hold(database: &Database) -> PostgresBackend {
    let other = PostgresBackend::on(database);
    run_in(&other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    other
}

#[test]
fn the_search_for_live_messages_does_not_grow_while_a_transaction_is_open() {
    let Some(database) = scratch_database("held") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let sinks = register(&mut spool, &["crm", "ops"]);
    let _held = hold(&database);
    let few = ClaimLimits { rows: 8, ..ALL };
    for seq in 1..=MESSAGES {
        let page = [insert(seq, "hello", RowStanding::News, None), release(&[seq]), PollChange::Advance(marks(seq))];
        spool.commit(&page, UnixMs(seq)).unwrap();
        for &sink in &sinks {
            let claims = spool.claim_fresh(sink, DeliveryClass::Live, few, &|_| false).unwrap();
            assert_eq!(claims.iter().map(|claim| claim.seq).collect::<Vec<_>>(), [Seq(seq)]);
            spool.settle(&[settled(sink, seq, DELIVERED)], UnixMs(seq)).unwrap();
            assert!(spool.claim_fresh(sink, DeliveryClass::Live, few, &|_| false).unwrap().is_empty());
        }
    }
    close(&database, spool);
    let read = format!(
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = '{}' AND indexrelname = 'delivery_fresh'",
        database.namespace()
    );
    // There are two searches for each message and sink, and each should read about two entries: those of the message
    // and of the message before it. So six for each message and sink are plenty.
    let read = number(&database, &read);
    assert!(read <= MESSAGES * 2 * 6, "{read} entries of the index were read for {MESSAGES} messages and two sinks");
}

#[test]
fn a_delivery_that_may_wait_again_is_found_again() {
    let Some(database) = scratch_database("found again") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let sink = register(&mut spool, &["crm"])[0];
    let all: Vec<i64> = (1..=4).collect();
    let mut page: Vec<PollChange> = all.iter().map(|&seq| insert(seq, "hello", RowStanding::News, None)).collect();
    page.extend([release(&all), PollChange::Advance(marks(4))]);
    spool.commit(&page, UnixMs(4)).unwrap();
    let live = |spool: &PostgresBackend| {
        let claims = spool.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap();
        claims.iter().map(|claim| claim.seq.0).collect::<Vec<_>>()
    };
    // Messages 1 and 2 are claimed already, so this search leaves them out.
    let later = spool.claim_fresh(sink, DeliveryClass::Live, ALL, &|seq| seq.0 < 3).unwrap();
    assert_eq!(later.len(), 2);
    assert_eq!(live(&spool), [1, 2, 3, 4], "without a settlement messages 1 and 2 still wait");
    // A failed delivery becomes undecided if the sink needs details of the message's number, and then fresh.
    spool.settle(&[settled(sink, 1, DELIVERED), settled(sink, 2, retry(9))], UnixMs(5)).unwrap();
    assert_eq!(live(&spool), [3, 4]);
    run(&mut spool, "UPDATE delivery SET state = 'undecided' WHERE seq = 2");
    assert_eq!(live(&spool), [3, 4]);
    run(&mut spool, "UPDATE delivery SET state = 'fresh' WHERE seq = 2");
    assert_eq!(live(&spool), [2, 3, 4]);
    spool.settle(&[settled(sink, 2, DELIVERED)], UnixMs(6)).unwrap();
    assert_eq!(live(&spool), [3, 4]);
    assert_eq!(*spool.live_over.borrow(), [(sink, 2)].into());
}
