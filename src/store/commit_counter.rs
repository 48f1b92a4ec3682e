//! How many transactions the state has, written down outside of it.
//!
//! SQLite takes the end of a journal that was cut off for one that was never written, and says nothing: what it had
//! acknowledged would be gone unnoticed. So every transaction counts itself in the state, and after it the count goes
//! here. A state with fewer transactions than were counted has lost some.
//!
//! Format: 8 bytes, big-endian. They are written after the transaction is on the disk and never flushed, so they are never
//! ahead of it; after a power cut they may be behind, which only means that less is noticed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::files;

/// The file's name.
pub(super) const NAME: &str = "state.mark";

/// The count, opened to be written.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    complained: bool,
}

impl Mark {
    /// What was counted for the state in `dir`; 0 where nothing was.
    pub(super) fn read(dir: &Path) -> io::Result<i64> {
        match files::read(&path(dir)) {
            Ok(bytes) => Ok(bytes.first_chunk().map_or(0, |count| i64::from_be_bytes(*count))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Opens the file, or makes it.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: files::open_or_make(&path(dir))?, complained: false })
    }

    /// Before there is a new state: what was counted for another does not count for it.
    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        files::remove(&path(dir))
    }

    /// After a transaction.
    pub(super) fn set(&mut self, count: i64) {
        if let Err(error) = self.file.write_all_at(&count.to_be_bytes(), 0)
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, file = NAME, "transactions cannot be counted: a journal that is cut off later goes unnoticed");
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Counts the transaction under way. Its row lies beside others that change often.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('commits', 1)
             ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        )?
        .query_row([], |row| row.get(0))
}
