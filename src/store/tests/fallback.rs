//! Tests of handing dead letters over to the fallback of a sink.

use proptest::prelude::*;

use super::*;
use crate::domain::NumberUse;
use crate::domain::filter::{Clause, Filter, Globs, Regexes};

/// Registers `crm`, whose fallback is `ops`. The filter of `ops` wants only messages with the text "all".
fn with_fallback(spool: &mut Spool, ordered: bool) -> [SinkId; 2] {
    let all = Clause { body: Some(Regexes::new(["^all$"]).unwrap()), ..Clause::default() };
    let selection = MessageSelection { filter: Some(Filter::any_of(vec![all])), ..MessageSelection::default() };
    let setups = [
        SinkSetup { fallback: Some("ops".to_owned()), ..SinkSetup::new("crm") },
        SinkSetup { selection, ordered, ..SinkSetup::new("ops") },
    ];
    let registered = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    [registered[0].id, registered[1].id]
}

fn release_one(spool: &mut Spool, seq: i64, body: &str) {
    spool.commit(&[insert(seq, body, RowStanding::News, None), release(&[seq])], UnixMs(0)).unwrap();
}

fn handed_over_by(spool: &Spool, seq: i64, sink: &str) -> Option<String> {
    let trace = spool.trace(&format!("m{seq}")).unwrap().unwrap();
    trace.deliveries.into_iter().find(|fate| fate.sink == sink).and_then(|fate| fate.handed_over_by)
}

fn a_dead_letter_is_handed_over_whatever_the_filter_says(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let [crm, ops] = with_fallback(&mut *spool, false);
    for seq in 1..=3 {
        release_one(&mut *spool, seq, "hello");
    }
    spool.settle(&[settled(crm, 1, dead()), settled(crm, 2, retry(5))], UnixMs(9)).unwrap();
    drop(spool);
    // The next process reads the state from the disk.
    let mut spool = scratch.open();
    assert_eq!(states(&*spool, 1..=3), "crm m1 dead, crm m2 retry, crm m3 fresh, ops m1 fresh");
    assert_eq!(handed_over_by(&*spool, 1, "ops").as_deref(), Some("crm"));
    assert_eq!(handed_over_by(&*spool, 1, "crm"), None);
    with_fallback(&mut *spool, false);
    assert_eq!(spool.expire(crm, &[Seq(2), Seq(3)], UnixMs(10)).unwrap().len(), 2);
    assert_eq!(
        states(&*spool, 1..=3),
        "crm m1 dead, crm m2 dead, crm m3 dead, ops m1 fresh, ops m2 fresh, ops m3 fresh"
    );
    let claims = spool.claim_fresh(ops, DeliveryClass::Backfill, ALL, &|_| false).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.seq).collect::<Vec<_>>(), [Seq(1), Seq(2), Seq(3)]);
}

fn a_message_that_the_fallback_has_is_not_handed_over_again(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let [crm, ops] = with_fallback(&mut *spool, false);
    for seq in 1..=3 {
        release_one(&mut *spool, seq, "all");
    }
    release_one(&mut *spool, 4, "hello");
    spool.settle(&[settled(ops, 1, DELIVERED), settled(ops, 2, dead())], UnixMs(1)).unwrap();
    let all: Vec<Settlement> = (1..=4).map(|seq| settled(crm, seq, dead())).collect();
    spool.settle(&all, UnixMs(2)).unwrap();
    let expected = "ops m1 delivered, ops m2 dead, ops m3 fresh, ops m4 fresh";
    assert_eq!(states(&*spool, 1..=4).split_once("ops").unwrap().1, &expected[3..]);
    assert_eq!(handed_over_by(&*spool, 3, "ops"), None, "`ops` had m3 already");
    // If an operator retries or drops the dead letters of `crm`, the deliveries of `ops` do not change.
    let of_crm = DeadLetterSelection { sink: Some("crm".to_owned()), ..DeadLetterSelection::default() };
    let start = ResolvedUpTo::default();
    assert_eq!(spool.resolve_dead_letters(&of_crm, DeadLetterAction::Retry, start, UnixMs(3)).unwrap().0, 4);
    spool.settle(&[settled(ops, 4, DELIVERED)], UnixMs(4)).unwrap();
    spool.settle(&all, UnixMs(5)).unwrap();
    assert_eq!(spool.resolve_dead_letters(&of_crm, DeadLetterAction::Drop, start, UnixMs(6)).unwrap().0, 4);
    assert_eq!(
        states(&*spool, 1..=4),
        "crm m1 dropped, crm m2 dropped, crm m3 dropped, crm m4 dropped, \
         ops m1 delivered, ops m2 dead, ops m3 fresh, ops m4 delivered"
    );
}

