//! Tests of deliveries that depend on the API's details of a number.

use super::*;
use crate::domain::NumberUse;
use crate::domain::filter::{Clause, Filter, Globs};

/// Makes a state with three sinks: `all` wants every message; `pay` has a filter on the number's service; the format of
/// `told` needs the details of the number.
fn with_sinks(scratch: &dyn Scratch) -> (Box<Spool>, SinkId) {
    let mut spool = scratch.open();
    let globs = Globs::new(["PayPal"]).unwrap();
    let filter = Filter::any_of(vec![Clause { service: Some(globs), ..Clause::default() }]);
    let pay = SinkSetup {
        selection: MessageSelection { filter: Some(filter), number_use: NumberUse::Ignored },
        ..SinkSetup::new("pay")
    };
    let told = SinkSetup {
        selection: MessageSelection { filter: None, number_use: NumberUse::Needed },
        ..SinkSetup::new("told")
    };
    let registered = spool.register_sinks(&[SinkSetup::new("all"), pay, told], UnixMs::MAX, UnixMs(0)).unwrap();
    (spool, registered[0].id)
}

fn release_one(spool: &mut Spool, seq: i64, number: Option<&str>) {
    let PollChange::Insert(mut inserted) = insert(seq, "", RowStanding::News, None) else { unreachable!() };
    inserted.row.number = number.map(str::to_owned);
    spool.commit(&[PollChange::Insert(inserted), release(&[seq])], UnixMs(0)).unwrap();
}

fn decide_all(spool: &mut Spool, which: UndecidedScope) -> usize {
    let (mut made, mut after) = spool.decide(None, which).unwrap();
    while after.is_some() {
        let (more, next) = spool.decide(after, which).unwrap();
        (made, after) = (made + more, next);
    }
    made
}

