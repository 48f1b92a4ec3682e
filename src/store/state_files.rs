//! The files of a state before SQLite opens them: whether they can belong to one, and how many transactions were counted
//! beside the database.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::commit_counter::{self, Mark};
use super::error::Error;
use crate::files;

/// SQLite takes an empty file for a new database, and would start over where a state was lost: that is refused here. So is
/// a file that is `to_write` and could be read only.
pub(super) fn check_header(file: &Path, to_write: bool) -> Result<(), Error> {
    let mut header = [0_u8; 16];
    let io = |doing| move |source| Error::Io { doing, path: file.to_owned(), source };
    let kind = fs::symlink_metadata(file).map_err(io("look at"))?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        // To open a pipe is to wait for its other end.
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

/// A journal without its file belongs to a state that was lost. SQLite would play it into a new one.
pub(super) fn check_absence(file: &Path, journal: &Path) -> Result<(), Error> {
    match fs::metadata(journal) {
        Ok(found) if found.len() > 0 => Err(damaged(
            file,
            "it is gone, but its journal state.db-wal is there; put it back, or remove the journal too to begin anew",
        )),
        _ => Ok(()),
    }
}

/// What was counted outside of the state.
pub(super) fn counted(dir: &Path) -> Result<i64, Error> {
    Mark::read(dir).map_err(|source| Error::Io { doing: "read", path: dir.join(commit_counter::NAME), source })
}

/// Where transactions will be counted.
pub(super) fn open_mark(dir: &Path) -> Result<Mark, Error> {
    Mark::open(dir).map_err(|source| Error::Io { doing: "open", path: dir.join(commit_counter::NAME), source })
}

pub(super) fn damaged(file: &Path, what: impl Into<String>) -> Error {
    Error::Damaged { file: file.to_owned(), what: what.into() }
}

/// So much is needed to open a state: its journal and the index of that.
const TO_OPEN: u64 = 128 << 10;

/// SQLite calls it an I/O error when there is no room for the files that it needs at first.
pub(super) fn explain_start(dir: &Path, error: Error) -> Error {
    let is_full = || rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < TO_OPEN);
    match error {
        Error::Sqlite(_) if is_full() => {
            Error::Io { doing: "open", path: dir.join("state.db"), source: rustix::io::Errno::NOSPC.into() }
        }
        error => error,
    }
}
