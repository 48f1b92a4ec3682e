//! Work on the files of a state without SQLite: checking whether `state.db` can be a state, opening the commit counter,
//! and noticing a full disk.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::commit_counter::{self, CommitCounter};
use crate::files;
use crate::store::error::Error;

/// Checks that a file can be a state. An empty file is refused: SQLite would take it for a new database, and the relay
/// would begin anew without noticing that a state was lost. With `to_write`, a file that this user may not write is
/// refused too.
pub(super) fn check_header(file: &Path, to_write: bool) -> Result<(), Error> {
    let mut header = [0_u8; 16];
    let io = |doing| move |source| Error::Io { doing, path: file.to_owned(), source };
    let kind = fs::symlink_metadata(file).map_err(io("look at"))?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        // Opening a pipe would wait for the process at its other end.
        return Err(damaged(file, "it is not a regular file"));
    }
    let opened = if to_write { files::open_to_write(file) } else { files::open_to_read(file) };
    let mut opened = opened.map_err(io("open"))?;
    match opened.read_exact(&mut header) {
        Ok(()) if &header == b"SQLite format 3\0" => Ok(()),
        Ok(()) => Err(damaged(file, "it is not a SQLite database")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(damaged(file, "it is cut off before its header ends"))
        }
        Err(error) => Err(io("read")(error)),
    }
}

/// Returns whether there is a state file, and checks it with [`check_header`].
pub(super) fn is_there(file: &Path, to_write: bool) -> Result<bool, Error> {
    match fs::symlink_metadata(file) {
        Ok(_) => check_header(file, to_write).map(|()| true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(Error::Io { doing: "look at", path: file.to_owned(), source }),
    }
}

/// Called if `state.db` is missing. Checks that there is no journal either: a journal would belong to a state that was
/// lost, and SQLite would bring its changes into the new state.
pub(super) fn check_absence(file: &Path, journal: &Path) -> Result<(), Error> {
    match fs::metadata(journal) {
        Ok(found) if found.len() > 0 => Err(damaged(
            file,
            "it is gone, but its journal state.db-wal is there; put it back, or remove the journal too to begin anew",
        )),
        _ => Ok(()),
    }
}

/// Reads the commit counter: the database must have at least this many transactions.
pub(in crate::store::sqlite) fn counted(dir: &Path) -> Result<i64, Error> {
    CommitCounter::read(dir).map_err(|source| Error::Io { doing: "read", path: dir.join(commit_counter::NAME), source })
}

/// Opens the commit counter. A missing file is made.
pub(super) fn open_counter(dir: &Path) -> Result<CommitCounter, Error> {
    CommitCounter::open(dir).map_err(|source| Error::Io { doing: "open", path: dir.join(commit_counter::NAME), source })
}

/// Makes the error that a state file is damaged; `what` says in which way.
pub(super) fn damaged(file: &Path, what: impl Into<String>) -> Error {
    Error::Damaged { file: file.to_owned(), what: what.into() }
}

/// Opening a state needs this many free bytes on the disk, for the journal and the journal's index.
const TO_OPEN: u64 = 128 << 10;

/// If the disk is full, turns an error of opening a state into an error that says so. If the journal or its index does
/// not fit on the disk, SQLite itself only says that input or output failed.
pub(super) fn explain_full_disk(dir: &Path, error: Error) -> Error {
    let is_full = || rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < TO_OPEN);
    match error {
        Error::Database(_) if is_full() => {
            Error::Io { doing: "open", path: dir.join("state.db"), source: rustix::io::Errno::NOSPC.into() }
        }
        error => error,
    }
}
