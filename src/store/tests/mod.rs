//! The store on real files: damaged on purpose, and over time.

mod damage;
mod erasure;
mod instants;
mod numbers;
mod release;
mod rename;
mod retention;

pub(super) use damage::{Random, contents, make as make_state};

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::domain::{
    Class, Cursor, DeadReason, Insert, Marks, Outcome, Row, RowStanding, Seq, StoreOp, UnixMs, Walk, WalkId, WalkKind,
    WalkProgress,
};

/// A directory whose flushes cost nothing, where there is one.
pub(super) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn insert(seq: i64, body: &str, standing: RowStanding, held_by: Option<WalkId>) -> StoreOp {
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

fn marks(at: i64) -> Marks {
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

fn gap(id: i64) -> Walk {
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

fn settled(sink: SinkId, seq: i64, outcome: Outcome) -> Settlement {
    Settlement { sink, seq: Seq(seq), attempts: 1, first_attempt: UnixMs(seq), outcome, health: None }
}

/// Sinks that want everything.
fn register(spool: &mut Spool, names: &[&str]) -> Vec<SinkId> {
    let setups: Vec<SinkSetup> = names.iter().map(|&name| SinkSetup::new(name)).collect();
    let registered = spool.register_sinks(&setups, UnixMs::MAX, UnixMs(0)).unwrap();
    registered.into_iter().map(|sink| sink.id).collect()
}

fn dead() -> Outcome {
    Outcome::Dead { reason: DeadReason::GaveUp, status: Some(500), answer: "no".to_owned() }
}

const DELIVERED: Outcome = Outcome::Delivered { status: Some(200) };
