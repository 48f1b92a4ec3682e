//! Opening a state file. A file is checked before it is changed.
//!
//! Recovery: SQLite keeps the file in WAL mode with `synchronous = FULL`. So a committed transaction survives a power
//! cut, and an interrupted transaction changes nothing. A new file is made under another name and renamed when it is
//! whole. So a crash of the relay never leaves a `state.db` that is empty or cut off. If there is such a file, or one
//! that is not a database, the relay refuses it and does not change it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::commit_counter::{self, CommitCounter};
use super::{schema, state_files};
use crate::files;
use crate::store::error::Error;
use crate::store::role::{self, make_state_dir};
use crate::store::sqlite::connection::{SqliteBackend, explain};

/// How long SQLite waits while another process writes: the relay waits for a command, and a command for the relay.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl SqliteBackend {
    /// Does the work of [`crate::store::open`].
    pub(in crate::store) fn open(dir: &Path) -> Result<Self, Error> {
        make_state_dir(dir)?;
        Self::open_in(dir).map_err(|error| state_files::explain_full_disk(dir, error))
    }

    fn open_in(dir: &Path) -> Result<Self, Error> {
        let (file, journal) = (dir.join("state.db"), dir.join("state.db-wal"));
        match fs::symlink_metadata(&file) {
            Ok(_) => state_files::check_header(&file, true)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                state_files::check_absence(&file, &journal)?;
                create(dir, &file)?;
            }
            Err(source) => return Err(Error::Io { doing: "look at", path: file, source }),
        }
        // The count is read before the database. If another process writes in between, the database only has more
        // transactions than the count says. In the other order the database would seem to have lost these transactions.
        let counted = state_files::counted(dir)?;
        // The file is checked before `configure`: some settings are written into the file, and the file may belong to
        // another program.
        let mut spool = Self::on(connect_to_write(&file)?, file);
        let format = spool.untouched(|spool| spool.check(counted))?;
        spool.configure()?;
        spool.commit_counter = Some(state_files::open_counter(dir)?);
        spool.migrate(format)?;
        Ok(spool)
    }

    /// Opens a second connection to the same file, for reading beside the writer.
    pub(in crate::store) fn another(&self) -> Result<Self, Error> {
        let spool = Self::on(connect_to_write(&self.file)?, self.file.clone());
        spool.configure()?;
        Ok(spool)
    }

    /// Does the work of [`crate::store::open_for_command`].
    pub(in crate::store) fn open_for_command(dir: &Path) -> Result<Option<Self>, Error> {
        Self::open_existing(dir).map_err(|error| state_files::explain_full_disk(dir, error))
    }

    fn open_existing(dir: &Path) -> Result<Option<Self>, Error> {
        let file = dir.join("state.db");
        if !state_files::is_there(&file, true)? {
            return Ok(None);
        }
        // If no relay runs and there is no journal, a command that only reads opens the file as immutable: SQLite then
        // does not notice changes (`snapshot`). The lock keeps such commands out until SQLite has made the journal.
        let readers_locked_out = role::lock_out_readers(dir)?;
        let counted = state_files::counted(dir)?;
        let mut spool = Self::on(connect_to_write(&file)?, file);
        spool.untouched(|spool| {
            spool.check_current()?;
            spool.check_count(counted)
        })?;
        spool.configure()?;
        drop(readers_locked_out);
        spool.commit_counter = Some(state_files::open_counter(dir)?);
        Ok(Some(spool))
    }

    fn configure(&self) -> Result<(), Error> {
        self.read(|connection| {
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
                 PRAGMA cache_size = -2048; PRAGMA journal_size_limit = 4194304; PRAGMA secure_delete = ON;",
            )?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(())
        })
    }
}

/// Makes a new state file.
fn create(dir: &Path, file: &Path) -> Result<(), Error> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    };
    let draft = dir.join("state.db.new");
    for leftover in ["state.db.new", "state.db.new-wal", "state.db.new-shm", "state.db.new-journal"] {
        files::remove(&dir.join(leftover)).map_err(io("remove", &dir.join(leftover)))?;
    }
    drop(files::make(&draft).map_err(io("create", &draft))?);
    let sqlite = |error| explain(&draft, error);
    let connection = connect_to_write(&draft)?;
    connection
        .execute_batch(&format!(
            "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL;
             BEGIN IMMEDIATE; {} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;",
            schema::SCHEMA,
            schema::APPLICATION_ID,
            schema::VERSION
        ))
        .map_err(sqlite)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    CommitCounter::remove(dir).map_err(io("remove", &dir.join(commit_counter::NAME)))?;
    fs::rename(&draft, file).map_err(io("rename", &draft))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("flush", dir))
}

fn connect_to_write(file: &Path) -> Result<Connection, Error> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, Path::to_owned)
}

/// Opens `file`. `target` turns the path of the file into the name that SQLite gets: the path itself, or a URI.
/// Symbolic links among the directories above the file are resolved first. If the file, the journal or the journal's
/// index is a symbolic link, SQLite does not follow the link.
pub(super) fn connect(file: &Path, flags: OpenFlags, target: fn(&Path) -> PathBuf) -> Result<Connection, Error> {
    let sqlite = |error| explain(file, error);
    let real = files::without_links_above(file);
    let real = real.map_err(|source| Error::Io { doing: "look at", path: file.to_owned(), source })?;
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(target(&real), flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::role::RoleLock;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteBackend::open(dir.path()).unwrap());
        let file = dir.path().join("state.db");
        (dir, file)
    }

    #[test]
    fn files_and_directory_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let _lock = RoleLock::take(&dir).unwrap();
        let _spool = SqliteBackend::open(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let (dir, file) = fresh();
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 4").unwrap();
        let before = fs::read(&file).unwrap();
        assert!(matches!(SqliteBackend::open(dir.path()), Err(Error::Newer { found: 4, known: 3, .. })));
        assert_eq!(fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_torn_file_is_refused_and_left_alone() {
        let (dir, file) = fresh();
        let whole = fs::read(&file).unwrap();
        let half = whole.len() / 2;
        for torn in
            [&whole[..0], &whole[..7], &whole[..4096], &whole[..half], b"not a database, but long enough".as_slice()]
        {
            fs::write(&file, torn).unwrap();
            let refused = SqliteBackend::open(dir.path());
            assert!(matches!(refused, Err(Error::Damaged { .. })), "{} bytes: {refused:?}", torn.len());
            assert_eq!(fs::read(&file).unwrap(), torn);
        }
    }

    #[test]
    fn another_program_s_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
        let before = fs::read(&file).unwrap();
        assert!(matches!(SqliteBackend::open(dir.path()), Err(Error::Damaged { .. })));
        assert_eq!(fs::read(&file).unwrap(), before, "left alone");
    }

    #[test]
    fn a_link_in_place_of_the_file_is_refused_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("state.db")).unwrap();
        let refused = SqliteBackend::open(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("it is not a regular file"), "{refused}");
    }

    #[test]
    fn a_half_made_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.db.new"), b"half").unwrap();
        SqliteBackend::open(dir.path()).unwrap();
    }
}
