//! `state copy`: a state moves from a directory into a database and back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::group::Group;
use super::tell;
use crate::support::waiting::now;

/// How long each step may take with many messages.
const LIMIT: Duration = Duration::from_secs(1_200);

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
    group.receiver.answer(move |place| (if place < delivered { 200 } else { 500 }, Duration::ZERO));
    let (from, back) = (group.dir(100), group.dir(101));
    let file = |arguments: &[&str], dir: &Path| {
        let setup = group.scene.setup_from_beginning().sink(&group.receiver.url());
        setup.set("STATE__DIR", &dir.display().to_string()).args(arguments).output_within(LIMIT)
    };
    let (exit, _, log) = file(&["once"], &from);
    assert_eq!(exit, 75, "messages wait: {log}");
    let began = now();
    let (exit, said, log) = file(&["state", "copy", "--to", &group.url()], &from);
    let into_database = began.elapsed();
    assert_eq!(exit, 0, "{said}{log}");
    assert!(said.starts_with("copied "), "{said}");
    let (exit, _, log) = file(&["state", "copy", "--to", &group.url()], &from);
    assert!(exit == 1 && log.contains("there is a state in "), "{log}");
    let began = now();
    let copy = &["state", "copy", "--to", &back.display().to_string()];
    let (exit, said, log) = group.setup(7).args(copy).output_within(LIMIT);
    let into_directory = began.elapsed();
    assert_eq!(exit, 0, "{said}{log}");
    for (table, (before, after)) in TABLES.iter().zip(content(&from).into_iter().zip(content(&back))) {
        assert!(before == after, "{table}: {} and {} records differ", before.len(), after.len());
    }
    tell(&format!(
        "{messages} messages, {waiting} of them waiting, were copied into a database in {into_database:.1?} and back in \
         {into_directory:.1?}: identical"
    ));
    // Relays go on with the copy: what waited is delivered, and nothing else.
    group.receiver.answer_with(200);
    let before: BTreeSet<String> = group.accepted().into_iter().collect();
    group.start();
    group.wait_for_all_within(LIMIT);
    let after = group.accepted();
    assert_eq!(after.len(), group.scene.ids().len(), "each was accepted once");
    assert!(after[before.len()..].iter().all(|id| !before.contains(id)), "nothing that was delivered");
}

#[test]
fn the_password_of_the_destination_may_be_in_a_variable() {
    let Some(group) = Group::new() else { return };
    group.scene.add_past(1);
    let from = group.dir(100);
    let setup = || {
        let setup = group.scene.setup_from_beginning().sink(&group.receiver.url());
        setup.set("STATE__DIR", &from.display().to_string())
    };
    assert_eq!(setup().args(&["once"]).output().0, 0);
    group.server.query("CREATE ROLE mover LOGIN SUPERUSER PASSWORD 'hunter2'");
    let rules = group.server.dir().join("data/pg_hba.conf");
    group.server.query(&format!(
        "COPY (VALUES ('local all relay trust'), ('local all all scram-sha-256')) TO '{}'",
        rules.display()
    ));
    group.server.query("SELECT pg_reload_conf()");
    let url = group.url().replace("//relay@", "//mover@");
    let copy = ["state", "copy", "--to", &url];
    let (exit, _, log) = setup().env("PGPASSWORD", "wrong").args(&copy).output();
    assert!(exit == 75 && !log.contains("wrong"), "{exit} {log}");
    let (exit, said, log) = setup().env("PGPASSWORD", "hunter2").args(&copy).output();
    assert_eq!(exit, 0, "{said}{log}");
    assert!(!said.contains("hunter2") && !log.contains("hunter2"), "{said}{log}");
}
