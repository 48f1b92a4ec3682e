//! Opening a state for a command that only reads, whether a relay runs or not. The state is not changed.
//!
//! A snapshot ([`begin`], [`open_snapshot`]) shows the state as it was at one moment. If no relay runs and there is no
//! journal, SQLite opens `state.db` as immutable. So no permission to write is needed, and no file is left behind.
//! SQLite does not notice changes of an immutable file. So a shared lock on the role is held as long as the file is
//! open: no relay starts meanwhile, and a command that changes the state waits
//! ([`wait_for_readers`](crate::store::role::wait_for_readers)). If a relay runs or there is a journal, SQLite reads
//! the file and the journal as usual.
//!
//! A reader ([`open_reader`]) sees the newest changes at each read.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::open::connect;
use super::state_files;
use crate::store::error::Error;
use crate::store::role::{self, SharedRoleLock};
use crate::store::snapshot::Snapshot;
use crate::store::sqlite::connection::SqliteBackend;

/// A state of any format, opened for reading.
#[derive(Debug)]
pub(in crate::store::sqlite) struct SqliteSnapshot {
    pub(in crate::store::sqlite) spool: SqliteBackend,
    running: Option<bool>,
    /// Held if the file is open as immutable.
    role: Option<SharedRoleLock>,
}

/// Does the work of [`crate::store::open_snapshot`].
pub(in crate::store) fn open_snapshot(dir: &Path) -> Result<Option<Snapshot>, Error> {
    let open = || {
        let Some(SqliteSnapshot { spool, running, role }) = begin(dir)? else { return Ok(None) };
        spool.check_current()?;
        Ok(Some(Snapshot { spool: Box::new(spool), running, replicas: None, _role: role }))
    };
    open().map_err(|error| state_files::explain_full_disk(dir, error))
}

/// Does the work of [`crate::store::open_reader`].
pub(in crate::store) fn open_reader(dir: &Path) -> Result<Option<SqliteBackend>, Error> {
    let file = dir.join("state.db");
    if !state_files::is_there(&file, false)? {
        return Ok(None);
    }
    let spool = SqliteBackend::on(connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY, Path::to_owned)?, file);
    spool.read(|connection| connection.execute_batch("PRAGMA temp_store = MEMORY"))?;
    spool.check_current()?;
    Ok(Some(spool))
}

/// Opens the state in `dir`, whatever its format, and begins the reading transaction; `None` if there is no state.
pub(in crate::store::sqlite) fn begin(dir: &Path) -> Result<Option<SqliteSnapshot>, Error> {
    let file = dir.join("state.db");
    if !state_files::is_there(&file, false)? {
        return Ok(None);
    }
    let (running, role) = role::take_shared(dir)?;
    let immutable = role.is_some() && !fs::exists(dir.join("state.db-wal")).unwrap_or(true);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = match immutable {
        true => connect(&file, flags | OpenFlags::SQLITE_OPEN_URI, immutable_uri)?,
        false => connect(&file, flags, Path::to_owned)?,
    };
    let spool = SqliteBackend::on(connection, file);
    // All reads happen in one transaction, so that they show the state at one moment.
    spool.read(|connection| connection.execute_batch("PRAGMA temp_store = MEMORY; BEGIN"))?;
    Ok(Some(SqliteSnapshot { spool, running, role: role.filter(|_| immutable) }))
}

fn immutable_uri(file: &Path) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encoded = file.as_os_str().as_bytes().iter().map(|byte| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("file://{}?immutable=1", encoded.collect::<String>()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::role::RoleLock;

    #[test]
    fn a_file_is_not_immutable_while_a_command_changes_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(RoleLock::take(dir.path()).unwrap());
        drop(SqliteBackend::open(dir.path()).unwrap());
        let is_immutable = || begin(dir.path()).unwrap().unwrap().role.is_some();
        assert!(is_immutable());
        let changing = SqliteBackend::open_for_command(dir.path()).unwrap().unwrap();
        assert!(fs::exists(dir.path().join("state.db-wal")).unwrap());
        assert!(!is_immutable());
        drop(changing);
        assert!(is_immutable());
    }
}
