//! Tests of the order of release: which place each message gets in it.

use super::*;

const GAP: WalkId = WalkId(1);

fn news(seq: i64, held_by: Option<WalkId>) -> PollChange {
    insert(seq, "hello", RowStanding::News, held_by)
}

/// Makes a message with the time of the message `other`. If `seq` is greater than `other`, the new message is further
/// down the page.
fn at_the_time_of(other: i64, seq: i64) -> PollChange {
    let PollChange::Insert(mut inserted) = news(seq, None) else { unreachable!() };
    inserted.row.time = UnixMs(other * 1000);
    PollChange::Insert(inserted)
}

/// Returns the messages in the order of release.
fn order(spool: &Spool, sink: SinkId) -> Vec<i64> {
    spool.claim_fresh(sink, DeliveryClass::Live, ALL, &|_| false).unwrap().iter().map(|claim| claim.seq.0).collect()
}

fn opened(scratch: &dyn Scratch) -> (Box<Spool>, SinkId) {
    let mut spool = scratch.open();
    let sink = register(&mut *spool, &["crm"])[0];
    (spool, sink)
}

fn rows() -> [PollChange; 4] {
    [news(3, None), news(2, None), at_the_time_of(2, 4), news(1, None)]
}

fn messages_are_released_oldest_first_and_upwards_on_the_page(scratch: &dyn Scratch) {
    let (mut spool, sink) = opened(scratch);
    spool.commit(&rows().into_iter().chain([release(&[3, 2, 4, 1])]).collect::<Vec<_>>(), UnixMs(0)).unwrap();
    assert_eq!(order(&*spool, sink), [1, 4, 2, 3]);
}

fn the_order_is_the_same_if_messages_are_released_later(scratch: &dyn Scratch) {
    let (mut spool, sink) = opened(scratch);
    spool.commit(&rows(), UnixMs(0)).unwrap();
    spool.commit(&[release(&[3, 2, 4, 1])], UnixMs(0)).unwrap();
    assert_eq!(order(&*spool, sink), [1, 4, 2, 3]);
}

fn the_rows_that_a_gap_held_come_before_the_rows_of_a_later_release(scratch: &dyn Scratch) {
    let (mut spool, sink) = opened(scratch);
    spool.commit(&[news(5, Some(GAP)), news(4, Some(GAP))], UnixMs(0)).unwrap();
    let held = PollChange::ReleaseHeld { walk: GAP, class: DeliveryClass::Live };
    spool.commit(&[news(1, None), held, release(&[1])], UnixMs(0)).unwrap();
    assert_eq!(order(&*spool, sink), [4, 5, 1]);
}

fn the_releases_of_a_commit_follow_each_other_in_their_order(scratch: &dyn Scratch) {
    let (mut spool, sink) = opened(scratch);
    spool.commit(&[news(9, None)], UnixMs(0)).unwrap();
    let changes = [news(2, None), news(1, None), release(&[2]), release(&[9, 1]), news(3, None), release(&[3])];
    spool.commit(&changes, UnixMs(0)).unwrap();
    assert_eq!(order(&*spool, sink), [2, 1, 9, 3]);
}

fn a_message_that_came_too_late_is_kept_for_a_replay_that_names_it(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let sinks = register(&mut *spool, &["crm", "ops"]);
    let changes = [
        insert(1, "news", RowStanding::News, None),
        insert(2, "late", RowStanding::BelowWatermark, None),
        insert(3, "seed", RowStanding::Seed, None),
        release(&[1]),
    ];
    spool.commit(&changes, UnixMs(10)).unwrap();
    let named = ReplaySelection {
        sinks,
        new: false,
        without_events: Vec::new(),
        ids: ["m2", "m3"].map(str::to_owned).to_vec(),
        since: UnixMs::MIN,
        until: UnixMs::MAX,
        filter: None,
        failed: false,
    };
    let all = ReplaySelection { ids: Vec::new(), new: true, ..named.clone() };
    let last = spool.last_released().unwrap();
    assert_eq!(spool.replayable(&all, 0, last).unwrap().found, [], "m1 waits already, and m2 must be named");
    let found = spool.replayable(&named, 0, last).unwrap().found;
    let expected = [(Seq(2), PastDelivery::Never); 2];
    assert_eq!(found.iter().map(|found| (found.seq, found.before)).collect::<Vec<_>>(), expected);
    let replays = spool.replay_count().unwrap();
    assert_eq!(spool.replay(&found).unwrap(), 2);
    assert_ne!(spool.replay_count().unwrap(), replays, "the relay notices that it has to decide");
    assert_eq!(spool.last_released().unwrap(), last + 1);
    assert_eq!(spool.decide(None, UndecidedScope::All).unwrap().0, 1, "each call decides for one sink");
    let claims = spool.claim_fresh(found[0].sink, DeliveryClass::Backfill, ALL, &|_| false).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["m2"]);
    assert_eq!(spool.replayable(&named, 0, last + 1).unwrap().found, [], "m2 waits already, so it is not sent twice");

    // The text of a message that came too late is kept as long as that of a delivered message.
    let changes = [insert(4, "late", RowStanding::BelowWatermark, None)];
    spool.commit(&changes, UnixMs(20)).unwrap();
    let cutoffs = |at| RetentionCutoffs { delivered: Some(UnixMs(at)), dead: None };
    assert_eq!(spool.remove_settled(cutoffs(20), Seq(0)).unwrap().messages, 0);
    assert_eq!(spool.remove_settled(cutoffs(21), Seq(0)).unwrap().messages, 1);
}

on_every_backend![
    messages_are_released_oldest_first_and_upwards_on_the_page,
    the_order_is_the_same_if_messages_are_released_later,
    the_rows_that_a_gap_held_come_before_the_rows_of_a_later_release,
    the_releases_of_a_commit_follow_each_other_in_their_order,
    a_message_that_came_too_late_is_kept_for_a_replay_that_names_it,
];
