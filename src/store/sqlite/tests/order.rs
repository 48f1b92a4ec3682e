//! Tests of sinks that keep the order of each number: what a claim costs, and in which queue a replayed message waits.

use rusqlite::StatementStatus;

use super::*;
use crate::store::sqlite::transactions::FIRSTS;

/// Makes a sink that keeps the order of 50 numbers, and for which this many messages wait.
fn waiting(messages: i64) -> (tempfile::TempDir, SqliteBackend, SinkId) {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let setup = SinkSetup { ordered: true, ..SinkSetup::new("crm") };
    let sink = spool.register_sinks(&[setup], UnixMs::MAX, UnixMs(0)).unwrap()[0].id;
    let rows = format!(
        "INSERT INTO delivery (seq, sink, class, release_no, state, number)
         WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {messages})
         SELECT seq, {sink}, 0, seq, 'fresh', seq % 50 FROM n",
        sink = sink.0
    );
    spool.connection.execute_batch(&rows).unwrap();
    (dir, spool, sink)
}

/// Counts the steps that SQLite's virtual machine takes to find the first message of each number.
fn steps(spool: &SqliteBackend, sink: SinkId) -> i32 {
    let mut statement = spool.connection.prepare(FIRSTS).unwrap();
    let found = statement.query_map([sink.0], |row| row.get::<_, i64>(1)).unwrap().count();
    assert_eq!(found, 50);
    statement.get_status(StatementStatus::VmStep)
}

/// Claims and delivers everything that waits. Returns the queue and the message of each claim, in the order of claims.
fn claimed(spool: &mut SqliteBackend, sink: SinkId) -> Vec<(i64, i64)> {
    let all = ClaimLimits { rows: 1_000, bytes: usize::MAX, details: false };
    let mut claimed = Vec::new();
    loop {
        let firsts = spool.claim_first_of_each_number(sink, UnixMs::MAX, all, &|_, _| false).unwrap();
        if firsts.claims.is_empty() {
            return claimed;
        }
        for claim in firsts.claims {
            claimed.push((claim.number.unwrap(), claim.seq.0));
            let settled = Settlement {
                sink,
                seq: claim.seq,
                attempts: 1,
                first_attempt: UnixMs(1),
                outcome: Outcome::Delivered { status: None },
                health: None,
            };
            spool.settle(&[settled], UnixMs(1)).unwrap();
        }
    }
}

/// Tries every way in which an operator can have a message sent again. Also replays messages while the sink has no
/// `order = "number"`.
#[test]
fn replayed_messages_wait_in_the_second_queue_of_their_number() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let setup = |ordered| [SinkSetup { ordered, ..SinkSetup::new("crm") }];
    let sink = spool.register_sinks(&setup(true), UnixMs::MAX, UnixMs(0)).unwrap()[0].id;
    // All messages belong to one number, `n1`.
    let release_all = |spool: &mut SqliteBackend, seqs: &[i64]| {
        for &seq in seqs {
            spool.commit(&[insert(seq, "text", RowStanding::News, None), release(&[seq])], UnixMs(1)).unwrap();
        }
    };
    let replay = |spool: &mut SqliteBackend, seqs: &[i64], before| {
        let found: Vec<_> =
            seqs.iter().map(|&seq| Replayable { seq: Seq(seq), sink, received: UnixMs(0), before }).collect();
        assert_eq!(spool.replay(&found).unwrap(), seqs.len());
    };
    release_all(&mut spool, &[1, 8, 15]);
    let key = claimed(&mut spool, sink)[0].0;
    assert!(key > 0);
    replay(&mut spool, &[15, 1, 8], PastDelivery::Delivered);
    release_all(&mut spool, &[22, 29]);
    let queues = |spool: &mut SqliteBackend| {
        let claimed = claimed(spool, sink);
        let of = |number| claimed.iter().filter(|claim| claim.0 == number).map(|claim| claim.1).collect::<Vec<_>>();
        let queues = (of(key), of(-1 - key));
        assert_eq!(queues.0.len() + queues.1.len(), claimed.len(), "{claimed:?}");
        queues
    };
    assert_eq!(queues(&mut spool), (vec![22, 29], vec![1, 8, 15]));
    // Three kinds of messages are sent again: message 1 was replayed before, message 22 is a dead letter, and of
    // message 8 the sink has no delivery.
    replay(&mut spool, &[1], PastDelivery::Delivered);
    spool.connection.execute("UPDATE delivery SET state = 'dead', settled_at = 0 WHERE seq = 22", []).unwrap();
    let all = DeadLetterSelection::default();
    assert_eq!(
        spool.resolve_dead_letters(&all, DeadLetterAction::Retry, ResolvedUpTo::default(), UnixMs(9)).unwrap().0,
        1
    );
    spool.connection.execute("DELETE FROM delivery WHERE seq = 8", []).unwrap();
    replay(&mut spool, &[8], PastDelivery::Never);
    spool.decide(None, UndecidedScope::All).unwrap();
    release_all(&mut spool, &[36]);
    assert_eq!(queues(&mut spool), (vec![36], vec![1, 8, 22]));
    // Messages are replayed while the sink keeps no order.
    spool.connection.execute("UPDATE delivery SET number = NULL", []).unwrap();
    spool.register_sinks(&setup(false), UnixMs::MAX, UnixMs(0)).unwrap();
    spool.connection.execute("UPDATE delivery SET replays = 0", []).unwrap();
    replay(&mut spool, &[1, 8], PastDelivery::Delivered);
    release_all(&mut spool, &[43]);
    assert!(spool.register_sinks(&setup(true), UnixMs::MAX, UnixMs(0)).unwrap()[0].needs_number_queues);
    assert_eq!(spool.assign_number_queues(sink, Seq(0), 100).unwrap(), Some(Seq(43)));
    assert_eq!(spool.assign_number_queues(sink, Seq(43), 100).unwrap(), None);
    assert_eq!(queues(&mut spool), (vec![43], vec![1, 8]));
}

#[test]
fn the_cost_of_a_search_depends_on_the_numbers_and_not_on_the_messages() {
    let (_few, few, sink) = waiting(1_000);
    let (_many, many, same) = waiting(100_000);
    let (few, many) = (steps(&few, sink), steps(&many, same));
    assert!(many <= few + few / 10, "{many} steps for 100,000 messages, {few} for 1,000");
    assert!(many < 50 * 100, "{many} steps for 50 numbers");
}
