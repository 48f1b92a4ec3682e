//! Tests of retention: which messages are removed, when they are removed, and which messages stay.

use super::*;

/// Makes a state with sinks `a` and `b`.
fn fresh(scratch: &dyn Scratch) -> (Box<Spool>, [SinkId; 2]) {
    let mut spool = scratch.open();
    let sinks = register(&mut *spool, &["a", "b"]);
    (spool, [sinks[0], sinks[1]])
}

/// Stores and releases the messages `from` to `to`.
fn release_all(spool: &mut Spool, from: i64, to: i64) {
    for seqs in (from..=to).collect::<Vec<_>>().chunks(200) {
        let mut changes: Vec<PollChange> =
            seqs.iter().map(|seq| insert(*seq, &"x".repeat(300), RowStanding::News, None)).collect();
        changes.push(release(seqs));
        spool.commit(&changes, UnixMs(seqs[0])).unwrap();
    }
}

/// Counts how many of the messages `m1` to `m{to}` are known.
fn known(spool: &Spool, to: i64) -> usize {
    let ids: Vec<String> = (1..=to).map(|seq| format!("m{seq}")).collect();
    let known = spool.known(&ids.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    known.into_iter().flatten().count()
}

fn a_text_stays_while_any_delivery_is_kept(scratch: &dyn Scratch) {
    let (mut spool, [a, b]) = fresh(scratch);
    release_all(&mut *spool, 1, 8);
    spool
        .settle(
            &[
                // m1: both sinks have it. m2: `a` has it, and it waits for `b`. m3: `a` has it, and `b` tries again.
                // m4: a dead letter of both sinks.
                settled(a, 1, DELIVERED),
                settled(b, 1, DELIVERED),
                settled(a, 2, DELIVERED),
                settled(a, 3, DELIVERED),
                settled(b, 3, retry(9)),
                settled(a, 4, dead()),
                settled(b, 4, dead()),
                // m5: `a` has it, and it is a dead letter of `b`.
                settled(a, 5, DELIVERED),
                settled(b, 5, dead()),
            ],
            UnixMs(100),
        )
        .unwrap();
    // m6: both sinks have it, but only since the time 200. m7 and m8 wait.
    spool.settle(&[settled(a, 6, DELIVERED), settled(b, 6, DELIVERED)], UnixMs(200)).unwrap();
    let cutoffs = |delivered, dead| RetentionCutoffs { delivered: Some(UnixMs(delivered)), dead: Some(UnixMs(dead)) };

    assert_eq!(
        spool.remove_settled(cutoffs(100, 100), Seq(0)).unwrap(),
        RemovedMessages::default(),
        "nothing is removed before its time"
    );
    let dropped = spool.remove_settled(RetentionCutoffs { delivered: Some(UnixMs(101)), dead: None }, Seq(0)).unwrap();
    assert_eq!(
        (dropped, texts(&*spool, 1..=8)),
        (RemovedMessages { messages: 1, dead: 0, next: None }, vec![2, 3, 4, 5, 6, 7, 8])
    );
    let dropped = spool.remove_settled(cutoffs(0, 101), Seq(0)).unwrap();
    assert_eq!(
        (dropped, texts(&*spool, 1..=8)),
        (RemovedMessages { messages: 1, dead: 3, next: None }, vec![2, 3, 5, 6, 7, 8]),
        "the dead letters of m4 and m5 are removed; m5 keeps its text, because its delivery for `a` is kept"
    );
    spool.remove_settled(cutoffs(201, 201), Seq(0)).unwrap();
    assert_eq!(texts(&*spool, 1..=8), [2, 3, 7, 8]);
    assert_eq!((1..=8).map(|seq| deliveries(&*spool, seq).len()).sum::<usize>(), 8, "of m2, m3, m7 and m8");
    assert_eq!(known(&*spool, 8), 8, "ids stay");
}

fn unreadable_rows_are_kept_as_long_as_dead_letters(scratch: &dyn Scratch) {
    let (mut spool, _) = fresh(scratch);
    spool.commit(&[insert(1, "", RowStanding::Unreadable, None)], UnixMs(10)).unwrap();
    spool.remove_settled(RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None }, Seq(0)).unwrap();
    assert_eq!(texts(&*spool, [1]), [1]);
    spool.remove_settled(RetentionCutoffs { delivered: None, dead: Some(UnixMs(11)) }, Seq(0)).unwrap();
    assert_eq!(texts(&*spool, [1]), Vec::<i64>::new());
}

fn ids_below_the_watermark_are_forgotten_unless_they_are_new_or_have_a_text(scratch: &dyn Scratch) {
    let (mut spool, [a, b]) = fresh(scratch);
    release_all(&mut *spool, 1, 1200);
    let all: Vec<Settlement> =
        (1..=1200).flat_map(|seq| [settled(a, seq, DELIVERED), settled(b, seq, DELIVERED)]).collect();
    // m1 waits for both sinks.
    spool.settle(&all[2..], UnixMs(2000)).unwrap();
    let steps = |spool: &mut Spool, watermark: i64, keep: u32| {
        let (mut place, mut forgotten, mut steps) = (Some(ForgottenUpTo::START), 0, 0);
        while let Some(after) = place {
            let found = spool.forget_ids(UnixMs(watermark), keep, after).unwrap();
            (place, forgotten, steps) = (found.next, forgotten + found.ids, steps + 1);
        }
        (forgotten, steps)
    };
    assert_eq!(steps(&mut *spool, i64::MAX, 100), (0, 3), "no text was removed yet");
    let cutoffs = RetentionCutoffs { delivered: Some(UnixMs(3000)), dead: None };
    let mut after = Some(Seq(0));
    while let Some(seq) = after {
        after = spool.remove_settled(cutoffs, seq).unwrap().next;
    }
    assert_eq!(texts(&*spool, 1..=1200), [1]);
    assert_eq!(steps(&mut *spool, 501_000, 100), (499, 2), "m2 to m500");
    assert_eq!(steps(&mut *spool, i64::MAX, 100).0, 600, "all but the newest 100");
    assert_eq!(known(&*spool, 1100), 1, "of the older ones only m1, which waits");
    assert_eq!(known(&*spool, 1200), 101);
}

on_every_backend![
    a_text_stays_while_any_delivery_is_kept,
    unreadable_rows_are_kept_as_long_as_dead_letters,
    ids_below_the_watermark_are_forgotten_unless_they_are_new_or_have_a_text,
];
