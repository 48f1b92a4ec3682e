//! Dropping a sink: what it may take along is looked at where it happens.

use super::*;

#[test]
fn a_sink_is_dropped_only_with_what_may_go() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    let [crm, ops] = register(&mut spool, &["crm", "ops"])[..] else { panic!("two") };
    let mut rows: Vec<StoreOp> = (1..=3).map(|seq| insert(seq, "text", RowStanding::News, None)).collect();
    rows.push(StoreOp::Release { rows: (1..=3).map(Seq).collect(), class: Class::Live });
    rows.push(StoreOp::Advance(marks(3)));
    spool.commit(&rows, UnixMs(0)).unwrap();
    let delivered = || Outcome::Delivered { status: Some(200) };
    let begin = Seq::default();
    let may = |configured, messages| MayDrop { configured, messages };

    let refused = |spool: &mut Spool, may: MayDrop, why: Dropping| {
        assert_eq!(spool.drop_sink(crm, begin, may).unwrap(), why);
        let rows: i64 = spool.connection.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 6, "nothing was changed");
    };
    refused(&mut spool, may(true, false), Dropping::HasMessages);
    let settlements: Vec<Settlement> =
        (1..).zip([delivered(), delivered(), dead()]).map(|(seq, outcome)| settled(crm, seq, outcome)).collect();
    spool.settle(&settlements, UnixMs(0)).unwrap();
    refused(&mut spool, may(true, false), Dropping::HasMessages);
    refused(&mut spool, may(false, true), Dropping::IsConfigured);

    assert_eq!(spool.drop_sink(crm, begin, may(true, true)).unwrap(), Dropping::GoOn(Seq(3)));
    // A relay has begun with it in between.
    assert_eq!(spool.drop_sink(crm, Seq(3), may(false, true)).unwrap(), Dropping::IsConfigured);
    assert_eq!(spool.drop_sink(crm, Seq(3), may(true, true)).unwrap(), Dropping::Gone);
    assert_eq!(spool.sink_names().unwrap(), ["ops"]);
    assert_eq!(spool.waiting(ops).unwrap().fresh, 3, "the other keeps what it has");

    // Whoever still has the id of a sink that is gone never means another.
    let max = |spool: &Spool| spool.connection.query_row("SELECT max(id) FROM sink", [], |row| row.get(0)).unwrap();
    let mut highest: i64 = max(&spool);
    for round in 0..3 {
        let newest = register(&mut spool, &["desk"])[0];
        assert!(newest.0 > highest, "round {round}: {newest:?} after {highest}");
        highest = newest.0;
        spool.register_sinks(&[], UnixMs::MAX, UnixMs(0)).unwrap();
        if round == 1 {
            // As an earlier version left it, which counts no ids.
            spool.connection.execute("DELETE FROM counter WHERE name = 'sinks'", []).unwrap();
        }
        assert_eq!(spool.drop_sink(newest, begin, may(true, true)).unwrap(), Dropping::Gone);
    }
}