fn deliveries_stay_undecided_until_the_details_are_known(scratch: &dyn Scratch) {
    let (mut spool, _) = with_sinks(scratch);
    for (seq, number) in [(1, Some("a")), (2, Some("b")), (3, Some("gone")), (4, None)] {
        release_one(&mut *spool, seq, number);
    }
    assert_eq!(
        states(&*spool, 1..=4),
        "all m1 fresh, all m2 fresh, all m3 fresh, all m4 fresh, pay m1 undecided, pay m2 undecided, pay m3 undecided, \
         told m1 undecided, told m2 undecided, told m3 undecided, told m4 fresh"
    );
    assert!(spool.has_undecided().unwrap());
    let newest = spool.newest_number().unwrap();
    assert_eq!(decide_all(&mut *spool, UndecidedScope::All), 0, "no details are known yet");
    release_one(&mut *spool, 5, Some("later"));
    spool.record_numbers(&[("a", r#"{"serviceName":"PayPal"}"#), ("b", "{}"), ("new", "{}")], UnixMs(9)).unwrap();
    assert_eq!(decide_all(&mut *spool, UndecidedScope::Known), 3);
    assert_eq!(
        spool.complete_number_list(newest, UnixMs(9)).unwrap(),
        1,
        "only `gone`: `later` was added after the list had begun"
    );
    assert_eq!(decide_all(&mut *spool, UndecidedScope::Known), 1);
    assert_eq!(
        states(&*spool, 1..=5),
        "all m1 fresh, all m2 fresh, all m3 fresh, all m4 fresh, all m5 fresh, pay m1 fresh, pay m5 undecided, \
         told m1 fresh, told m2 fresh, told m3 fresh, told m4 fresh, told m5 undecided"
    );
    release_one(&mut *spool, 6, Some("a"));
    assert!(states(&*spool, [6]).contains("pay m6 fresh"), "the details of `a` are known");
}

fn waiting_deliveries_become_undecided_if_their_sink_begins_to_need_details(scratch: &dyn Scratch) {
    let (mut spool, sink) = with_sinks(scratch);
    spool.record_numbers(&[("known", "{}")], UnixMs(9)).unwrap();
    for (seq, number) in [(1, Some("a")), (2, Some("known")), (3, None), (4, Some("a"))] {
        release_one(&mut *spool, seq, number);
    }
    spool.settle(&[settled(sink, 4, retry(7))], UnixMs(1)).unwrap();
    let all = |number| SinkSetup {
        selection: MessageSelection { filter: None, number_use: number },
        ..SinkSetup::new("all")
    };
    spool.register_sinks(&[all(NumberUse::Shown)], UnixMs::MAX, UnixMs(0)).unwrap();
    let of_all = |spool: &Spool| states(spool, 1..=4).split(", pay").next().unwrap().to_owned();
    assert_eq!(of_all(&*spool), "all m1 fresh, all m2 fresh, all m3 fresh, all m4 retry");
    spool.register_sinks(&[all(NumberUse::Needed)], UnixMs::MAX, UnixMs(0)).unwrap();
    assert_eq!(of_all(&*spool), "all m1 undecided, all m2 fresh, all m3 fresh, all m4 undecided");
    spool.record_numbers(&[("a", "{}")], UnixMs(9)).unwrap();
    assert_eq!(decide_all(&mut *spool, UndecidedScope::Known), 2);
    assert_eq!(of_all(&*spool), "all m1 fresh, all m2 fresh, all m3 fresh, all m4 fresh");
    let claims =
        spool.claim_fresh(sink, DeliveryClass::Live, ClaimLimits { details: true, ..ALL }, &|_| false).unwrap();
    let claimed: Vec<_> =
        claims.iter().map(|claim| (claim.id.as_str(), claim.attempts, claim.details.as_deref())).collect();
    let expected = [("m1", 0, Some("{}")), ("m2", 0, Some("{}")), ("m3", 0, None), ("m4", 1, Some("{}"))];
    assert_eq!(claimed, expected);
    let claims = spool.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap();
    assert!(claims.iter().all(|claim| claim.details.is_none()), "the limits ask for no details");
}

fn undecided_deliveries_become_dead_letters_if_the_details_never_come(scratch: &dyn Scratch) {
    let (mut spool, _) = with_sinks(scratch);
    for (seq, number) in [(1, Some("a")), (2, None), (3, Some("a"))] {
        release_one(&mut *spool, seq, number);
    }
    assert_eq!(spool.give_up_undecided(Seq(3), UnixMs(7)).unwrap(), 2, "the deliveries of m1 for `pay` and `told`");
    assert_eq!(
        states(&*spool, 1..=3),
        "all m1 fresh, all m2 fresh, all m3 fresh, pay m1 dead, pay m3 undecided, told m1 dead, told m2 fresh, \
         told m3 undecided"
    );
}

fn a_list_without_an_end_does_not_fill_the_state(scratch: &dyn Scratch) {
    let (mut spool, _) = with_sinks(scratch);
    // The list fills the state up to its limit for numbers. After that only a number that a message names is added.
    let ids: Vec<String> = (0..20_000).map(|number| format!("listed {number}")).collect();
    spool.record_numbers(&ids.iter().map(|id| (id.as_str(), "{}")).collect::<Vec<_>>(), UnixMs(9)).unwrap();
    release_one(&mut *spool, 1, Some("met"));
    spool.record_numbers(&[("met", "{}"), ("never met", "{}")], UnixMs(9)).unwrap();
    assert_eq!(spool.number_details("listed 19999").unwrap(), NumberDetails::Known("{}".to_owned()));
    assert_eq!(spool.number_details("met").unwrap(), NumberDetails::Known("{}".to_owned()));
    assert_eq!(spool.number_details("never met").unwrap(), NumberDetails::Unknown);
}

fn without_filters_all_undecided_deliveries_become_fresh(scratch: &dyn Scratch) {
    let (mut spool, _) = with_sinks(scratch);
    (0..1201).for_each(|seq| release_one(&mut *spool, seq, Some("a")));
    spool.register_sinks(&["all", "pay", "told"].map(SinkSetup::new), UnixMs::MAX, UnixMs(0)).unwrap();
    assert_eq!(decide_all(&mut *spool, UndecidedScope::All), 2402);
    assert!(!spool.has_undecided().unwrap());
}

on_every_backend![
    deliveries_stay_undecided_until_the_details_are_known,
    waiting_deliveries_become_undecided_if_their_sink_begins_to_need_details,
    undecided_deliveries_become_dead_letters_if_the_details_never_come,
    a_list_without_an_end_does_not_fill_the_state,
    without_filters_all_undecided_deliveries_become_fresh,
];
