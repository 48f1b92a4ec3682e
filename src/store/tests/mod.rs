//! Tests of the contract on every backend, and the helpers with which tests of a single backend build their states.
//!
//! A test of the contract takes a [`Scratch`], uses nothing but [`Spool`], and is named in an [`on_every_backend`]
//! list.

mod arrivals;
mod fallback;
mod numbers;
mod operator;
mod promises;
mod relay_time;
mod release;
mod retention;

use std::path::Path;

use super::*;
use crate::domain::{
    Cursor, DeadReason, DeliveryClass, Insert, Marks, Outcome, Row, RowStanding, Seq, StoreOp, UnixMs, Walk, WalkId,
    WalkKind, WalkProgress,
};

/// A state for one test, on one backend.
pub(super) trait Scratch {
    /// Opens the state. The first call makes it. The state may be open several times at once.
    fn open(&self) -> Box<Spool>;
}

/// A state in a SQLite file.
pub(super) struct SqliteScratch(tempfile::TempDir);

impl SqliteScratch {
    pub(super) fn new() -> Self {
        Self(scratch())
    }
}

impl Scratch for SqliteScratch {
    fn open(&self) -> Box<Spool> {
        open(self.0.path()).unwrap()
    }
}

/// Makes a test on each backend of each of these functions. The functions take a [`Scratch`].
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $test() {
                super::$test(&$crate::store::tests::SqliteScratch::new());
            })+
        }
    };
}
pub(super) use on_every_backend;

/// Makes a directory for a test: in memory, where flushes cost nothing, if this machine has `/dev/shm`.
pub(super) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Makes the operation that stores the message `m{seq}`, received at `seq` seconds.
pub(super) fn insert(seq: i64, body: &str, standing: RowStanding, held_by: Option<WalkId>) -> StoreOp {
    let time = UnixMs(seq * 1000);
    let row = Row {
        id: format!("m{seq}"),
        readable: standing != RowStanding::Unreadable,
        spoiled: None,
        time,
        ingested: Some(time),
        number: Some(format!("n{}", seq % 7)),
        raw: format!("{{\"id\":\"m{seq}\",\"body\":\"{body}\"}}").into(),
    };
    StoreOp::Insert(Box::new(Insert { seq: Seq(seq), row, standing, held_by }))
}

/// Makes the operation that releases these messages.
pub(super) fn release(seqs: &[i64]) -> StoreOp {
    StoreOp::Release { rows: seqs.iter().map(|&seq| Seq(seq)).collect(), class: DeliveryClass::Live }
}

pub(super) fn marks(at: i64) -> Marks {
    let time = UnixMs(at * 1000);
    Marks {
        frontier: time,
        watermark: UnixMs(0),
        anchor: time,
        start_instant: UnixMs(0),
        next_seq: Seq(at + 1),
        next_walk: WalkId(at),
    }
}

pub(super) fn gap(id: i64) -> Walk {
    Walk {
        id: WalkId(id),
        kind: WalkKind::Gap { sweep_floor: Some(UnixMs(5)), streaming: false },
        cursor: Some(Cursor(format!("cursor {id}"))),
        trail: vec![Cursor("earlier".to_owned())],
        floor: UnixMs(1),
        opened_seq: Seq(id),
        opened_at: UnixMs(2),
        lowest: UnixMs(3),
        progress: WalkProgress::default(),
    }
}

/// Makes the settlement of a first attempt, made at `seq` milliseconds.
pub(super) fn settled(sink: SinkId, seq: i64, outcome: Outcome) -> Settlement {
    Settlement { sink, seq: Seq(seq), attempts: 1, first_attempt: UnixMs(seq), outcome, health: None }
}

/// Registers sinks that want every message.
pub(super) fn register(spool: &mut Spool, names: &[&str]) -> Vec<SinkId> {
    let setups: Vec<SinkSetup> = names.iter().map(|&name| SinkSetup::new(name)).collect();
    let registered = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    registered.into_iter().map(|sink| sink.id).collect()
}

pub(super) fn dead() -> Outcome {
    Outcome::Dead { reason: DeadReason::GaveUp, status: Some(500), answer: "no".to_owned() }
}

pub(super) fn retry(due: i64) -> Outcome {
    Outcome::Retry { due: UnixMs(due), status: None, answer: String::new() }
}

pub(super) const DELIVERED: Outcome = Outcome::Delivered { status: Some(200) };

/// Limits that allow to claim everything at once.
pub(super) const ALL: ClaimLimits = ClaimLimits { rows: usize::MAX, bytes: usize::MAX, details: false };

/// Returns those of these messages whose text is kept.
fn texts(spool: &Spool, seqs: impl IntoIterator<Item = i64>) -> Vec<i64> {
    seqs.into_iter().filter(|seq| spool.raw(Seq(*seq)).unwrap().is_some()).collect()
}

/// Returns the deliveries of the message `m{seq}`: the name of each sink, and the state.
fn deliveries(spool: &Spool, seq: i64) -> Vec<(String, DeliveryState)> {
    let trace = spool.trace(&format!("m{seq}")).unwrap();
    trace.into_iter().flat_map(|trace| trace.deliveries).map(|fate| (fate.sink, fate.state)).collect()
}

/// Returns the deliveries of all these messages as a text, sink by sink, such as `crm m1 fresh`.
fn states(spool: &Spool, seqs: impl IntoIterator<Item = i64>) -> String {
    let mut all = Vec::new();
    for seq in seqs {
        all.extend(deliveries(spool, seq).into_iter().map(|(sink, state)| (sink, seq, state)));
    }
    all.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    all.iter().map(|(sink, seq, state)| format!("{sink} m{seq} {state}")).collect::<Vec<_>>().join(", ")
}
