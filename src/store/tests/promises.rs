//! Tests of what [`Backend`] promises for each of its methods: a method makes its whole change or none; the change is
//! on disk when the method returns; every later read sees the change, over other connections, too.

use super::*;
use crate::domain::{Coverage, Lags};

fn page() -> Vec<PollChange> {
    vec![
        PollChange::Begin { start: "now".to_owned() },
        insert(1, "hello", RowStanding::News, None),
        insert(2, "held", RowStanding::News, Some(WalkId(7))),
        release(&[1]),
        PollChange::PutWalk(Box::new(gap(7))),
        PollChange::PutLags(Lags::new(vec![5, -3], 11)),
        PollChange::Advance(marks(2)),
    ]
}

fn expected() -> Coverage {
    Coverage { marks: marks(2), walks: vec![gap(7)], lags: Lags::new(vec![5, -3], 11) }
}

fn what_was_written_is_there_when_the_state_is_opened_again(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    assert!(spool.load_coverage().unwrap().is_none());
    let sink = register(&mut *spool, &["crm"])[0];
    spool.commit(&page(), UnixMs(9)).unwrap();
    spool.settle(&[settled(sink, 1, retry(70))], UnixMs(60)).unwrap();
    drop(spool);
    let spool = scratch.open();
    assert_eq!(spool.load_coverage().unwrap(), Some(expected()));
    assert_eq!(spool.known(&["m2", "m9", "m1"]).unwrap(), [Some(Seq(2)), None, Some(Seq(1))]);
    assert_eq!(spool.count_held(WalkId(7)).unwrap(), 1);
    assert_eq!(spool.next_due(sink, UnixMs(60)).unwrap(), Some(UnixMs(70)));
    assert_eq!(spool.account().unwrap().start.as_deref(), Some("now"));
}

fn another_connection_sees_at_once_what_was_written(scratch: &dyn Scratch) {
    let (mut writer, reader) = (scratch.open(), scratch.open());
    let sink = register(&mut *writer, &["crm"])[0];
    assert_eq!(reader.sink_named("crm").unwrap(), Some(sink));
    writer.commit(&page(), UnixMs(9)).unwrap();
    assert_eq!(reader.load_coverage().unwrap(), Some(expected()));
    let claims = reader.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.seq).collect::<Vec<_>>(), [Seq(1)]);
    writer.settle(&[settled(sink, 1, DELIVERED)], UnixMs(10)).unwrap();
    assert!(reader.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap().is_empty());
}

fn a_transaction_that_fails_changes_nothing(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    register(&mut *spool, &["crm"]);
    let mut changes = page();
    // The sequence number 1 is taken already, so the commit fails.
    changes.push(insert(1, "again", RowStanding::News, None));
    assert!(spool.commit(&changes, UnixMs(9)).is_err());
    assert_eq!(spool.load_coverage().unwrap(), None);
    assert_eq!(spool.known(&["m1", "m2"]).unwrap(), [None, None]);
    assert_eq!((spool.last_released().unwrap(), spool.account().unwrap().start), (0, None));
    spool.commit(&page(), UnixMs(9)).unwrap();
    assert_eq!(spool.load_coverage().unwrap(), Some(expected()));
}

fn changes_by_others_are_noticed_and_own_changes_are_not(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    assert!(!spool.changed_by_others().unwrap());
    let sink = register(&mut *spool, &["a"])[0];
    assert!(!spool.changed_by_others().unwrap());
    let mut other = scratch.open();
    other.pause(sink, crate::domain::PauseReason::Operator, UnixMs(1)).unwrap();
    assert!(spool.changed_by_others().unwrap());
    assert!(!spool.changed_by_others().unwrap());
}

