//! Tests of state files that were cut, zeroed or changed at random. The relay may open such a state only if everything
//! that decides what is delivered is as it was. Otherwise it refuses the state, and its files stay as they are.
//!
//! The variable `JOLTSMS_RELAY_SEEDS` says how many states are made. Each state is damaged several times in every way.
//! A failure prints the number of the state and the damage.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use super::*;

/// How many states are made. Each state is tried in two copies: as it is after a kill, and as it is after an orderly
/// end.
const STATES: u64 = 4;

/// How often each copy is damaged in each way.
const TRIES: u64 = 9;

/// The random numbers of SplitMix64.
pub(in crate::store::sqlite) struct Random(pub(in crate::store::sqlite) u64);

impl Random {
    pub(in crate::store::sqlite) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(in crate::store::sqlite) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// Reads everything that decides what is delivered: messages, deliveries, sinks, coverage and walks. Times of attempts
/// and texts of answers are left out, because a change of these may go unnoticed.
fn dump(dir: &Path) -> String {
    let connection = Connection::open(dir.join("state.db")).unwrap();
    let query = |sql: &str| -> String {
        connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
    };
    [
        "SELECT group_concat(concat_ws('|', seq, id, time, standing, held_by, release_no, raw), char(10)) FROM message",
        "SELECT group_concat(concat_ws('|', seq, sink, class, release_no, state), char(10)) FROM delivery",
        "SELECT group_concat(concat_ws('|', id, name), char(10)) FROM sink",
        "SELECT concat_ws('|', frontier, watermark, anchor, start_instant, next_seq, next_walk) FROM coverage",
        "SELECT group_concat(concat_ws('|', id, kind, sweep_floor, cursor, trail, floor, opened_seq, opened_at, lowest))
         FROM walk",
        "SELECT group_concat(value) FROM counter WHERE name = 'released'",
    ]
    .map(query)
    .join("\n\n")
}

/// Makes a state in `dir` with some of everything. Copies its files to `killed` while the state is still open, as a
/// kill would leave them. Returns the content of the state as [`dump`] reads it.
pub(in crate::store::sqlite) fn make(random: &mut Random, dir: &Path, killed: &Path) -> String {
    let mut spool = SqliteBackend::open(dir).unwrap();
    let sinks = register(&mut spool, &["crm", "archive"]);
    let mut seq = 0;
    for step in 0..40 + random.below(40) {
        let count = i64::try_from(1 + random.below(10)).unwrap();
        let rows = seq + 1..=seq + count;
        seq += count;
        // A long text lies on database pages of its own.
        let body = "x".repeat(if random.below(8) == 0 { random.below(20_000) } else { random.below(300) });
        let walk = WalkId(i64::try_from(step).unwrap());
        let held = random.below(4) == 0;
        let mut changes: Vec<PollChange> =
            rows.clone().map(|seq| insert(seq, &body, RowStanding::News, held.then_some(walk))).collect();
        if held {
            changes.push(PollChange::PutWalk(Box::new(gap(walk.0))));
        } else {
            changes.push(release(&rows.clone().collect::<Vec<_>>()));
        }
        changes.push(PollChange::Advance(marks(seq)));
        spool.commit(&changes, UnixMs(seq)).unwrap();
        if !held {
            let outcomes =
                [DELIVERED, dead(), Outcome::Retry { due: UnixMs(seq), status: None, answer: "later".into() }];
            let settlements: Vec<Settlement> = rows
                .flat_map(|seq| sinks.iter().map(move |sink| (seq, *sink)))
                .filter_map(|(seq, sink)| Some(settled(sink, seq, outcomes.get(random.below(5))?.clone())))
                .collect();
            spool.settle(&settlements, UnixMs(seq)).unwrap();
        }
        if random.below(6) == 0 {
            let cutoffs = RetentionCutoffs { delivered: Some(UnixMs(seq / 2)), dead: None };
            spool.remove_settled(cutoffs, Seq(0)).unwrap();
        }
        if random.below(20) == 0 {
            spool.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        }
    }
    for name in ["state.db", "state.db-wal", "state.mark"] {
        fs::copy(dir.join(name), killed.join(name)).unwrap();
    }
    drop(spool);
    dump(dir)
}

/// A way to damage a file.
type Damage = fn(&mut Random, Vec<u8>) -> Vec<u8>;

const DAMAGES: [(&str, &str, Damage); 9] = [
    ("state.db", "cut", cut),
    ("state.db", "a bit flipped", flip),
    ("state.db", "zeros", zeros),
    ("state.db", "a page of zeros", page_of_zeros),
    ("state.db", "noise", noise),
    ("state.db-wal", "cut", cut),
    ("state.db-wal", "a bit flipped", flip),
    ("state.db-wal", "zeros", zeros),
    ("state.db-wal", "noise", noise),
];

fn cut(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(random.below(bytes.len()));
    bytes
}

fn flip(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let at = random.below(bytes.len());
    bytes[at] ^= 1 << random.below(8);
    bytes
}

fn zeros(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let (at, length) = (random.below(bytes.len()), 1 + random.below(9000));
    let end = bytes.len().min(at + length);
    bytes[at..end].fill(0);
    bytes
}

fn page_of_zeros(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let page = random.below(bytes.len() / 4096) * 4096;
    bytes[page..page + 4096].fill(0);
    bytes
}

fn noise(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let (at, length) = (random.below(bytes.len()), 1 + random.below(64));
    let end = bytes.len().min(at + length);
    bytes[at..end].fill_with(|| random.next().to_le_bytes()[0]);
    bytes
}

#[test]
fn a_damaged_state_opens_with_everything_or_is_refused_and_stays_as_it_is() {
    let states = std::env::var("JOLTSMS_RELAY_SEEDS").ok().map_or(STATES, |seeds| seeds.parse().unwrap());
    let mut counts: HashMap<(&str, &str), [usize; 3]> = HashMap::new();
    for seed in 0..states {
        let mut random = Random(seed);
        let (orderly, killed) = (scratch(), scratch());
        let expected = make(&mut random, orderly.path(), killed.path());
        for (left, dir) in [("an orderly end", &orderly), ("a kill", &killed)] {
            for (file, kind, damage) in DAMAGES {
                for try_no in 0..TRIES {
                    let case = format!("state {seed} after {left}, {file}: {kind}, try {try_no}");
                    let copy = scratch();
                    for entry in fs::read_dir(dir.path()).unwrap() {
                        let entry = entry.unwrap();
                        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
                    }
                    let Ok(bytes) = fs::read(copy.path().join(file)) else { continue };
                    if bytes.is_empty() {
                        continue;
                    }
                    fs::write(copy.path().join(file), damage(&mut random, bytes)).unwrap();
                    let before = contents(copy.path());
                    let count = counts.entry((file, kind)).or_default();
                    count[0] += 1;
                    match SqliteBackend::open(copy.path()) {
                        Ok(spool) => {
                            count[1] += 1;
                            spool.load_coverage().unwrap();
                            drop(spool);
                            assert!(dump(copy.path()) == expected, "{case}: opened, but changed");
                        }
                        Err(Error::Damaged { .. } | Error::Newer { .. }) => {
                            count[2] += 1;
                            assert!(contents(copy.path()) == before, "{case}: refused, but changed");
                        }
                        Err(error) => panic!("{case}: {error}"),
                    }
                }
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    for ((file, kind), [all, whole, refused]) in &counts {
        println!("{file}: {kind}: {all} cases, {whole} whole, {refused} refused");
        assert!(*refused > 0, "{file}: {kind} is never noticed");
    }
    println!("{} cases", counts.iter().map(|(_, count)| count[0]).sum::<usize>());
}

/// Reads the files of a state that have to stay as they are, byte for byte.
pub(in crate::store::sqlite) fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    ["state.db", "state.db-wal", "state.mark"]
        .into_iter()
        .map(|name| dir.join(name))
        .filter_map(|path| Some((path.clone(), fs::read(&path).ok()?)))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

#[test]
fn a_journal_whose_end_was_cut_off_is_noticed() {
    let (dir, killed) = (scratch(), scratch());
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    for seq in 1..=10 {
        spool.commit(&[insert(seq, "body", RowStanding::News, None)], UnixMs(seq)).unwrap();
    }
    for name in ["state.db", "state.db-wal", "state.mark"] {
        fs::copy(dir.path().join(name), killed.path().join(name)).unwrap();
    }
    let journal = fs::read(killed.path().join("state.db-wal")).unwrap();
    for lost in [1, 2, 24, 4095, 4096, 4119, 4120] {
        fs::write(killed.path().join("state.db-wal"), &journal[..journal.len() - lost]).unwrap();
        let refused = SqliteBackend::open(killed.path());
        assert!(matches!(&refused, Err(Error::Damaged { what, .. }) if what.contains("are missing")), "{refused:?}");
    }
    // An operator who knows which transactions are lost may go on without them.
    fs::remove_file(killed.path().join("state.mark")).unwrap();
    SqliteBackend::open(killed.path()).unwrap();
}

#[test]
fn an_older_copy_is_refused() {
    let (dir, older) = (scratch(), scratch());
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    spool.commit(&[insert(1, "", RowStanding::News, None)], UnixMs(1)).unwrap();
    drop(spool);
    fs::copy(dir.path().join("state.db"), older.path().join("state.db")).unwrap();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    spool.commit(&[insert(2, "", RowStanding::News, None)], UnixMs(2)).unwrap();
    drop(spool);
    SqliteBackend::open(dir.path()).unwrap();
    fs::copy(older.path().join("state.db"), dir.path().join("state.db")).unwrap();
    let refused = SqliteBackend::open(dir.path());
    assert!(matches!(&refused, Err(Error::Damaged { what, .. }) if what.contains("older copy")), "{refused:?}");
}

#[test]
fn a_journal_without_its_database_is_refused_and_not_brought_into_a_new_one() {
    let (orderly, killed) = (scratch(), scratch());
    make(&mut Random(7), orderly.path(), killed.path());
    fs::remove_file(killed.path().join("state.db")).unwrap();
    let before = contents(killed.path());
    assert!(matches!(SqliteBackend::open(killed.path()), Err(Error::Damaged { .. })));
    assert!(contents(killed.path()) == before);
    // If the database and its journal are gone, this is a first run, and the count of the earlier state is ignored.
    fs::remove_file(killed.path().join("state.db-wal")).unwrap();
    assert!(SqliteBackend::open(killed.path()).unwrap().load_coverage().unwrap().is_none());
}

#[test]
fn in_a_large_file_a_message_is_checked_before_it_is_delivered() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    let sink = register(&mut spool, &["crm"])[0];
    for seq in 1..=20 {
        let body = format!("{seq:02}").repeat(500_000);
        let changes = [insert(seq, &body, RowStanding::News, None), release(&[seq])];
        spool.commit(&changes, UnixMs(seq)).unwrap();
    }
    drop(spool);
    let file = dir.path().join("state.db");
    let mut bytes = fs::read(&file).unwrap();
    let body = bytes.windows(8).position(|part| part == b"07070707").unwrap();
    bytes[body] = b'1';
    fs::write(&file, &bytes).unwrap();
    let spool = SqliteBackend::open(dir.path()).unwrap();
    let one = ClaimLimits { rows: 1, bytes: 1, details: false };
    assert_eq!(spool.claim_fresh(sink, DeliveryClass::Live, one, &|seq| seq < Seq(6)).unwrap()[0].id, "m6");
    let refused = spool.claim_fresh(sink, DeliveryClass::Live, one, &|seq| seq < Seq(7));
    assert!(matches!(&refused, Err(Error::Damaged { what, .. }) if what.contains("\"m7\"")), "{refused:?}");
    assert_eq!(spool.claim_fresh(sink, DeliveryClass::Live, one, &|seq| seq < Seq(8)).unwrap()[0].id, "m8");
}

/// The messages of a sink are counted in one statement, and the time of the oldest is read in another, without a
/// transaction around both. So the oldest message may be gone when its time is read.
#[test]
fn a_message_that_is_removed_while_its_sink_is_shown_is_no_failure() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    register(&mut spool, &["crm"]);
    let changes = [insert(1, "text", RowStanding::News, None), release(&[1])];
    spool.commit(&changes, UnixMs(7)).unwrap();
    assert_eq!(spool.sinks().unwrap()[0].oldest, Some(UnixMs(7)));
    spool.connection.execute("DELETE FROM message", []).unwrap();
    let view = &spool.sinks().unwrap()[0];
    assert_eq!((view.waiting, view.oldest), (1, None));
}

#[test]
fn a_name_that_is_not_utf_8_any_more_is_damage() {
    let dir = scratch();
    let mut spool = SqliteBackend::open(dir.path()).unwrap();
    register(&mut spool, &["crm"]);
    spool.connection.execute("UPDATE sink SET name = CAST(x'63ff' AS TEXT)", []).unwrap();
    assert!(matches!(spool.sinks(), Err(Error::Damaged { .. })));
}
