//! Opening the state: one writer, checked before it is touched.
//!
//! Recovery: the file is SQLite in WAL mode with `synchronous = FULL`, so a committed transaction survives a power cut
//! and an interrupted one never happened. A new file is made under another name and renamed when it is whole; a
//! `state.db` that is empty, cut or of another format was therefore not left so by a relay, and is refused untouched.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{Error, says_damaged};
use super::release::Recipient;
use super::schema;

/// The state of one relay, opened for its only writer. Synchronous: see [`super::Store`] for use from tasks.
#[derive(Debug)]
pub struct Spool {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    /// Who gets what is released; see [`Spool::register_sinks`].
    pub(super) recipients: Arc<[Recipient]>,
}

/// Proof of being the only relay on a state directory; given up when dropped.
#[derive(Debug)]
pub struct RoleLock {
    _file: File,
}

/// How long a command that writes beside the daemon may be waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that looks whether there is a relay holds the lock for a moment: it is tried again so often.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Up to this size the whole file is checked at every start; beyond it only what is read.
const FULL_CHECK_BYTES: u64 = 16 << 20;

impl RoleLock {
    /// Takes the role of the relay on `dir`, which is made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it; [`Error::Io`] otherwise.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        let path = dir.join("relay.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::Io { doing: "open", path: path.clone(), source })?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(Error::Io { doing: "lock", path, source }),
            }
        }
        Err(Error::InUse { dir: dir.to_owned() })
    }
}

impl Spool {
    /// Opens `state.db` in `dir`, or makes it if there is none. A file of an earlier format is brought to this one.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Damaged`] leave the file as it is; [`Error::Io`] and [`Error::Sqlite`] may pass.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        let file = dir.join("state.db");
        match fs::metadata(&file) {
            Ok(_) => check_header(&file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => create(dir, &file)?,
            Err(source) => return Err(Error::Io { doing: "look at", path: file, source }),
        }
        // Looked at before anything is set: some settings are kept in the file, which may not be ours.
        let mut spool = Self { connection: open(&file)?, file, recipients: Arc::default() };
        let format = spool.check()?;
        spool.configure()?;
        spool.migrate(format)?;
        Ok(spool)
    }

    /// A second connection to the same file, for queries beside the writer.
    ///
    /// # Errors
    /// As for [`Spool::open`].
    pub fn another(&self) -> Result<Self, Error> {
        let spool = Self { connection: open(&self.file)?, file: self.file.clone(), recipients: Arc::default() };
        spool.configure()?;
        Ok(spool)
    }

    /// Turns SQLite's answer into ours: damage is told from what may pass.
    pub(super) fn explain(&self, error: rusqlite::Error) -> Error {
        explain(&self.file, error)
    }

    /// Whether the file is of this very format; cheap.
    pub(super) fn check_current(&self) -> Result<(), Error> {
        match self.check_format()? {
            schema::VERSION => Ok(()),
            found => Err(Error::Older { file: self.file.clone(), found, known: schema::VERSION }),
        }
    }

    /// Returns its format.
    fn check(&self) -> Result<i64, Error> {
        let version = self.check_format()?;
        self.check_pages()?;
        Ok(version)
    }

    fn check_format(&self) -> Result<i64, Error> {
        let id = self.pragma("application_id")?;
        let version = self.pragma("user_version")?;
        if id != schema::APPLICATION_ID {
            return Err(self.damaged("it is a database, but not one of joltsms-relay"));
        }
        if version > schema::VERSION {
            return Err(Error::Newer { file: self.file.clone(), found: version, known: schema::VERSION });
        }
        if version < 1 {
            return Err(self.damaged(format!("its state format is {version}")));
        }
        Ok(version)
    }

