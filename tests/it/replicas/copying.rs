//! `state copy`: a state moves from a directory into a database and back.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::group::Group;
use super::tell;

/// The tables of a state file, without what belongs to the file itself.
const TABLES: [&str; 8] = [
    "SELECT * FROM number",
    "SELECT seq, id, time, ingested, standing, held_by, release_no, stored_at, raw, number, sum, event FROM message",
    "SELECT * FROM sink",
    "SELECT * FROM delivery",
    "SELECT id, kind, sweep_floor, streaming, cursor, trail, floor, opened_seq, opened_at, lowest, failures,
            empty_answers, restarts, since FROM walk",
    "SELECT frontier, watermark, anchor, start_instant, next_seq, next_walk FROM coverage",
    "SELECT * FROM counter WHERE name <> 'commits'",
    "SELECT * FROM meta",
];

/// Returns everything that a state file holds.
fn content(dir: &Path) -> Vec<Vec<Vec<Value>>> {
    let file = Connection::open(dir.join("state.db")).unwrap();
    let all = |sql: &str| {
        let mut statement = file.prepare(&format!("{sql} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
        rows.unwrap().collect::<Result<Vec<Vec<Value>>, _>>().unwrap()
    };
    TABLES.iter().map(|sql| all(sql)).collect()
}

#[test]
fn a_state_is_copied_whole_into_a_database_and_back() {
    let Some(mut group) = Group::new() else { return };
    let messages: i64 = std::env::var("JOLTSMS_RELAY_COPIED_MESSAGES").map_or(60, |count| count.parse().unwrap());
    let waiting = usize::try_from(messages / 10).unwrap();
    group.scene.add_past(messages);
    // The last tenth of the messages waits for another attempt.
    let delivered = usize::try_from(messages).unwrap() - waiting;
    group.receiver.answer(move |place| (if place < delivered { 200 } else { 500 }, std::time::Duration::ZERO));
    let (from, back) = (group.dir(100), group.dir(101));
    let file = |arguments: &[&str], dir: &Path| {
        let setup = group.scene.setup_from_beginning().sink(&group.receiver.url());
        setup.set("STATE__DIR", &dir.display().to_string()).args(arguments).output()
    };
    let (exit, _, log) = file(&["once"], &from);
    assert_eq!(exit, 75, "messages wait: {log}");
    let (exit, said, log) = file(&["state", "copy", "--to", &group.url()], &from);
    assert_eq!(exit, 0, "{said}{log}");
    assert!(said.starts_with("copied "), "{said}");
    let (exit, _, log) = file(&["state", "copy", "--to", &group.url()], &from);
    assert!(exit == 1 && log.contains("there is a state in "), "{log}");
    let (exit, said, log) = group.setup(7).args(&["state", "copy", "--to", &back.display().to_string()]).output();
    assert_eq!(exit, 0, "{said}{log}");
    for (table, (before, after)) in TABLES.iter().zip(content(&from).into_iter().zip(content(&back))) {
        assert!(before == after, "{table}: {} and {} records differ", before.len(), after.len());
    }
    tell(&format!("{messages} messages, {waiting} of them waiting, were copied into a database and back: identical"));
    // Relays go on with the copy: what waited is delivered, and nothing else.
    group.receiver.answer_with(200);
    let before = group.receiver.webhook_ids();
    group.start();
    group.wait_for_all();
    let after = group.receiver.webhook_ids();
    assert!(after[before.len()..].iter().all(|id| before[delivered..].contains(id)), "nothing that was delivered");
}
