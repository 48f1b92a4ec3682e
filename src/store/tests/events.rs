//! Tests of events of numbers, which are stored in the table of messages.

use super::*;
use crate::domain::Start;
use crate::domain::filter::{Clause, Filter};

const DAY: i64 = 86_400_000;

/// Makes the changes that store and release a row of this standing. The row has the id `m{seq}` and the time `day` days
/// after the epoch.
fn stored(seq: i64, day: i64, standing: RowStanding) -> [PollChange; 3] {
    let PollChange::Insert(mut made) = insert(seq, "soon", standing, None) else { unreachable!() };
    made.row.time = UnixMs(day * DAY);
    [PollChange::Insert(made), release(&[seq]), PollChange::Advance(marks(seq))]
}

fn event(seq: i64, day: i64) -> [PollChange; 3] {
    stored(seq, day, RowStanding::Event)
}

fn message(seq: i64, day: i64) -> [PollChange; 3] {
    stored(seq, day, RowStanding::News)
}

/// Two sinks that ask for events, and two that do not. The second of each pair wants only messages with a code, and no
/// message here has one.
fn four_sinks() -> [SinkSetup; 4] {
    let nothing = Filter::any_of(vec![Clause { has_code: Some(true), ..Clause::default() }]);
    let selection = MessageSelection { filter: Some(nothing), ..MessageSelection::default() };
    [
        SinkSetup { events: true, ..SinkSetup::new("all") },
        SinkSetup { events: true, selection: selection.clone(), ..SinkSetup::new("only-events") },
        SinkSetup::new("messages"),
        SinkSetup { selection, ..SinkSetup::new("nothing") },
    ]
}

fn sinks_of(spool: &Spool, id: &str) -> String {
    let trace = spool.trace(id).unwrap().unwrap();
    trace.deliveries.into_iter().map(|delivery| delivery.sink).collect::<Vec<_>>().join(" ")
}

fn only_sinks_that_ask_for_events_get_them(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let sinks = spool.register_sinks(&four_sinks(), UnixMs::MAX, UnixMs(0)).unwrap();
    spool.commit(&event(1, 0), UnixMs(9)).unwrap();
    spool.commit(&message(2, 0), UnixMs(9)).unwrap();
    assert_eq!(sinks_of(&*spool, "m1"), "all only-events");
    assert_eq!(sinks_of(&*spool, "m2"), "all messages");
    assert_eq!(spool.trace("m1").unwrap().unwrap().standing, RowStanding::Event);
    let claims = spool.claim_fresh(sinks[1].id, DeliveryClass::Live, ALL, &|_| false).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["m1"]);
    assert!(spool.commit(&event(1, 0), UnixMs(13)).is_err(), "an event is stored once");
}

fn events_are_not_among_the_arrivals(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    spool.commit(&event(1, 0), UnixMs(9)).unwrap();
    spool.commit(&message(2, 0), UnixMs(9)).unwrap();
    let ids = |found: Vec<Arrival>| found.into_iter().map(|arrival| arrival.id).collect::<Vec<_>>();
    assert_eq!(ids(spool.arrivals(0, 9).unwrap()), ["m2"]);
    assert_eq!(ids(spool.arrivals_before(9, 9).unwrap()), ["m2"]);
}

fn a_replay_and_a_backfill_give_events_only_to_sinks_that_ask_for_them(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let first = SinkSetup { events: true, ..SinkSetup::new("first") };
    let registered = spool.register_sinks(std::slice::from_ref(&first), UnixMs::MAX, UnixMs(0)).unwrap();
    spool.commit(&event(1, 0), UnixMs(9)).unwrap();
    spool.settle(&[settled(registered[0].id, 1, DELIVERED)], UnixMs(10)).unwrap();
    let added = four_sinks().map(|setup| SinkSetup { start: Start::Beginning, ..setup });
    let setups = [&[first], &added[..3]].concat();
    let registered = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    for sink in &registered[1..] {
        assert!(sink.needs_backfill && !spool.backfill(sink.id, 99).unwrap().more);
    }
    assert_eq!(sinks_of(&*spool, "m1"), "all first only-events");
    let late = SinkSetup { events: true, ..SinkSetup::new("late") };
    let setups = [&setups[..], &[late, SinkSetup::new("other")]].concat();
    let registered = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    let choice = ReplaySelection {
        sinks: registered.iter().map(|sink| sink.id).collect(),
        new: true,
        without_events: Vec::new(),
        ids: vec!["m1".to_owned()],
        since: UnixMs::MIN,
        until: UnixMs::MAX,
        filter: None,
        failed: false,
    };
    let nobody = ReplaySelection { without_events: choice.sinks.clone(), ..choice.clone() };
    let found = spool.replayable(&choice, 0, 9).unwrap().found;
    let had = found.iter().filter(|found| found.before != PastDelivery::Never).count();
    assert!(had == 1 && found.len() > 1, "{found:?}");
    assert_eq!(spool.replayable(&nobody, 0, 9).unwrap().found.len(), 1, "only `first` had the event");
    spool.replay(&found).unwrap();
    let mut after = None;
    loop {
        after = spool.decide(after, UndecidedScope::All).unwrap().1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sinks_of(&*spool, "m1"), "all first late only-events");
}

fn an_event_is_known_until_it_cannot_be_made_again(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    spool.erase_on_delivery();
    let setup = SinkSetup { events: true, ..SinkSetup::new("a") };
    let sink = spool.register_sinks(&[setup], UnixMs::MAX, UnixMs(0)).unwrap()[0].id;
    spool.commit(&event(1, 5), UnixMs(9)).unwrap();
    for seq in 2..=4 {
        spool.commit(&message(seq, 100 * seq), UnixMs(9)).unwrap();
    }
    let delivered: Vec<_> = (1..=4).map(|seq| settled(sink, seq, DELIVERED)).collect();
    spool.settle(&delivered, UnixMs(10)).unwrap();
    assert_eq!(spool.trace("m1").unwrap().unwrap().bytes, None, "the text is gone");
    drop(spool);
    let mut spool = scratch.open();
    let known =
        |spool: &Spool| spool.known(&["m1", "m2", "m3", "m4"]).unwrap().iter().map(Option::is_some).collect::<Vec<_>>();
    // The watermark is later than the times of the event and of all messages. The newest message, `m4`, always stays
    // known. The event of day 5 stays known until the watermark is more than 400 days later.
    for (day, expected) in [(404, [true, false, false, true]), (406, [false, false, false, true])] {
        spool.forget_ids(UnixMs(day * DAY), 1, ForgottenUpTo::START).unwrap();
        assert_eq!(known(&*spool), expected, "day {day}");
    }
}

on_every_backend![
    only_sinks_that_ask_for_events_get_them,
    events_are_not_among_the_arrivals,
    a_replay_and_a_backfill_give_events_only_to_sinks_that_ask_for_them,
    an_event_is_known_until_it_cannot_be_made_again,
];
