//! Tests that this version can use a state that an earlier or a later version has written.

use super::*;

#[test]
fn the_id_of_a_dropped_sink_is_not_used_again_if_an_earlier_version_has_not_counted_it() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let first = register(&mut spool, &["desk"])[0];
    spool.register_sinks(&[], UnixMs::MAX, UnixMs(0)).unwrap();
    spool.connection.execute("DELETE FROM counter WHERE name = 'sinks'", []).unwrap();
    let may = DropPermission { configured: true, messages: true };
    spool.drop_sink(first, Seq::default(), may).unwrap();
    assert!(register(&mut spool, &["desk"])[0] > first);
}

#[test]
fn a_memory_of_the_clock_that_cannot_be_read_is_ignored() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    spool.remember_clock(&crate::time::ClockMemory::default()).unwrap();
    spool.connection.execute("UPDATE meta SET value = 'later' WHERE key = 'clock'", []).unwrap();
    assert_eq!(spool.clock_memory().unwrap(), None);
}
