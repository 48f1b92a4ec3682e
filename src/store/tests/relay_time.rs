//! Tests that stored instants are moved when the relay's time is corrected.

use super::*;
use crate::domain::PauseReason;
use crate::time::{ClockCorrection, ClockMemory};

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_750_000_000_000;

/// The instants of a message with one delivery: when it was stored, first attempted and settled, and when it is due.
type Instants = (UnixMs, Option<UnixMs>, Option<UnixMs>, Option<UnixMs>);

/// Stores a message with a failed delivery and moves its instants as `correction` says. Returns the instants
/// afterwards.
fn corrected_instants(
    scratch: &dyn Scratch,
    seq: i64,
    [stored, first, settled, due]: [i64; 4],
    correction: ClockCorrection,
) -> Instants {
    let mut spool = scratch.open();
    let sink = register(&mut *spool, &["a"])[0];
    spool.commit(&[insert(seq, "x", RowStanding::News, None), release(&[seq])], UnixMs(stored)).unwrap();
    let settlement = Settlement { first_attempt: UnixMs(first), ..super::settled(sink, seq, retry(due)) };
    spool.settle(&[settlement], UnixMs(settled)).unwrap();
    let mut after = Some(Seq(i64::MIN));
    while let Some(from) = after {
        after = spool.apply_correction(correction, correction.now, from).unwrap();
    }
    let trace = spool.trace(&format!("m{seq}")).unwrap().unwrap();
    let fate = &trace.deliveries[0];
    (trace.first_read, fate.first_attempt, fate.settled, fate.due)
}

fn correction(was: i64, now: i64, from: i64) -> ClockCorrection {
    ClockCorrection { was: UnixMs(was), now: UnixMs(now), from: UnixMs(from), machine_ahead_ms: None }
}

fn instants([stored, first, settled, due]: [i64; 4]) -> Instants {
    (UnixMs(stored), Some(UnixMs(first)), Some(UnixMs(settled)), Some(UnixMs(due)))
}

fn what_a_process_wrote_while_its_clock_was_ahead_moves_back(scratch: &dyn Scratch) {
    // The process began 10 s ago, and its clock has been eight days ahead since then.
    let (was, from) = (NOW + 8 * DAY, NOW + 8 * DAY - 10_000);
    let written = [was - 9_000, was - 8_000, was - 7_000, was + 60_000];
    assert_eq!(
        corrected_instants(scratch, 1, written, correction(was, NOW, from)),
        instants([NOW - 9_000, NOW - 8_000, NOW - 7_000, NOW + 60_000])
    );
}

fn what_a_process_wrote_while_its_clock_was_behind_moves_ahead(scratch: &dyn Scratch) {
    // The process began 10 s ago, and its clock has been ten days behind since then. Instants that an earlier process
    // wrote stay as they are.
    let (was, from) = (NOW - 10 * DAY, NOW - 10 * DAY - 10_000);
    let older = NOW - 11 * DAY;
    let before = [older, older, older, older + 5];
    assert_eq!(corrected_instants(scratch, 1, before, correction(was, NOW, from)), instants(before));
    let written = [was - 9_000, was - 8_000, was - 7_000, was + 60_000];
    assert_eq!(
        corrected_instants(scratch, 2, written, correction(was, NOW, from)),
        instants([NOW - 9_000, NOW - 8_000, NOW - 7_000, NOW + 60_000])
    );
}

fn a_correction_of_all_instants_moves_what_earlier_processes_wrote_too(scratch: &dyn Scratch) {
    let (was, older) = (NOW - 10 * DAY, NOW - 11 * DAY);
    let of_all = ClockCorrection { from: UnixMs::MIN, ..correction(was, NOW, 0) };
    assert_eq!(
        corrected_instants(scratch, 1, [older, older, older, older + 5], of_all),
        instants([NOW - DAY, NOW - DAY, NOW - DAY, NOW - DAY + 5])
    );
}

