//! Tests of the room that a state takes on disk.

use super::*;

/// Makes a state with sinks `a` and `b`.
fn fresh() -> (tempfile::TempDir, SqliteBackend, [SinkId; 2]) {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let sinks = register(&mut spool, &["a", "b"]);
    (dir, spool, [sinks[0], sinks[1]])
}

/// Stores and releases the messages 1 to `to`.
fn release_all(spool: &mut SqliteBackend, to: i64) {
    for seqs in (1..=to).collect::<Vec<_>>().chunks(200) {
        let mut changes: Vec<PollChange> =
            seqs.iter().map(|seq| insert(*seq, &"x".repeat(300), RowStanding::News, None)).collect();
        changes.push(release(seqs));
        spool.commit(&changes, UnixMs(seqs[0])).unwrap();
    }
}

fn count(spool: &SqliteBackend, sql: &str) -> i64 {
    spool.connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn unused_room_is_given_back_to_the_disk() {
    let (dir, mut spool, [a, b]) = fresh();
    release_all(&mut spool, 20_000);
    let full = spool.disk_usage().unwrap();
    assert_eq!(full.unused, 0);
    assert!(full.free > 0 && full.used > 8 << 20, "{full:?}");
    for chunk in (1..=20_000).collect::<Vec<i64>>().chunks(1000) {
        let all: Vec<Settlement> =
            chunk.iter().flat_map(|seq| [settled(a, *seq, DELIVERED), settled(b, *seq, DELIVERED)]).collect();
        spool.settle(&all, UnixMs(30_000)).unwrap();
    }
    let mut after = Some(Seq(0));
    while let Some(seq) = after {
        after = spool.remove_settled(RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None }, seq).unwrap().next;
    }
    let emptied = spool.disk_usage().unwrap();
    assert!(emptied.unused > 5 << 20 && emptied.used < full.used, "{emptied:?}");
    while spool.shrink_file(false).unwrap() {}
    let given = spool.disk_usage().unwrap();
    assert!(given.unused < 5 << 20, "{given:?}");
    while spool.shrink_file(true).unwrap() {}
    let all = spool.disk_usage().unwrap();
    assert_eq!(all.unused, 0);
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert_eq!(size("state.db-wal"), 0, "the journal is emptied too");
    assert_eq!(size("state.db"), all.used);
    let ids: Vec<String> = (1..=20_000).map(|seq| format!("m{seq}")).collect();
    let known = spool.known(&ids.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(known.iter().all(Option::is_some), "ids are still known");
}

/// Simulates three days with one message a minute. Each message is delivered at once, and maintenance runs after it.
/// Delivered messages are kept for a quarter of a day, and ids for one day. `JOLTSMS_RELAY_DAYS` sets another number of
/// days; messages are then kept for 7 days and ids for 30 days.
#[test]
fn at_a_message_a_minute_the_state_does_not_grow() {
    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;
    let days: Option<i64> = std::env::var("JOLTSMS_RELAY_DAYS").ok().map(|days| days.parse().unwrap());
    let (days, every, keep, ids) = days.map_or((3, DAY / 4, DAY / 4, DAY), |days| (days, 30 * DAY, 7 * DAY, 30 * DAY));
    let (dir, mut spool, [a, b]) = fresh();
    let (mut dropped_to, mut forgotten_to, mut sizes) = (Seq(0), ForgottenUpTo::START, Vec::new());
    for number in 1..=days * 1440 {
        let now = UnixMs(number * MINUTE);
        let PollChange::Insert(mut message) = insert(number, &"x".repeat(340), RowStanding::News, None) else {
            unreachable!()
        };
        (message.row.id, message.row.time) = (format!("{number:036}"), now);
        let changes = [PollChange::Insert(message), release(&[number]), PollChange::Advance(marks(number))];
        spool.commit(&changes, now).unwrap();
        spool.settle(&[settled(a, number, DELIVERED), settled(b, number, DELIVERED)], now).unwrap();
        // Once an hour a round of maintenance begins again with the oldest message.
        if number % 60 == 0 {
            (dropped_to, forgotten_to) = (Seq(0), ForgottenUpTo::START);
        }
        let (mut drops, mut forgets) = (Some(dropped_to), Some(forgotten_to));
        while drops.is_some() || forgets.is_some() {
            if let Some(after) = drops {
                let cutoffs = RetentionCutoffs { delivered: Some(UnixMs(now.0 - keep)), dead: None };
                drops = spool.remove_settled(cutoffs, after).unwrap().next;
                dropped_to = drops.unwrap_or(dropped_to);
            }
            if let Some(after) = forgets {
                forgets = spool.forget_ids(UnixMs(now.0 - ids), 200, after).unwrap().next;
                forgotten_to = forgets.unwrap_or(forgotten_to);
            }
        }
        while spool.shrink_file(false).unwrap() {}
        if now.0 % every == 0 {
            let used = spool.disk_usage().unwrap().used - std::fs::metadata(spool.journal()).unwrap().len();
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
    // The first sizes are left out, because the state has its full size only when old ids begin to be removed.
    let settled = &sizes[sizes.len() / 3 + 1..];
    let (least, most) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
    assert!(most - least <= most / 20, "the state grows: {sizes:?}");
}
