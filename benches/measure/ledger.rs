//! The records that the minimal durable program keeps: an SQLite file with the relay's settings (WAL, `synchronous =
//! FULL`).
//!
//! A page of messages is one transaction. Accepted messages are recorded in batches: the messages that were accepted
//! while the last batch was written are the next batch. The program does not wait for a batch, so a crash could repeat
//! more messages than were in flight. This is cheaper than what the relay promises.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, params};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_blocking};

/// The most accepted messages that are recorded in one transaction.
const BATCH: usize = 500;

/// A message: its id, and its JSON text as it came.
pub(crate) type Row = (String, Vec<u8>);

/// The open file.
pub(crate) struct Ledger {
    file: Arc<Mutex<Connection>>,
    accepted: UnboundedSender<String>,
    recorder: JoinHandle<()>,
}

impl Ledger {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> Self {
        let file = Arc::new(Mutex::new(connect(path)));
        let (accepted, received) = unbounded_channel();
        let recorder = tokio::spawn(record(Arc::clone(&file), received));
        Self { file, accepted, recorder }
    }

    /// Records a page. The page is on the disk when this function returns.
    pub(crate) async fn store(&self, page: Vec<Row>) {
        let file = Arc::clone(&self.file);
        spawn_blocking(move || insert(&mut file.lock().unwrap(), &page)).await.unwrap();
    }

    /// Returns the channel for the ids of accepted messages.
    pub(crate) fn accepted(&self) -> UnboundedSender<String> {
        self.accepted.clone()
    }

    /// Waits until all accepted messages are recorded on the disk.
    pub(crate) async fn close(self) {
        drop(self.accepted);
        self.recorder.await.unwrap();
    }
}

/// Makes a file in which these messages are stored and accepted, as a program finds it that has run for a while.
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

async fn record(file: Arc<Mutex<Connection>>, mut accepted: UnboundedReceiver<String>) {
    let mut batch = Vec::new();
    while accepted.recv_many(&mut batch, BATCH).await > 0 {
        let (file, ids) = (Arc::clone(&file), std::mem::take(&mut batch));
        spawn_blocking(move || mark(&mut file.lock().unwrap(), ids.iter().map(String::as_str))).await.unwrap();
    }
}