fn an_instant_ahead_of_now_becomes_now_and_a_wait_keeps_its_length(scratch: &dyn Scratch) {
    let later = NOW + 3 * DAY;
    let same = correction(NOW, NOW, NOW - 1_000);
    assert_eq!(
        corrected_instants(scratch, 1, [later, later, later + 1_000, later + 61_000], same),
        instants([NOW, NOW, NOW, NOW + 60_000])
    );
    // If the attempt was recorded while the clock was right, the due time after it stays as it is.
    let right = [NOW - 9, NOW - 8, NOW - 7, NOW + DAY / 2];
    assert_eq!(corrected_instants(scratch, 2, right, same), instants(right));
}

fn pauses_and_silences_move_too(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let sink = register(&mut *spool, &["a"])[0];
    spool.commit(&[insert(1, "x", RowStanding::News, None), release(&[1])], UnixMs(1)).unwrap();
    let was = NOW + DAY;
    let silent = HealthRecord { busy_until: Some(UnixMs(was + 60_000)), failures: 1 };
    spool.settle(&[Settlement { health: Some(silent), ..settled(sink, 1, DELIVERED) }], UnixMs(2)).unwrap();
    spool.pause(sink, PauseReason::Gone, UnixMs(was - 5)).unwrap();
    assert!(spool.is_ahead_of(UnixMs(NOW)).unwrap());
    spool.apply_correction(correction(was, NOW, was - 10), UnixMs(NOW), Seq(i64::MIN)).unwrap();
    let since = spool.pause_of(sink).unwrap().map(|pause| pause.since);
    let registered = spool.register_sinks(&[SinkSetup::new("a")], UnixMs::MAX, UnixMs(NOW)).unwrap();
    assert_eq!((since, registered[0].health.busy_until), (Some(UnixMs(NOW - 5)), Some(UnixMs(NOW + 60_000))));
    assert!(!spool.is_ahead_of(UnixMs(NOW)).unwrap());
}

fn the_first_failure_of_a_walk_moves_too(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    let was = NOW + DAY;
    let ahead = correction(was, NOW, was - 10);
    let cases = [(was - 5, NOW - 5), (was + 7, NOW), (NOW - 60_000, NOW - 60_000)];
    let mut changes = vec![PollChange::Advance(marks(1))];
    for (id, (since, moved)) in (1..).zip(cases) {
        let progress = WalkProgress { since: Some(UnixMs(since)), ..WalkProgress::default() };
        changes.push(PollChange::PutWalk(Box::new(Walk { progress, ..gap(id) })));
        assert_eq!(ahead.moved(UnixMs(since), UnixMs(NOW)), UnixMs(moved), "the value in memory moves in the same way");
    }
    spool.commit(&changes, UnixMs(NOW)).unwrap();
    assert!(spool.is_ahead_of(UnixMs(NOW)).unwrap());
    spool.apply_correction(ahead, UnixMs(NOW), Seq(i64::MIN)).unwrap();
    let walks = spool.load_coverage().unwrap().unwrap().walks;
    let found: Vec<Option<UnixMs>> = walks.iter().map(|walk| walk.progress.since).collect();
    assert_eq!(found, cases.map(|(_, moved)| Some(UnixMs(moved))));
}

fn the_next_process_reads_the_clock_memory_of_the_last_one(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    assert_eq!(spool.clock_memory().unwrap(), None);
    assert_eq!(spool.newest_instant().unwrap(), UnixMs::MIN);
    let memory = ClockMemory { booted_at: 7, messages_ahead_ms: Some(-3), ..Default::default() };
    spool.remember_clock(&memory).unwrap();
    drop(spool);
    assert_eq!(scratch.open().clock_memory().unwrap(), Some(memory));
}

on_every_backend![
    what_a_process_wrote_while_its_clock_was_ahead_moves_back,
    what_a_process_wrote_while_its_clock_was_behind_moves_ahead,
    a_correction_of_all_instants_moves_what_earlier_processes_wrote_too,
    an_instant_ahead_of_now_becomes_now_and_a_wait_keeps_its_length,
    pauses_and_silences_move_too,
    the_first_failure_of_a_walk_moves_too,
    the_next_process_reads_the_clock_memory_of_the_last_one,
];