fn an_undecided_delivery_of_the_fallback_becomes_fresh_and_a_dead_letter_stays_one(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let asks = |service: &str| {
        let clause = Clause { service: Some(Globs::new([service]).unwrap()), ..Clause::default() };
        MessageSelection { filter: Some(Filter::any_of(vec![clause])), number_use: NumberUse::Needed }
    };
    let setups = [
        SinkSetup { selection: asks("a"), fallback: Some("ops".to_owned()), ..SinkSetup::new("crm") },
        SinkSetup { selection: asks("b"), ..SinkSetup::new("ops") },
    ];
    spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    release_one(&mut *spool, 1, "hello");
    assert_eq!(states(&*spool, [1]), "crm m1 undecided, ops m1 undecided");
    // Both deliveries become dead letters at once. `ops` already has a delivery of this message, and it is no longer
    // undecided, so nothing is handed over.
    assert_eq!(spool.give_up_undecided(Seq(2), UnixMs(1)).unwrap(), 2);
    assert_eq!(states(&*spool, [1]), "crm m1 dead, ops m1 dead");
    let all = [SinkSetup { fallback: Some("ops".to_owned()), ..SinkSetup::new("all") }, setups[1].clone()];
    let registered = spool.register_sinks(&all, UnixMs::MAX, UnixMs(2)).unwrap();
    release_one(&mut *spool, 2, "hello");
    spool.settle(&[settled(registered[0].id, 2, dead())], UnixMs(3)).unwrap();
    assert_eq!(states(&*spool, [2]), "all m2 dead, ops m2 fresh");
    spool.register_sinks(&all, UnixMs::MAX, UnixMs(4)).unwrap();
    assert_eq!(states(&*spool, [2]), "all m2 dead, ops m2 fresh", "after the next start, too, no filter decides on m2");
}

fn new_messages_do_not_wait_for_messages_that_were_handed_over(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let [crm, ops] = with_fallback(&mut *spool, true);
    // Messages 1 and 8 came to the same number.
    release_one(&mut *spool, 1, "hello");
    release_one(&mut *spool, 8, "all");
    spool.settle(&[settled(crm, 1, dead())], UnixMs(1)).unwrap();
    let firsts = |spool: &Spool| {
        let found = spool.claim_first_of_each_number(ops, UnixMs(2), ALL, &|_, _| false).unwrap();
        found.claims.iter().map(|claim| claim.seq).collect::<Vec<_>>()
    };
    assert_eq!(firsts(&*spool), [Seq(8), Seq(1)], "each is the first of its queue");
    // The queues are the same if the sink begins to keep the order only after the messages came.
    let mut spool = scratch.open();
    with_fallback(&mut *spool, false);
    with_fallback(&mut *spool, true);
    let mut after = Seq(-1);
    while let Some(next) = spool.assign_number_queues(ops, after, 1).unwrap() {
        after = next;
    }
    assert_eq!(firsts(&*spool), [Seq(8), Seq(1)]);
}

on_every_backend![
    a_dead_letter_is_handed_over_whatever_the_filter_says,
    a_message_that_the_fallback_has_is_not_handed_over_again,
    an_undecided_delivery_of_the_fallback_becomes_fresh_and_a_dead_letter_stays_one,
    new_messages_do_not_wait_for_messages_that_were_handed_over,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Takes random steps: messages come, are delivered, fail or expire, an operator retries or drops dead letters, and
    /// the state is closed and opened again. After each step every message that was ever a dead letter of `crm` has a
    /// delivery for `ops`. `ops` gets no message twice.
    #[test]
    fn every_dead_letter_is_handed_over_once(steps in prop::collection::vec((0_u8..8, 1_i64..12, any::<bool>()), 1..60)) {
        let scratch = SqliteScratch::new();
        let mut spool = scratch.open();
        let [crm, ops] = with_fallback(&mut *spool, false);
        let (mut released, mut died, mut delivered) = (0, std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        let claims = |spool: &Spool, sink| {
            let fresh = [DeliveryClass::Live, DeliveryClass::Backfill]
                .map(|class| spool.claim_fresh(sink, class, ALL, &|_| false).unwrap());
            let retries = spool.claim_retries(sink, UnixMs(i64::MAX), ALL, &|_| false).unwrap();
            fresh.into_iter().flatten().chain(retries).map(|claim| claim.seq.0).collect::<Vec<_>>()
        };
        for (what, which, flag) in steps {
            let at = |waiting: &[i64]| waiting.get(usize::try_from(which).unwrap() % waiting.len().max(1)).copied();
            match what {
                0 | 1 => {
                    released += 1;
                    release_one(&mut *spool, released, if flag { "all" } else { "hello" });
                }
                2 | 3 => if let Some(seq) = at(&claims(&*spool, crm)) {
                    spool.settle(&[settled(crm, seq, dead())], UnixMs(1)).unwrap();
                    died.insert(seq);
                }
                4 => if let Some(seq) = at(&claims(&*spool, crm)) {
                    died.extend(spool.expire(crm, &[Seq(seq)], UnixMs(1)).unwrap().iter().map(|_| seq));
                }
                5 => if let Some(seq) = at(&claims(&*spool, ops)) {
                    spool.settle(&[settled(ops, seq, DELIVERED)], UnixMs(1)).unwrap();
                    prop_assert!(delivered.insert(seq), "m{} twice", seq);
                }
                6 => {
                    let of_crm = DeadLetterSelection { sink: Some("crm".to_owned()), ..DeadLetterSelection::default() };
                    let action = if flag { DeadLetterAction::Retry } else { DeadLetterAction::Drop };
                    spool.resolve_dead_letters(&of_crm, action, ResolvedUpTo::default(), UnixMs(2)).unwrap();
                }
                _ => {
                    drop(spool);
                    spool = scratch.open();
                    with_fallback(&mut *spool, false);
                }
            }
            for seq in &died {
                let has = deliveries(&*spool, *seq).iter().any(|(sink, _)| sink == "ops");
                prop_assert!(has, "m{} died and was not handed over", seq);
            }
        }
    }
}
