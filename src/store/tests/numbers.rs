//! What it costs to keep the order of each number.

use rusqlite::StatementStatus;

use super::*;
use crate::store::numbers::FIRSTS;

/// A sink that keeps the order of 50 numbers, with so many messages waiting.
fn waiting(messages: i64) -> (tempfile::TempDir, Spool, SinkId) {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
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

/// Steps of SQLite's machine for one look at the first of each number.
fn steps(spool: &Spool, sink: SinkId) -> i32 {
    let mut statement = spool.connection.prepare(FIRSTS).unwrap();
    let found = statement.query_map([sink.0], |row| row.get::<_, i64>(1)).unwrap().count();
    assert_eq!(found, 50);
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn a_look_costs_as_much_as_there_are_numbers() {
    let (_few, few, sink) = waiting(1_000);
    let (_many, many, same) = waiting(100_000);
    let (few, many) = (steps(&few, sink), steps(&many, same));
    assert!(many <= few + few / 10, "{many} steps for 100,000 messages, {few} for 1,000");
    assert!(many < 50 * 100, "{many} steps for 50 numbers");
}
