//! Tests of the contract on every backend, and the helpers with which tests of a single backend build their states.
//!
//! A test of the contract takes a [`Scratch`], uses nothing but [`Spool`], and is named in an [`on_every_backend`]
//! list.

mod arrivals;
mod copies;
mod events;
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
    Cursor, DeadReason, DeliveryClass, Insert, Marks, Outcome, PollChange, Row, RowStanding, Seq, UnixMs, Walk, WalkId,
    WalkKind, WalkProgress,
};

/// A state for one test, on one backend.
pub(super) trait Scratch {
    /// Opens the state. The first call makes it. The state may be open several times at once.
    fn open(&self) -> Box<Spool>;

    /// Runs a query that both kinds of databases understand. Returns the number that is its result.
    fn number(&self, query: &str) -> i64;

    /// Makes a change that both kinds of databases understand, on a connection of its own.
    fn change(&self, change: &str);
}

/// Connects to the state file in a directory.
fn connect(dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection
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

    fn number(&self, query: &str) -> i64 {
        connect(self.0.path()).query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn change(&self, change: &str) {
        connect(self.0.path()).execute(change, []).unwrap();
    }
}

/// A state in a schema of a PostgreSQL database.
#[cfg(feature = "replicas")]
pub(super) struct PostgresScratch(pub(super) Database);

#[cfg(feature = "replicas")]
impl PostgresScratch {
    /// Makes a state in a new schema. If no server is installed, reports that `test` is skipped, and returns `None`.
    pub(super) fn new(test: &str) -> Option<Self> {
        postgres::tests::scratch_database(test).map(Self)
    }
}

/// Makes a new schema in PostgreSQL for a test of another part of the program. If no server is installed, reports that
/// `test` is skipped, and returns `None`.
#[cfg(feature = "replicas")]
pub(crate) fn scratch_database(test: &str) -> Option<Database> {
    postgres::tests::scratch_database(test)
}

#[cfg(feature = "replicas")]
impl Scratch for PostgresScratch {
    fn open(&self) -> Box<Spool> {
        postgres::tests::open(&self.0)
    }

    fn number(&self, query: &str) -> i64 {
        postgres::tests::number(&self.0, query)
    }

    fn change(&self, change: &str) {
        postgres::tests::change(&self.0, change);
    }
}

/// A state for a test of another part of the program. The state is in a SQLite file, or, if the environment variable
/// `JOLTSMS_RELAY_TEST_STATE` is `postgres`, in a PostgreSQL database.
pub(crate) struct TestState(Box<dyn Scratch + Send + Sync>);

impl TestState {
    /// Makes a state of the kind that the environment asks for.
    pub(crate) fn new() -> Self {
        Self::in_postgres().unwrap_or_else(|| Self(Box::new(SqliteScratch::new())))
    }

    /// Makes a state of the kind that the environment asks for. If this is a SQLite file, it is made in `dir`.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self::in_postgres().unwrap_or_else(|| Self::in_file(dir))
    }

    /// Makes a state in PostgreSQL, if the environment asks for that.
    fn in_postgres() -> Option<Self> {
        match std::env::var("JOLTSMS_RELAY_TEST_STATE").as_deref() {
            #[cfg(feature = "replicas")]
            Ok("postgres") => Some(Self(Box::new(PostgresScratch::new("a state").expect("a PostgreSQL server")))),
            Ok(other) => panic!("JOLTSMS_RELAY_TEST_STATE is {other:?}, and this build has no states of that kind"),
            Err(_) => None,
        }
    }

    /// Makes a state in the file `state.db` of the directory `dir`.
    pub(crate) fn in_file(dir: &Path) -> Self {
        Self(Box::new(dir.to_owned()))
    }

    /// Opens the state. The first call makes it.
    pub(crate) fn open(&self) -> Box<Spool> {
        self.0.open()
    }

    /// Runs a query that both kinds of databases understand. Returns the number that is its result.
    pub(crate) fn number(&self, query: &str) -> i64 {
        self.0.number(query)
    }

    /// Makes a change that both kinds of databases understand, on a connection of its own.
    pub(crate) fn change(&self, change: &str) {
        self.0.change(change);
    }

    /// Opens the state for tasks. The first call makes it.
    pub(crate) fn open_store(&self) -> Store {
        Store::of((self.0.open(), self.0.open()))
    }
}

/// A state in the file `state.db` of a directory.
impl Scratch for std::path::PathBuf {
    fn open(&self) -> Box<Spool> {
        open(self).unwrap()
    }

    fn number(&self, query: &str) -> i64 {
        connect(self).query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn change(&self, change: &str) {
        connect(self).execute(change, []).unwrap();
    }
}

/// Makes one test for each backend from each of these functions. The functions take a [`Scratch`].
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $test() {
                super::$test(&$crate::store::tests::SqliteScratch::new());
            })+
        }
        #[cfg(feature = "replicas")]
        mod on_postgres {
            $(#[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                if let Some(scratch) = $crate::store::tests::PostgresScratch::new(test) {
                    super::$test(&scratch);
                }
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

/// Makes the change that stores the message `m{seq}`, received at `seq` seconds.
pub(super) fn insert(seq: i64, body: &str, standing: RowStanding, held_by: Option<WalkId>) -> PollChange {
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
    PollChange::Insert(Box::new(Insert { seq: Seq(seq), row, standing, held_by }))
}

/// Makes the change that releases these messages.
pub(super) fn release(seqs: &[i64]) -> PollChange {
    PollChange::Release { rows: seqs.iter().map(|&seq| Seq(seq)).collect(), class: DeliveryClass::Live }
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

/// Makes the settlement of a first attempt. The attempt was made at `seq` milliseconds.
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

/// Limits that allow everything to be claimed at once.
pub(super) const ALL: ClaimLimits = ClaimLimits { rows: usize::MAX, bytes: usize::MAX, details: false };

/// Returns the messages of `seqs` whose text is kept.
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
