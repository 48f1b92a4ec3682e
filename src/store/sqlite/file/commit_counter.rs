//! Counts the transactions of a state in a file beside the database.
//!
//! If the end of a journal was cut off, SQLite assumes that the missing part was never written, and reports no error.
//! So transactions that had succeeded could be lost unnoticed. Therefore every transaction that changes something
//! counts itself in the database, and then the count is written to `state.mark`. If the database has fewer transactions
//! than `state.mark` says, some were lost.
//!
//! `state.mark` holds the count as 8 bytes, big-endian. It is written after the transaction is on disk, so it is never
//! ahead of the database. It is never flushed, so after a power cut it may be too low, and a loss of transactions may
//! go unnoticed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::files;

/// The name of the file with the count.
pub(super) const NAME: &str = "state.mark";

/// The file with the count, opened for writing.
#[derive(Debug)]
pub(in crate::store::sqlite) struct CommitCounter {
    file: File,
    complained: bool,
}

impl CommitCounter {
    /// Reads the count for the state in `dir`; 0 if there is no count.
    pub(super) fn read(dir: &Path) -> io::Result<i64> {
        match files::read(&path(dir)) {
            Ok(bytes) => Ok(bytes.first_chunk().map_or(0, |count| i64::from_be_bytes(*count))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Opens the file with the count. A missing file is made.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: files::open_or_make(&path(dir))?, complained: false })
    }

    /// Removes the file. Called before a new state is put in place: a count that is still there belongs to an earlier
    /// state.
    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        files::remove(&path(dir))
    }

    /// Writes the count after a transaction. A failure is logged once.
    pub(in crate::store::sqlite) fn record(&mut self, count: i64) {
        if let Err(error) = self.file.write_all_at(&count.to_be_bytes(), 0)
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, file = NAME, "transactions cannot be counted: a loss of transactions may go unnoticed");
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Counts the open transaction. Returns the number of transactions so far, including this one.
pub(in crate::store::sqlite) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('commits', 1)
             ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        )?
        .query_row([], |row| row.get(0))
}
