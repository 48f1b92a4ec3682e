//! Tests of reading arrivals, and of keeping texts for readers.

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
    let changes: Vec<PollChange> = [held, seed].into_iter().chain(news).chain([release(&[4, 3])]).collect();
    spool.commit(&changes, UnixMs(0)).unwrap();
    assert!(reader.changed_by_others().unwrap() && !reader.changed_by_others().unwrap());
    assert_eq!(places(&*reader, 0), named(&[(1, "m3"), (2, "m4")]));
    assert_eq!(places(&*reader, 1), named(&[(2, "m4")]));
    assert_eq!(reader.arrivals(0, 1).unwrap()[0].raw.as_deref(), Some(r#"{"id":"m3","body":"a"}"#));
    spool.commit(&[PollChange::ReleaseHeld { walk: WalkId(1), class: DeliveryClass::Backfill }], UnixMs(0)).unwrap();
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
    assert_eq!(texts(&*spool, 1..=3), [2], "m2 was delivered at 100, and the cutoff is 100");
    spool.remove_settled(cutoffs(101), Seq(0)).unwrap();
    assert_eq!(texts(&*spool, 1..=3), [0; 0]);
}

/// If a relay ends while a reader runs, the texts that the relay kept for the reader stay in the state. Texts that the
/// relay removed may stay in the journal: SQLite removes the journal when the last connection is closed, and the reader
/// still has one.
#[test]
fn the_last_reader_erases_what_a_relay_kept_for_readers() {
    let dir = tempfile::tempdir().unwrap();
    let holds = |word: &[u8]| {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(word.len()).any(|window| window == word))
    };
    let mut spool = open(dir.path()).unwrap();
    let sink = register(&mut *spool, &["crm"])[0];
    spool.erase_on_delivery();
    spool.keep_for_readers(true);
    let changes = [insert(1, "text-one", RowStanding::News, None), insert(2, "text-two", RowStanding::News, None)];
    let changes: Vec<PollChange> =
        changes.into_iter().chain([insert(3, "text-three", RowStanding::News, None)]).collect();
    spool.commit(&changes, UnixMs(0)).unwrap();
    spool.commit(&[release(&[1, 2, 3])], UnixMs(0)).unwrap();
    spool.settle(&[settled(sink, 2, DELIVERED)], UnixMs(100)).unwrap();
    let reader = open_reader(dir.path()).unwrap().unwrap();
    spool.remove_settled(RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None }, Seq(0)).unwrap();
    spool.settle(&[settled(sink, 1, DELIVERED)], UnixMs(200)).unwrap();
    drop(spool);
    assert!(holds(b"text-one") && holds(b"text-two"));
    reader.arrivals(0, 10).unwrap();
    drop(reader);
    erase_delivered(dir.path()).unwrap();
    assert!(!holds(b"text-one") && !holds(b"text-two"));
    assert!(holds(b"text-three"), "m3 still waits, so its text stays");
    erase_delivered(&dir.path().join("missing")).unwrap();
}

on_every_backend![news_arrives_in_the_order_of_release, texts_are_kept_for_readers_until_retention_removes_them,];
