//! Tests of opening a schema, and of the texts that it holds.

use super::*;

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let Some(database) = scratch_database("a_newer_format") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    run(&mut spool, "UPDATE format SET version = 99");
    let is_newer = |refused: Result<(), Error>| matches!(refused, Err(Error::NewerSchema { found: 99, known: 1, .. }));
    assert!(is_newer(PostgresBackend::open(&database).map(drop)));
    assert!(is_newer(PostgresBackend::open_existing(&database).map(drop)));
    let version: i64 =
        spool.read(|statements| statements.value("SELECT version FROM format", vec![])).unwrap().unwrap();
    assert_eq!(version, 99);
}

#[test]
fn the_schema_of_another_program_is_refused_and_left_alone() {
    let Some(database) = scratch_database("the_schema_of_another_program") else { return };
    run_outside(&database, &format!("CREATE SCHEMA {0}; CREATE TABLE {0}.theirs (a BIGINT)", database.namespace()));
    let refused = PostgresBackend::open(&database).unwrap_err();
    assert!(matches!(refused, Error::DamagedSchema { .. }), "{refused}");
    run_outside(&database, &format!("SELECT a FROM {}.theirs", database.namespace()));
}

#[test]
fn a_command_makes_no_schema() {
    let Some(database) = scratch_database("a_command_makes_no_schema") else { return };
    assert!(PostgresBackend::open_existing(&database).unwrap().is_none());
    let location = StateLocation::new(Path::new(""), Some(database.clone()));
    assert_eq!(is_running(&location).unwrap(), Some(false), "no relay runs without a schema");
    PostgresBackend::open(&database).unwrap();
    assert!(PostgresBackend::open_existing(&database).unwrap().is_some());
    assert_eq!(is_running(&location).unwrap(), Some(false));
}

#[test]
fn relays_that_start_at_the_same_moment_make_one_schema() {
    let Some(database) = scratch_database("relays_that_start_at_the_same_moment") else { return };
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| PostgresBackend::open(&database).map(drop))).collect();
        for start in starts {
            start.join().unwrap().unwrap();
        }
    });
    let spool = PostgresBackend::open(&database).unwrap();
    let records = spool.read(|statements| statements.value::<i64>("SELECT count(*) FROM lease", vec![])).unwrap();
    assert_eq!(records, Some(1));
}

#[test]
fn every_text_of_the_api_comes_back_as_it_was() {
    let Some(database) = scratch_database("every_text_of_the_api") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    let sink = register(&mut spool, &["crm"])[0];
    let PollChange::Insert(mut odd) = insert(1, "", RowStanding::News, None) else { unreachable!() };
    odd.row.id = "nul \0 'quote' \\x00 ünïcode 🦀".to_owned();
    odd.row.number = Some("\0".to_owned());
    odd.row.raw = "{\"body\":\"\0 \\u0000 🦀\"}".into();
    let (id, raw) = (odd.row.id.clone(), odd.row.raw.clone());
    let walk = Walk { cursor: Some(Cursor("\0".to_owned())), trail: vec![Cursor("a\0".to_owned())], ..gap(1) };
    let walk_op = PollChange::PutWalk(Box::new(walk.clone()));
    spool.commit(&[PollChange::Insert(odd), release(&[1]), walk_op, PollChange::Advance(marks(1))], UnixMs(0)).unwrap();
    let claims = spool.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap();
    assert_eq!((claims[0].id.as_str(), &claims[0].raw), (id.as_str(), &raw));
    assert_eq!(spool.known(&[&id]).unwrap(), [Some(Seq(1))]);
    assert_eq!(spool.load_coverage().unwrap().unwrap().walks, [walk]);
    let answer = crate::domain::Outcome::Retry { due: UnixMs(1), status: None, answer: "a\0b".to_owned() };
    spool.settle(&[settled(sink, 1, answer)], UnixMs(1)).unwrap();
}

#[test]
fn two_schemas_of_one_database_are_two_states() {
    let (Some(one), Some(other)) = (scratch_database("two_schemas"), scratch_database("two_schemas")) else { return };
    let mut one = PostgresBackend::open(&one).unwrap();
    let other = PostgresBackend::open(&other).unwrap();
    register(&mut one, &["crm"]);
    assert_eq!(one.sink_names().unwrap(), ["crm"]);
    assert_eq!(other.sink_names().unwrap(), [""; 0]);
}

#[test]
fn the_room_of_removed_records_is_not_counted_as_used() {
    let Some(database) = scratch_database("the_room_of_removed_records") else { return };
    let mut spool = PostgresBackend::open(&database).unwrap();
    run(
        &mut spool,
        "INSERT INTO message (seq, id, time, standing, stored_at, raw)
                     SELECT n, n::text::bytea, n, 'news', n, convert_to(repeat('x', 500), 'UTF8')
                     FROM generate_series(1, 5000) AS n",
    );
    run_outside(&database, &format!("ANALYZE {}.message", database.namespace()));
    let full = spool.disk_usage().unwrap();
    assert!(full.used > 5000 * 500, "{full:?}");
    run(&mut spool, "DELETE FROM message WHERE seq > 100");
    run_outside(&database, &format!("VACUUM ANALYZE {}.message", database.namespace()));
    let left = spool.disk_usage().unwrap();
    assert!(left.used < full.used / 4 && left.unused > 0, "{left:?} after {full:?}");
}
