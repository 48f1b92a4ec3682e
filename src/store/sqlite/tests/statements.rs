//! Tests of the cost of statements, and of the words that the schema allows.

use super::*;

fn opened() -> (tempfile::TempDir, SqliteBackend) {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    register(&mut spool, &["crm"]);
    (dir, spool)
}

#[test]
fn a_row_that_is_released_at_once_is_written_once() {
    let (_dir, mut spool) = opened();
    spool
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER again BEFORE UPDATE ON main.message BEGIN SELECT RAISE(ABORT, 'again'); END",
        )
        .unwrap();
    let news = |seq| insert(seq, "hello", RowStanding::News, None);
    spool.commit(&[news(2), news(1), release(&[2, 1])], UnixMs(0)).unwrap();
    let ordered = "SELECT group_concat(seq, ' ' ORDER BY release_no) FROM delivery";
    let order: String = spool.connection.query_row(ordered, [], |row| row.get(0)).unwrap();
    assert_eq!(order, "1 2");
}

#[test]
fn no_change_of_a_record_fills_a_temporary_table() {
    let (_dir, spool) = opened();
    for change in [
        "INSERT INTO message (seq, id, time, standing, stored_at) VALUES (1, 'a', 1, 'news', 1)",
        "INSERT INTO delivery (seq, sink, class, release_no, state) VALUES (1, 1, 0, 1, 'fresh')",
        "UPDATE delivery SET state = 'delivered' WHERE seq = 1 AND sink = 1",
        "UPDATE sink SET paused = 'gone', ordered = 1 WHERE id = 1",
        "INSERT OR REPLACE INTO walk VALUES (1, 'gap', 1, 0, '', '[]', 1, 1, 1, 1, 0, 0, 0, NULL, NULL)",
    ] {
        let mut steps = spool.connection.prepare(&format!("EXPLAIN {change}")).unwrap();
        let steps: Vec<String> = steps.query_map([], |row| row.get("opcode")).unwrap().map(Result::unwrap).collect();
        assert!(steps.contains(&"MakeRecord".to_owned()), "{change}");
        assert!(!steps.contains(&"OpenEphemeral".to_owned()), "{change}");
    }
}

#[test]
fn the_schema_allows_the_states_of_a_delivery_and_no_others() {
    let (_dir, spool) = opened();
    let put = |seq: i64, word: &str| {
        let insert = "INSERT INTO delivery (seq, sink, class, release_no, state) VALUES (?1, 1, 0, 1, ?2)";
        spool.connection.execute(insert, rusqlite::params![seq, word])
    };
    for (seq, state) in (1_i64..).zip(DeliveryState::ALL) {
        put(seq, state.as_str()).unwrap();
        let read = "SELECT state FROM delivery WHERE seq = ?1";
        assert_eq!(spool.connection.query_row(read, [seq], |row| row.get::<_, DeliveryState>(0)).unwrap(), state);
    }
    put(100, "lost").unwrap_err();
}
