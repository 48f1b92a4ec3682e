//! Tests of reading what arrives, and of keeping texts for those who read.

use super::*;

fn places(spool: &Spool, after: i64) -> Vec<(i64, String)> {
    spool.arrivals(after, 10).unwrap().into_iter().map(|arrival| (arrival.place, arrival.id)).collect()
}

fn named(places: &[(i64, &str)]) -> Vec<(i64, String)> {
    places.iter().map(|(place, id)| (*place, (*id).to_owned())).collect()
}

fn news_arrives_in_the_order_of_release(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let mut reader = scratch.open();
    reader.changed_by_others().unwrap();
    let held = insert(1, "held", RowStanding::News, Some(WalkId(1)));
    let seed = insert(2, "seed", RowStanding::Seed, None);
    let news = [insert(4, "b", RowStanding::News, None), insert(3, "a", RowStanding::News, None)];
    let ops: Vec<StoreOp> = [held, seed].into_iter().chain(news).chain([release(&[4, 3])]).collect();
    spool.commit(&ops, UnixMs(0)).unwrap();
    assert!(reader.changed_by_others().unwrap() && !reader.changed_by_others().unwrap());
    assert_eq!(places(&*reader, 0), named(&[(1, "m3"), (2, "m4")]));
    assert_eq!(places(&*reader, 1), named(&[(2, "m4")]));
    assert_eq!(reader.arrivals(0, 1).unwrap()[0].raw.as_deref(), Some(r#"{"id":"m3","body":"a"}"#));
    spool.commit(&[StoreOp::ReleaseHeld { walk: WalkId(1), class: DeliveryClass::Backfill }], UnixMs(0)).unwrap();
    assert_eq!(places(&*reader, 2), named(&[(3, "m1")]));
    for (since, place) in [(0, 0), (3000, 0), (3001, 1), (5000, 3)] {
        assert_eq!(reader.place_before(UnixMs(since)).unwrap(), place, "{since}");
    }
    let mut ids = reader.ids_since(UnixMs(2000)).unwrap();
    ids.sort_unstable();
    assert_eq!(ids, ["m2", "m3", "m4"]);
}

fn texts_are_kept_for_readers_until_retention_removes_them(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let sink = register(&mut *spool, &["crm"])[0];
    spool.erase_on_delivery();
    for (seq, keep) in [(1, false), (2, true), (3, false)] {
        spool.keep_for_readers(keep);
        spool.commit(&[insert(seq, "hello", RowStanding::News, None), release(&[seq])], UnixMs(0)).unwrap();
        spool.settle(&[settled(sink, seq, DELIVERED)], UnixMs(100)).unwrap();
    }
    assert_eq!(texts(&*spool, 1..=3), [2]);
    let cutoffs = |delivered| RetentionCutoffs { delivered: Some(UnixMs(delivered)), dead: None };
    spool.remove_settled(cutoffs(100), Seq(0)).unwrap();
    assert_eq!(texts(&*spool, 1..=3), [2], "it was delivered at 100");
    spool.remove_settled(cutoffs(101), Seq(0)).unwrap();
    assert_eq!(texts(&*spool, 1..=3), [0; 0]);
}

on_every_backend![news_arrives_in_the_order_of_release, texts_are_kept_for_readers_until_retention_removes_them,];
