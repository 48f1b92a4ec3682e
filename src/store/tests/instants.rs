//! What is stored follows the relay's time when that is put right.

use super::*;
use crate::time::Rebase;

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_750_000_000_000;

type Row = (i64, Option<i64>, Option<i64>, Option<i64>);

/// A retry of message 1 that was first attempted, settled and is due then, and the message was stored at `stored`; what
/// becomes of these.
fn followed(stored: i64, first: i64, settled: i64, due: i64, rebase: Rebase) -> Row {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    let sink = register(&mut spool, &["a"])[0];
    let ops = [insert(1, "x", RowStanding::News, None), StoreOp::Release { rows: vec![Seq(1)], class: Class::Live }];
    spool.commit(&ops, UnixMs(stored)).unwrap();
    let outcome = Outcome::Retry { due: UnixMs(due), status: None, answer: String::new() };
    let settlement = Settlement { sink, seq: Seq(1), attempts: 1, first_attempt: UnixMs(first), outcome, health: None };
    spool.settle(&[settlement], UnixMs(settled)).unwrap();
    let mut after = Some(Seq(i64::MIN));
    while let Some(from) = after {
        after = spool.follow_rebase(rebase, rebase.now, from).unwrap();
    }
    let read = "SELECT stored_at, first_attempt, settled_at, due FROM delivery JOIN message USING (seq)";
    spool.connection.query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap()
}

fn rebase(was: i64, now: i64, from: i64) -> Rebase {
    Rebase { was: UnixMs(was), now: UnixMs(now), from: UnixMs(from), machine_ahead_ms: None }
}

fn row(stored: i64, first: i64, settled: i64, due: i64) -> Row {
    (stored, Some(first), Some(settled), Some(due))
}

#[test]
fn what_a_process_wrote_before_its_clock_was_set_right_moves_with_it() {
    // Eight days ahead, for 10 s.
    let (was, from) = (NOW + 8 * DAY, NOW + 8 * DAY - 10_000);
    let ahead = rebase(was, NOW, from);
    assert_eq!(
        followed(was - 9_000, was - 8_000, was - 7_000, was + 60_000, ahead),
        row(NOW - 9_000, NOW - 8_000, NOW - 7_000, NOW + 60_000)
    );
    // Ten days behind: what another process wrote stays as old as it is.
    let (was, from) = (NOW - 10 * DAY, NOW - 10 * DAY - 10_000);
    let behind = rebase(was, NOW, from);
    assert_eq!(
        followed(was - 9_000, was - 8_000, was - 7_000, was + 60_000, behind),
        row(NOW - 9_000, NOW - 8_000, NOW - 7_000, NOW + 60_000)
    );
    let older = NOW - 11 * DAY;
    assert_eq!(followed(older, older, older, older + 5, behind), row(older, older, older, older + 5));
    // Time that only one clock saw pass counts for nothing.
    let uncounted = Rebase { from: UnixMs::MIN, ..behind };
    assert_eq!(
        followed(older, older, older, older + 5, uncounted),
        row(NOW - DAY, NOW - DAY, NOW - DAY, NOW - DAY + 5)
    );
}

#[test]
fn what_lies_ahead_of_now_is_taken_for_now_and_waits_as_long_as_it_was_to_wait() {
    let later = NOW + 3 * DAY;
    let same = rebase(NOW, NOW, NOW - 1_000);
    assert_eq!(followed(later, later, later + 1_000, later + 61_000, same), row(NOW, NOW, NOW, NOW + 60_000));
    // A wait that is right stays.
    let right = row(NOW - 9, NOW - 8, NOW - 7, NOW + DAY / 2);
    assert_eq!(followed(NOW - 9, NOW - 8, NOW - 7, NOW + DAY / 2, same), right);
}

#[test]
fn pauses_and_silences_follow_too() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    register(&mut spool, &["a"]);
    let was = NOW + DAY;
    spool
        .connection
        .execute("UPDATE sink SET paused = 'gone', paused_at = ?1, busy_until = ?2", [was - 5, was + 60_000])
        .unwrap();
    assert!(spool.is_ahead_of(UnixMs(NOW)).unwrap());
    spool.follow_rebase(rebase(was, NOW, was - 10), UnixMs(NOW), Seq(i64::MIN)).unwrap();
    let read = || {
        spool.connection.query_row("SELECT paused_at, busy_until FROM sink", [], |row| Ok((row.get(0)?, row.get(1)?)))
    };
    assert_eq!(read().unwrap(), (NOW - 5, NOW + 60_000));
    assert!(!spool.is_ahead_of(UnixMs(NOW)).unwrap());
}

#[test]
fn the_first_failure_of_a_walk_follows_too() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    let was = NOW + DAY;
    let insert = "INSERT INTO walk (id, kind, streaming, trail, floor, opened_seq, opened_at, lowest, failures,
                  empty_answers, restarts, since) VALUES (?1, 'sweep', 0, '[]', 0, 0, 0, 0, 1, 0, 0, ?2)";
    let ahead = rebase(was, NOW, was - 10);
    let cases = [(was - 5, NOW - 5), (was + 7, NOW), (NOW - 60_000, NOW - 60_000)];
    for (id, (since, moved)) in (1..).zip(cases) {
        spool.connection.execute(insert, [id, since]).unwrap();
        assert_eq!(ahead.moved(UnixMs(since), UnixMs(NOW)), UnixMs(moved), "in memory");
    }
    assert!(spool.is_ahead_of(UnixMs(NOW)).unwrap());
    spool.follow_rebase(ahead, UnixMs(NOW), Seq(i64::MIN)).unwrap();
    let mut read = spool.connection.prepare("SELECT since FROM walk ORDER BY id").unwrap();
    let found: Vec<i64> = read.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(found, cases.map(|(_, moved)| moved));
}

#[test]
fn what_a_process_leaves_is_there_for_the_next() {
    let dir = scratch();
    let mut spool = Spool::open(dir.path()).unwrap();
    assert_eq!(spool.clock_memory().unwrap(), None);
    assert_eq!(spool.newest_instant().unwrap(), UnixMs::MIN);
    let memory = crate::time::ClockMemory { booted_at: 7, messages_ahead_ms: Some(-3), ..Default::default() };
    spool.remember_clock(&memory).unwrap();
    assert_eq!(spool.clock_memory().unwrap(), Some(memory));
    // What a later version may write in its place says nothing, and stops nothing.
    spool.connection.execute("UPDATE meta SET value = 'later' WHERE key = 'clock'", []).unwrap();
    assert_eq!(spool.clock_memory().unwrap(), None);
}
