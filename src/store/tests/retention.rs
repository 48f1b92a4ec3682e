//! What goes, when, and what stays.

use super::*;

/// A state with sinks `a` and `b`.
fn fresh() -> (tempfile::TempDir, Spool, [SinkId; 2]) {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    let sinks = register(&mut spool, &["a", "b"]);
    (dir, spool, [sinks[0], sinks[1]])
}

/// Messages `from` to `to`, released.
fn release(spool: &mut Spool, from: i64, to: i64) {
    for seqs in (from..=to).collect::<Vec<_>>().chunks(200) {
        let mut ops: Vec<StoreOp> =
            seqs.iter().map(|seq| insert(*seq, &"x".repeat(300), RowStanding::News, None)).collect();
        ops.push(StoreOp::Release { rows: seqs.iter().map(|seq| Seq(*seq)).collect(), class: Class::Live });
        spool.commit(&ops, UnixMs(seqs[0])).unwrap();
    }
}

fn count(spool: &Spool, sql: &str) -> i64 {
    spool.connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn texts(spool: &Spool) -> Vec<i64> {
    let mut statement = spool.connection.prepare("SELECT seq FROM message WHERE raw IS NOT NULL ORDER BY seq").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_waits_anywhere_stays_and_what_is_over_everywhere_goes() {
    let (_dir, mut spool, [a, b]) = fresh();
    release(&mut spool, 1, 8);
    let later = Outcome::Retry { due: UnixMs(9), status: None, answer: String::new() };
    spool
        .settle(
            &[
                // 1: both have it. 2: one has it, the other waits. 3: one is to be tried again. 4: both dead.
                settled(a, 1, DELIVERED),
                settled(b, 1, DELIVERED),
                settled(a, 2, DELIVERED),
                settled(a, 3, DELIVERED),
                settled(b, 3, later),
                settled(a, 4, dead()),
                settled(b, 4, dead()),
                // 5: one has it, one is dead.
                settled(a, 5, DELIVERED),
                settled(b, 5, dead()),
            ],
            UnixMs(100),
        )
        .unwrap();
    // 6: both have it since later on. 7 and 8 wait.
    spool.settle(&[settled(a, 6, DELIVERED), settled(b, 6, DELIVERED)], UnixMs(200)).unwrap();
    let cutoffs = |delivered, dead| Cutoffs { delivered: Some(UnixMs(delivered)), dead: Some(UnixMs(dead)) };

    assert_eq!(spool.drop_settled(cutoffs(100, 100), Seq(0)).unwrap(), Dropped::default(), "not before its time");
    let dropped = spool.drop_settled(Cutoffs { delivered: Some(UnixMs(101)), dead: None }, Seq(0)).unwrap();
    assert_eq!((dropped, texts(&spool)), (Dropped { messages: 1, dead: 0, next: None }, vec![2, 3, 4, 5, 6, 7, 8]));
    let dropped = spool.drop_settled(cutoffs(0, 101), Seq(0)).unwrap();
    assert_eq!(
        (dropped, texts(&spool)),
        (Dropped { messages: 1, dead: 3, next: None }, vec![2, 3, 5, 6, 7, 8]),
        "dead letters go by themselves, and with the last of them the message that nobody has"
    );
    spool.drop_settled(cutoffs(201, 201), Seq(0)).unwrap();
    assert_eq!(texts(&spool), [2, 3, 7, 8]);
    assert_eq!(count(&spool, "SELECT count(*) FROM delivery"), 8, "of those only");
    assert_eq!(count(&spool, "SELECT count(*) FROM message"), 8, "ids stay");
    drop(spool);
}

#[test]
fn rows_that_could_not_be_read_go_like_dead_letters() {
    let (_dir, mut spool, _) = fresh();
    spool.commit(&[insert(1, "", RowStanding::Unreadable, None)], UnixMs(10)).unwrap();
    spool.drop_settled(Cutoffs { delivered: Some(UnixMs::MAX), dead: None }, Seq(0)).unwrap();
    assert_eq!(texts(&spool), [1]);
    spool.drop_settled(Cutoffs { delivered: None, dead: Some(UnixMs(11)) }, Seq(0)).unwrap();
    assert_eq!(texts(&spool), Vec::<i64>::new());
}

#[test]
fn ids_go_below_the_watermark_after_their_messages_save_the_newest() {
    let (_dir, mut spool, [a, b]) = fresh();
    release(&mut spool, 1, 1200);
    let all: Vec<Settlement> =
        (1..=1200).flat_map(|seq| [settled(a, seq, DELIVERED), settled(b, seq, DELIVERED)]).collect();
    // The first one is not settled anywhere.
    spool.settle(&all[2..], UnixMs(2000)).unwrap();
    let steps = |spool: &mut Spool, watermark: i64, keep: u32| {
        let (mut place, mut forgotten, mut steps) = (Some(Place::START), 0, 0);
        while let Some(after) = place {
            let found = spool.forget_ids(UnixMs(watermark), keep, after).unwrap();
            (place, forgotten, steps) = (found.next, forgotten + found.ids, steps + 1);
        }
        (forgotten, steps)
    };
    assert_eq!(steps(&mut spool, i64::MAX, 100), (0, 3), "no text has gone yet");
    let cutoffs = Cutoffs { delivered: Some(UnixMs(3000)), dead: None };
    let mut after = Some(Seq(0));
    while let Some(seq) = after {
        after = spool.drop_settled(cutoffs, seq).unwrap().next;
    }
    assert_eq!(texts(&spool), [1]);
    assert_eq!(steps(&mut spool, 501_000, 100), (499, 2), "2 to 500");
    assert_eq!(steps(&mut spool, i64::MAX, 100).0, 600, "all but the newest 100");
    assert_eq!(count(&spool, "SELECT min(seq) FROM message WHERE seq > 1"), 1101);
}

#[test]
fn what_is_not_used_any_more_is_given_back() {
    let (dir, mut spool, [a, b]) = fresh();
    release(&mut spool, 1, 20_000);
    let full = spool.space().unwrap();
    assert_eq!(full.unused, 0);
    assert!(full.free > 0 && full.used > 8 << 20, "{full:?}");
    for chunk in (1..=20_000).collect::<Vec<i64>>().chunks(1000) {
        let all: Vec<Settlement> =
            chunk.iter().flat_map(|seq| [settled(a, *seq, DELIVERED), settled(b, *seq, DELIVERED)]).collect();
        spool.settle(&all, UnixMs(30_000)).unwrap();
    }
    let mut after = Some(Seq(0));
    while let Some(seq) = after {
        after = spool.drop_settled(Cutoffs { delivered: Some(UnixMs::MAX), dead: None }, seq).unwrap().next;
    }
    let emptied = spool.space().unwrap();
    assert!(emptied.unused > 5 << 20 && emptied.used < full.used, "{emptied:?}");
    while spool.give_back(false).unwrap() {}
    let given = spool.space().unwrap();
    assert!(given.unused < 5 << 20, "{given:?}");
    while spool.give_back(true).unwrap() {}
    let all = spool.space().unwrap();
    assert_eq!(all.unused, 0);
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert_eq!(size("state.db-wal"), 0, "the journal is emptied too");
    assert_eq!(size("state.db"), all.used);
    let ids: Vec<String> = (1..=20_000).map(|seq| format!("m{seq}")).collect();
    let known = spool.known(ids.iter().map(String::as_str)).unwrap();
    assert!(known.iter().all(Option::is_some), "ids are still known");
}

/// A message a minute, delivered at once, with the housekeeping of each minute. Three days, of which a quarter of one is
/// kept and ids for one; `JOLTSMS_RELAY_DAYS` makes it longer, with the limits that the relay has.
#[test]
fn at_a_message_a_minute_the_state_does_not_grow() {
    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;
    let days: Option<i64> = std::env::var("JOLTSMS_RELAY_DAYS").ok().map(|days| days.parse().unwrap());
    let (days, month, keep, ids) = days.map_or((3, DAY / 4, DAY / 4, DAY), |days| (days, 30 * DAY, 7 * DAY, 30 * DAY));
    let (dir, mut spool, [a, b]) = fresh();
    let (mut dropped_to, mut forgotten_to, mut sizes) = (Seq(0), Place::START, Vec::new());
    for number in 1..=days * 1440 {
        let now = UnixMs(number * MINUTE);
        let StoreOp::Insert(mut message) = insert(number, &"x".repeat(340), RowStanding::News, None) else {
            unreachable!()
        };
        (message.row.id, message.row.time) = (format!("{number:036}"), now);
        let ops = [
            StoreOp::Insert(message),
            StoreOp::Release { rows: vec![Seq(number)], class: Class::Live },
            StoreOp::Advance(marks(number)),
        ];
        spool.commit(&ops, now).unwrap();
        spool.settle(&[settled(a, number, DELIVERED), settled(b, number, DELIVERED)], now).unwrap();
        if number % 60 == 0 {
            (dropped_to, forgotten_to) = (Seq(0), Place::START);
        }
        let (mut drops, mut forgets) = (Some(dropped_to), Some(forgotten_to));
        while drops.is_some() || forgets.is_some() {
            if let Some(after) = drops {
                let cutoffs = Cutoffs { delivered: Some(UnixMs(now.0 - keep)), dead: None };
                drops = spool.drop_settled(cutoffs, after).unwrap().next;
                dropped_to = drops.unwrap_or(dropped_to);
            }
            if let Some(after) = forgets {
                forgets = spool.forget_ids(UnixMs(now.0 - ids), 200, after).unwrap().next;
                forgotten_to = forgets.unwrap_or(forgotten_to);
            }
        }
        while spool.give_back(false).unwrap() {}
        if now.0 % month == 0 {
            let used = spool.space().unwrap().used - std::fs::metadata(spool.journal()).unwrap().len();
            let file = std::fs::metadata(dir.path().join("state.db")).unwrap().len();
            let (texts, known) = (
                count(&spool, "SELECT count(*) FROM message WHERE raw IS NOT NULL"),
                count(&spool, "SELECT count(*) FROM message"),
            );
            println!(
                "{}: {number} messages, {used} bytes in pages, {file} in the file, {texts} texts, {known} ids",
                sizes.len() + 1
            );
            sizes.push(used);
        }
    }
    // Ids are forgotten after the first month of twelve: by then it is as full as it gets.
    let settled = &sizes[sizes.len() / 3 + 1..];
    let (least, most) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
    assert!(most - least <= most / 20, "it grows: {sizes:?}");
}
