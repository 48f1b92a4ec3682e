//! The records that the minimal durable program keeps: an SQLite file with the relay's settings (WAL, `synchronous =
//! FULL`).
//!
//! A page of messages is one transaction. Accepted messages are recorded in batches: the messages that were accepted
//! while the last batch was written are the next batch.
//!
//! With [`Recording::Later`] a worker sends its next message before the last one is recorded. This is cheaper than what
//! the relay promises, because a crash could repeat more messages than were in flight. With [`Recording::First`] a
//! worker waits for the record, as the relay's workers do.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, params};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

/// The most accepted messages that are recorded in one transaction.
const BATCH: usize = 500;

/// A message: its id, and its JSON text as it came.
pub(crate) type Row = (String, Vec<u8>);

/// When an accepted message is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Recording {
    /// While the worker that sent the message goes on.
    Later,
    /// Before the worker that sent the message goes on.
    First,
}

/// An accepted message, and the channel by which its worker learns that the message is recorded.
type Accepted = (String, oneshot::Sender<()>);

/// The open file.
pub(crate) struct Ledger {
    file: Arc<Mutex<Connection>>,
    accepted: UnboundedSender<Accepted>,
    recording: Recording,
    recorder: JoinHandle<()>,
}

/// Records accepted messages for one worker.
pub(crate) struct Recorder {
    accepted: UnboundedSender<Accepted>,
    recording: Recording,
}

impl Recorder {
    /// Records that the message with this id was accepted.
    pub(crate) async fn record(&self, id: String) {
        let (done, recorded) = oneshot::channel();
        self.accepted.send((id, done)).unwrap();
        if self.recording == Recording::First {
            recorded.await.unwrap();
        }
    }
}

impl Ledger {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path, recording: Recording) -> Self {
        let file = Arc::new(Mutex::new(connect(path)));
        let (accepted, received) = unbounded_channel();
        let recorder = tokio::spawn(record(Arc::clone(&file), received));
        Self { file, accepted, recording, recorder }
    }

    /// Records a page. The page is on the disk when this function returns.
    pub(crate) async fn store(&self, page: Vec<Row>) {
        let file = Arc::clone(&self.file);
        spawn_blocking(move || insert(&mut file.lock().unwrap(), &page)).await.unwrap();
    }

    /// Returns what a worker records its accepted messages with.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder { accepted: self.accepted.clone(), recording: self.recording }
    }

    /// Waits until all accepted messages are recorded on the disk.
    pub(crate) async fn close(self) {
        drop(self.accepted);
        self.recorder.await.unwrap();
    }
}

/// Makes a file in which these messages are stored and accepted, like the file of a program that has run for a while.
pub(crate) fn prepare(path: &Path, rows: &[Row]) {
    let mut file = connect(path);
    for rows in rows.chunks(BATCH) {
        insert(&mut file, rows);
        mark(&mut file, rows.iter().map(|(id, _)| id.as_str()));
    }
}

fn connect(path: &Path) -> Connection {
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS message (
             seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, raw BLOB NOT NULL, accepted INTEGER NOT NULL DEFAULT 0
         ) STRICT;",
    )
    .unwrap();
    file
}

fn insert(file: &mut Connection, rows: &[Row]) {
    let transaction = file.transaction().unwrap();
    {
        let mut insert = transaction.prepare_cached("INSERT INTO message (id, raw) VALUES (?1, ?2)").unwrap();
        for (id, raw) in rows {
            insert.execute(params![id, raw]).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn mark<'a>(file: &mut Connection, ids: impl Iterator<Item = &'a str>) {
    let transaction = file.transaction().unwrap();
    {
        let mut update = transaction.prepare_cached("UPDATE message SET accepted = 1 WHERE id = ?1").unwrap();
        for id in ids {
            update.execute([id]).unwrap();
        }
    }
    transaction.commit().unwrap();
}

async fn record(file: Arc<Mutex<Connection>>, mut accepted: UnboundedReceiver<Accepted>) {
    let mut batch = Vec::new();
    while accepted.recv_many(&mut batch, BATCH).await > 0 {
        let file = Arc::clone(&file);
        let (ids, waiting): (Vec<String>, Vec<_>) = std::mem::take(&mut batch).into_iter().unzip();
        spawn_blocking(move || mark(&mut file.lock().unwrap(), ids.iter().map(String::as_str))).await.unwrap();
        for done in waiting {
            // A worker that does not wait has dropped the other end.
            done.send(()).ok();
        }
    }
}
