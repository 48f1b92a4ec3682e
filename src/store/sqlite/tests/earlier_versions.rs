//! States that other versions left, or will leave.

use super::*;

#[test]
fn the_id_of_a_dropped_sink_never_means_another_also_if_no_ids_were_counted() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let first = register(&mut spool, &["desk"])[0];
    spool.register_sinks(&[], UnixMs::MAX, UnixMs(0)).unwrap();
    spool.connection.execute("DELETE FROM counter WHERE name = 'sinks'", []).unwrap();
    let may = MayDrop { configured: true, messages: true };
    spool.drop_sink(first, Seq::default(), may).unwrap();
    assert!(register(&mut spool, &["desk"])[0] > first);
}

#[test]
fn what_a_later_version_leaves_about_the_time_says_nothing_and_stops_nothing() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    spool.remember_clock(&crate::time::ClockMemory::default()).unwrap();
    spool.connection.execute("UPDATE meta SET value = 'later' WHERE key = 'clock'", []).unwrap();
    assert_eq!(spool.clock_memory().unwrap(), None);
}