    fn check_pages(&self) -> Result<(), Error> {
        let promised = self.pragma("page_count")?.saturating_mul(self.pragma("page_size")?);
        let size = fs::metadata(&self.file).map_or(0, |found| found.len());
        if size <= FULL_CHECK_BYTES && promised <= i64::try_from(FULL_CHECK_BYTES).unwrap_or(i64::MAX) {
            let verdict: String = self
                .connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
                .map_err(|error| self.explain(error))?;
            if verdict != "ok" {
                return Err(self.damaged(verdict));
            }
        }
        Ok(())
    }

    pub(super) fn configure(&self) -> Result<(), Error> {
        self.connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
                 PRAGMA cache_size = -2048; PRAGMA journal_size_limit = 4194304;",
            )
            .map_err(|error| self.explain(error))?;
        self.connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    }

    fn pragma(&self, name: &str) -> Result<i64, Error> {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| self.explain(error))
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { file: self.file.clone(), what: what.into() }
    }
}

fn explain(file: &Path, error: rusqlite::Error) -> Error {
    if says_damaged(&error) {
        Error::Damaged { file: file.to_owned(), what: error.to_string() }
    } else {
        Error::Sqlite(error)
    }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::Io {
        doing: "create the state directory",
        path: dir.to_owned(),
        source,
    })
}

/// SQLite takes an empty file for a new database, and would start over where a state was lost: that is refused here.
pub(super) fn check_header(file: &Path) -> Result<(), Error> {
    let mut header = [0_u8; 16];
    let io = |source| Error::Io { doing: "read", path: file.to_owned(), source };
    match File::open(file).map_err(io)?.read_exact(&mut header) {
        Ok(()) if &header == b"SQLite format 3\0" => Ok(()),
        Ok(()) => Err(Error::Damaged { file: file.to_owned(), what: "it is not a SQLite database".to_owned() }),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::Damaged { file: file.to_owned(), what: "it is cut off before its header ends".to_owned() })
        }
        Err(error) => Err(io(error)),
    }
}

fn create(dir: &Path, file: &Path) -> Result<(), Error> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    };
    let draft = dir.join("state.db.new");
    for leftover in ["state.db.new", "state.db.new-wal", "state.db.new-shm", "state.db.new-journal"] {
        match fs::remove_file(dir.join(leftover)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("remove", &dir.join(leftover))(error)),
            _ => {}
        }
    }
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft).map_err(io("create", &draft))?;
    let sqlite = |error| explain(&draft, error);
    let connection = Connection::open(&draft).map_err(sqlite)?;
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
    fs::rename(&draft, file).map_err(io("rename", &draft))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("flush", dir))
}

fn open(file: &Path) -> Result<Connection, Error> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX, file)
}

/// Opens `target`, which is `file` or a URI of it.
pub(super) fn connect(target: &Path, flags: OpenFlags, file: &Path) -> Result<Connection, Error> {
    let sqlite = |error| explain(file, error);
    let connection = Connection::open_with_flags(target, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        drop(Spool::open(dir.path()).unwrap());
        let file = dir.path().join("state.db");
        (dir, file)
    }

    #[test]
    fn only_one_relay_on_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = RoleLock::take(dir.path()).unwrap();
        assert!(matches!(RoleLock::take(dir.path()), Err(Error::InUse { .. })));
        drop(first);
        RoleLock::take(dir.path()).unwrap();
    }

    #[test]
    fn files_and_directory_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let _lock = RoleLock::take(&dir).unwrap();
        let _spool = Spool::open(&dir).unwrap();
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
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
        let before = fs::read(&file).unwrap();
        assert!(matches!(Spool::open(dir.path()), Err(Error::Newer { found: 3, known: 2, .. })));
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
            let refused = Spool::open(dir.path());
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
        assert!(matches!(Spool::open(dir.path()), Err(Error::Damaged { .. })));
        assert_eq!(fs::read(&file).unwrap(), before, "left alone");
    }

    #[test]
    fn a_half_made_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.db.new"), b"half").unwrap();
        Spool::open(dir.path()).unwrap();
    }
}
