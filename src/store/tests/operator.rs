//! Tests of dropping sinks, and of what a view of the sinks shows.

use super::*;

fn a_sink_is_dropped_only_with_permission_and_each_step_checks_this(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let [crm, ops] = register(&mut *spool, &["crm", "ops"])[..] else { panic!("two") };
    let mut rows: Vec<PollChange> = (1..=3).map(|seq| insert(seq, "text", RowStanding::News, None)).collect();
    rows.push(release(&[1, 2, 3]));
    rows.push(PollChange::Advance(marks(3)));
    spool.commit(&rows, UnixMs(0)).unwrap();
    let begin = Seq::default();
    let may = |configured, messages| DropPermission { configured, messages };

    let refused = |spool: &mut Spool, may: DropPermission, why: DropProgress| {
        assert_eq!(spool.drop_sink(crm, begin, may).unwrap(), why);
        let deliveries: usize = (1..=3).map(|seq| deliveries(spool, seq).len()).sum();
        assert_eq!(deliveries, 6, "nothing was changed");
    };
    refused(&mut *spool, may(true, false), DropProgress::SinkHasMessages);
    let settlements: Vec<Settlement> =
        (1..).zip([DELIVERED, DELIVERED, dead()]).map(|(seq, outcome)| settled(crm, seq, outcome)).collect();
    spool.settle(&settlements, UnixMs(0)).unwrap();
    refused(&mut *spool, may(true, false), DropProgress::SinkHasMessages);
    refused(&mut *spool, may(false, true), DropProgress::SinkIsConfigured);

    assert_eq!(spool.drop_sink(crm, begin, may(true, true)).unwrap(), DropProgress::MoreToRemove(Seq(3)));
    // A relay has started to use the sink since the last step.
    assert_eq!(spool.drop_sink(crm, Seq(3), may(false, true)).unwrap(), DropProgress::SinkIsConfigured);
    assert_eq!(spool.drop_sink(crm, Seq(3), may(true, true)).unwrap(), DropProgress::Removed);
    assert_eq!(spool.sink_names().unwrap(), ["ops"]);
    assert_eq!(spool.waiting(ops).unwrap().fresh, 3, "the other sink keeps its deliveries");
}

fn the_id_of_a_dropped_sink_is_never_given_to_another_sink(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let mut highest = register(&mut *spool, &["crm", "ops"]).into_iter().max().unwrap();
    for round in 0..3 {
        let newest = register(&mut *spool, &["desk"])[0];
        assert!(newest > highest, "round {round}: {newest:?} after {highest:?}");
        highest = newest;
        spool.register_sinks(&[], UnixMs::MAX, UnixMs(0)).unwrap();
        let may = DropPermission { configured: true, messages: true };
        assert_eq!(spool.drop_sink(newest, Seq::default(), may).unwrap(), DropProgress::Removed);
    }
}

fn the_view_of_a_sink_names_the_next_waiting_messages(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let [crm, _] = register(&mut *spool, &["crm", "ops"])[..] else { panic!("two") };
    let mut rows: Vec<PollChange> = (1..=6).map(|seq| insert(seq, "text", RowStanding::News, None)).collect();
    rows.push(release(&[1, 2, 3, 4, 5, 6]));
    spool.commit(&rows, UnixMs(0)).unwrap();
    let named = |spool: &Spool| spool.sinks().unwrap().into_iter().map(|sink| sink.waiting_ids).collect::<Vec<_>>();
    assert_eq!(named(&*spool), [["m1", "m2", "m3"], ["m1", "m2", "m3"]]);
    spool.settle(&[settled(crm, 5, retry(20)), settled(crm, 6, retry(10))], UnixMs(0)).unwrap();
    assert_eq!(named(&*spool), [["m6", "m5", "m1"], ["m1", "m2", "m3"]]);
    let delivered: Vec<Settlement> = (1..=6).map(|seq| settled(crm, seq, DELIVERED)).collect();
    spool.settle(&delivered, UnixMs(0)).unwrap();
    assert_eq!(named(&*spool), [vec![], vec!["m1", "m2", "m3"]]);
}

on_every_backend![
    a_sink_is_dropped_only_with_permission_and_each_step_checks_this,
    the_id_of_a_dropped_sink_is_never_given_to_another_sink,
    the_view_of_a_sink_names_the_next_waiting_messages,
];
