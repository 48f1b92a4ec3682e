//! Prepares states with many messages, as a relay leaves them when it has delivered every message.
//!
//! The states are written through the store's own functions, because a relay would need minutes for a million messages.
//! The real relay then catches up on each state once, and a copy is kept, so that every measurement begins with the
//! same file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use joltsms_relay::domain::{DeliveryClass, Insert, Marks, Outcome, PollChange, Row, RowStanding, Seq, UnixMs, WalkId};
use joltsms_relay::secret::Secret;
use joltsms_relay::store::{self, Settlement, SinkSetup};
use joltsms_simulator::{NewMessage, Options, Simulator};

use crate::support::relay::Setup;

/// How many of the newest stored messages the API still shows: more than any sweep reads.
const SHOWN: usize = 5000;

/// The time over which the messages are spread, a month, however many messages there are.
const LENGTH: Duration = Duration::from_secs(30 * 86_400);

/// The number of messages in one transaction. A relay stores ten in a transaction.
const AT_ONCE: usize = 1000;

/// A state with `stored` messages, and the relay that goes on with it.
pub(crate) struct Prepared {
    /// The number of stored messages.
    pub(crate) stored: usize,
    dir: tempfile::TempDir,
    setup: Setup,
}

/// Makes the states, and an API that shows the newest messages of every state.
pub(crate) async fn prepare(sizes: &[usize], settings: impl Fn(Setup) -> Setup) -> (Simulator, Vec<Prepared>) {
    let simulator = Simulator::start(Options { numbers: 0, ..Options::default() }).await.unwrap();
    simulator.handle().set_switches(|switches| switches.limit = 1_000_000_000);
    let rows = invent(sizes.iter().copied().max().unwrap_or(0)).await;
    simulator.handle().add_many(rows[rows.len().saturating_sub(SHOWN)..].iter().map(|row| {
        let message = NewMessage::new().id(&row.id).number(&row.number_id).from(&row.from).body(&row.body);
        NewMessage { code: row.code.clone(), ..message }.received_at(row.received_at).ingested_at(row.ingested_at)
    }));
    let mut states = Vec::new();
    for &stored in sizes {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("state"), &rows[rows.len() - stored..], &simulator);
        let once = settings(Setup::new(&simulator, dir.path())).args(&["once"]).output();
        assert_eq!(once.0, 0, "{}", once.2);
        let setup = settings(Setup::new(&simulator, dir.path()));
        let prepared = Prepared { stored, dir, setup };
        copy(prepared.setup.state(), &prepared.kept());
        states.push(prepared);
    }
    (simulator, states)
}

impl Prepared {
    /// Returns the relay on a fresh copy of the prepared state.
    pub(crate) fn fresh(&mut self) -> &mut Setup {
        fs::remove_dir_all(self.setup.state()).unwrap();
        copy(&self.kept(), self.setup.state());
        &mut self.setup
    }

    /// Returns the relay on the state as it is now.
    pub(crate) fn setup(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// Returns the size of the state file, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        fs::metadata(self.kept().join("state.db")).unwrap().len()
    }

    /// Returns the directory in which the state lies, as `state`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("kept")
    }
}

/// Makes believable messages of a month that ended an hour ago, oldest first.
pub(crate) async fn invent(count: usize) -> Vec<joltsms_simulator::Row> {
    let simulator = Simulator::start(Options { numbers: 3, seed: 1, ..Options::default() }).await.unwrap();
    simulator.handle().add_history(count, LENGTH);
    let mut rows = simulator.handle().all_rows();
    simulator.shutdown().await;
    let hour = SignedDuration::from_hours(1);
    for row in &mut rows {
        (row.received_at, row.ingested_at) = (row.received_at - hour, row.ingested_at - hour);
    }
    rows
}

fn milliseconds(at: Timestamp) -> UnixMs {
    UnixMs(at.as_millisecond())
}

fn write(dir: &Path, rows: &[joltsms_simulator::Row], simulator: &Simulator) {
    let mut spool = store::open(dir).unwrap();
    let address = format!("{}/v1/messages", simulator.url());
    spool.remember_account(&address, &Secret::from(simulator.key()).fingerprint()).unwrap();
    let sink = spool.register_sinks(&[SinkSetup::new("crm")], UnixMs::MAX, UnixMs::MIN).unwrap()[0].id;
    let (mut next, mut newest) = (1, UnixMs::MIN);
    let mut begin = vec![PollChange::Begin { start: "beginning".to_owned() }];
    for rows in rows.chunks(AT_ONCE) {
        let mut changes = std::mem::take(&mut begin);
        let mut released = Vec::new();
        for row in rows {
            let seq = Seq(next);
            next += 1;
            released.push(seq);
            let row = Row {
                id: row.id.clone(),
                readable: true,
                spoiled: None,
                time: milliseconds(row.received_at),
                ingested: Some(milliseconds(row.ingested_at)),
                number: Some(row.number_id.clone()),
                raw: row.json.as_str().into(),
            };
            changes.push(PollChange::Insert(Box::new(Insert { seq, row, standing: RowStanding::News, held_by: None })));
        }
        changes.push(PollChange::Release { rows: released.clone(), class: DeliveryClass::Live });
        newest = newest.max(milliseconds(rows.iter().map(|row| row.received_at).max().unwrap()));
        changes.push(PollChange::Advance(Marks {
            frontier: newest,
            watermark: UnixMs::MIN,
            anchor: newest,
            start_instant: UnixMs::MIN,
            next_seq: Seq(next),
            next_walk: WalkId(1),
        }));
        spool.commit(&changes, newest).unwrap();
        let settled = |seq| {
            let outcome = Outcome::Delivered { status: Some(200) };
            Settlement { sink, seq, attempts: 1, first_attempt: newest, outcome, health: None }
        };
        spool.settle(&released.into_iter().map(settled).collect::<Vec<_>>(), newest).unwrap();
    }
}

/// Copies all files of a state. The copy is on the disk when this function returns, so that its writing does not
/// disturb a measurement.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        // The requests that were made during the preparation must not count in the budget.
        if entry.file_name() != "budget.ring" {
            fs::copy(entry.path(), &target).unwrap();
            fs::File::open(&target).unwrap().sync_all().unwrap();
        }
    }
}