fn a_delivery_waits_fails_and_ends(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let sink = register(&mut *spool, &["crm"])[0];
    spool.commit(&[insert(1, "a", RowStanding::News, None), release(&[1])], UnixMs(1)).unwrap();
    spool.commit(&[insert(2, "b", RowStanding::News, None), release(&[2])], UnixMs(1)).unwrap();
    assert_eq!(spool.waiting(sink).unwrap(), WaitingCounts { fresh: 2, retry: 0, dead: 0 });
    let one = ClaimLimits { rows: 1, ..ALL };
    let claimed = spool.claim_fresh(sink, DeliveryClass::Live, one, &|seq| seq == Seq(1)).unwrap();
    assert_eq!(claimed.iter().map(|claim| claim.seq).collect::<Vec<_>>(), [Seq(2)], "m1 is claimed already");
    assert_eq!(&*claimed[0].raw, r#"{"id":"m2","body":"b"}"#);
    let health = HealthRecord { busy_until: Some(UnixMs(50)), failures: 3 };
    let failed = Settlement { health: Some(health), ..settled(sink, 1, retry(90)) };
    spool.settle(&[failed, settled(sink, 2, retry(80))], UnixMs(40)).unwrap();
    let due = |spool: &Spool, now| -> Vec<(Seq, Option<UnixMs>)> {
        let claims = spool.claim_retries(sink, UnixMs(now), ALL, &|_| false).unwrap();
        claims.into_iter().map(|claim| (claim.seq, claim.first_attempt)).collect()
    };
    assert_eq!(due(&*spool, 79), []);
    assert_eq!(due(&*spool, 90), [(Seq(2), Some(UnixMs(2))), (Seq(1), Some(UnixMs(1)))], "longest overdue first");
    assert_eq!(
        spool.bring_forward(sink, UnixMs(2), UnixMs(60), 10).unwrap(),
        1,
        "m1 was first attempted before the outage"
    );
    assert_eq!(due(&*spool, 60), [(Seq(2), Some(UnixMs(2)))]);
    // A later settlement does not change the recorded time of the first attempt.
    let later = Settlement { attempts: 2, first_attempt: UnixMs(60), ..settled(sink, 2, dead()) };
    spool.settle(&[later, settled(sink, 1, DELIVERED)], UnixMs(61)).unwrap();
    assert_eq!(spool.waiting(sink).unwrap(), WaitingCounts { fresh: 0, retry: 0, dead: 1 });
    let letters = spool.dead_letters(&DeadLetterSelection::default(), None, 10).unwrap();
    assert_eq!(
        letters.iter().map(|letter| (letter.attempts, letter.first_attempt)).collect::<Vec<_>>(),
        [(2, Some(UnixMs(2)))]
    );
    let registered = spool.register_sinks(&[SinkSetup::new("crm")], UnixMs::MAX, UnixMs(70)).unwrap();
    assert_eq!(registered[0].health, health);
}

fn the_text_goes_when_the_last_sink_has_the_message(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    spool.erase_on_delivery();
    let sinks = register(&mut *spool, &["a", "b"]);
    let changes = (1..=3).map(|seq| insert(seq, "x", RowStanding::News, None));
    spool.commit(&changes.chain([release(&[1, 2, 3])]).collect::<Vec<_>>(), UnixMs(1)).unwrap();
    let left = |spool: &Spool| (texts(spool, 1..=3), (1..=3).map(|seq| deliveries(spool, seq).len()).sum::<usize>());
    spool.settle(&[settled(sinks[0], 1, DELIVERED), settled(sinks[0], 2, dead())], UnixMs(2)).unwrap();
    assert_eq!(left(&*spool), (vec![1, 2, 3], 6), "all three still wait for sink b");
    spool.settle(&[settled(sinks[1], 1, DELIVERED), settled(sinks[1], 2, DELIVERED)], UnixMs(3)).unwrap();
    assert_eq!(left(&*spool), (vec![2, 3], 4), "m2 stays: it is a dead letter");
    let both = [settled(sinks[0], 3, DELIVERED), settled(sinks[1], 3, DELIVERED)];
    spool.settle(&both, UnixMs(3)).unwrap();
    assert_eq!(left(&*spool), (vec![2], 2), "both deliveries of m3 were settled in one transaction");
    assert_eq!(spool.known(&["m1", "m2", "m3"]).unwrap().iter().flatten().count(), 3, "ids stay");
}

on_every_backend![
    what_was_written_is_there_when_the_state_is_opened_again,
    another_connection_sees_at_once_what_was_written,
    a_transaction_that_fails_changes_nothing,
    changes_by_others_are_noticed_and_own_changes_are_not,
    a_delivery_waits_fails_and_ends,
    the_text_goes_when_the_last_sink_has_the_message,
];
