//! Opening the state: one writer, checked before it is touched.
//!
//! Recovery: the file is SQLite in WAL mode with `synchronous = FULL`, so a committed transaction survives a power cut
//! and an interrupted one never happened. A new file is made under another name and renamed when it is whole; a
//! `state.db` that is empty, cut or of another format was therefore not left so by a relay, and is refused untouched.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::commit_counter::{self, Mark};
use super::error::{Error, says_damaged, says_locked};
use super::release::Recipient;
use super::{schema, state_files};
use crate::files;

/// The state of one relay, opened for its only writer. Synchronous: see [`super::Store`] for use from tasks.
#[derive(Debug)]
pub struct Spool {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    /// Who gets what is released; see [`Spool::register_sinks`].
    pub(super) recipients: Arc<[Recipient]>,
    /// Where its transactions are counted; a connection that only reads has none.
    pub(super) mark: Option<Mark>,
    /// See [`super::erasure`]: whether texts go at once, whether the journal may hold what went (or leaves the file longer than
    /// it has to be), and how often others had written when that was asked last.
    pub(super) at_once: bool,
    pub(super) has_traces: bool,
    pub(super) data_version: Option<i64>,
}

/// How long a command that writes beside the daemon may be waited for.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Spool {
    /// Opens `state.db` in `dir`, or makes it if there is none. A file of an earlier format is brought to this one.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Damaged`] leave the file as it is; [`Error::Io`] and [`Error::Sqlite`] may pass.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        Self::open_in(dir).map_err(|error| state_files::explain_start(dir, error))
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
        // Another process may be writing: what was counted before the state is looked at is there by then.
        let counted = state_files::counted(dir)?;
        // Looked at before anything is set: some settings are kept in the file, which may not be ours.
        let mut spool = Self::on(open(&file)?, file);
        let format = spool.untouched(|spool| spool.check(counted))?;
        spool.configure()?;
        spool.mark = Some(state_files::open_mark(dir)?);
        spool.migrate(format)?;
        Ok(spool)
    }

    /// A second connection to the same file, for queries beside the writer.
    ///
    /// # Errors
    /// As for [`Spool::open`].
    pub fn another(&self) -> Result<Self, Error> {
        let spool = Self::on(open(&self.file)?, self.file.clone());
        spool.configure()?;
        Ok(spool)
    }

    /// An opened file, of which nothing is known yet.
    pub(super) fn on(connection: Connection, file: PathBuf) -> Self {
        let recipients = Arc::default();
        Self { connection, file, recipients, mark: None, at_once: false, has_traces: true, data_version: None }
    }

    /// The state directory.
    pub(super) fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// SQLite's journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir().join("state.db-wal")
    }

    /// Turns SQLite's answer into ours: damage is told from what may pass.
    pub(super) fn explain(&self, error: rusqlite::Error) -> Error {
        explain(&self.file, error)
    }

    pub(super) fn configure(&self) -> Result<(), Error> {
        self.connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
                 PRAGMA cache_size = -2048; PRAGMA journal_size_limit = 4194304; PRAGMA secure_delete = ON;",
            )
            .map_err(|error| self.explain(error))?;
        self.connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    }

    pub(super) fn pragma(&self, name: &str) -> Result<i64, Error> {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| self.explain(error))
    }
}

fn explain(file: &Path, error: rusqlite::Error) -> Error {
    if says_damaged(&error) {
        let what = match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, what) => what.to_string(),
            // SQLite's own words may have several lines.
            error => error.to_string().replace('\n', " "),
        };
        Error::Damaged { file: file.to_owned(), what }
    } else if says_locked(&error) {
        Error::Locked
    } else {
        Error::Sqlite(error)
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::Io {
        doing: "create the state directory",
        path: dir.to_owned(),
        source,
    })
}

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
    let connection = open(&draft)?;
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
    Mark::remove(dir).map_err(io("remove", &dir.join(commit_counter::NAME)))?;
    fs::rename(&draft, file).map_err(io("rename", &draft))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("flush", dir))
}

fn open(file: &Path) -> Result<Connection, Error> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, Path::to_owned)
}

/// Opens `file` by the name that `target` makes of its path. SQLite follows no link in its place, nor in those of the
/// journal and the journal's index.
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
    use super::super::role::RoleLock;
    use super::*;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        drop(Spool::open(dir.path()).unwrap());
        let file = dir.path().join("state.db");
        (dir, file)
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
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("state.db")).unwrap();
        let refused = Spool::open(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("it is not a regular file"), "{refused}");
    }

    #[test]
    fn a_half_made_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.db.new"), b"half").unwrap();
        Spool::open(dir.path()).unwrap();
    }
}
