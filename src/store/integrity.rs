//! Whether a state file is whole. Asked before anything is changed: a file that is not is left byte for byte as it was.
//!
//! What is found at every start: a header that is not ours, a format that is newer, transactions that were acknowledged
//! and are missing ([`super::commit_counter`]), marks and walks that changed ([`super::checksum`]). What is found in the whole of a small
//! file at every start, and in a large one when it is read: pages, indexes and messages that changed.

use std::fs;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};

use super::checksum::{self, Sum};
use super::commit_counter;
use super::error::Error;
use super::schema;
use super::spool::Spool;
use super::state_files::damaged;

/// Up to this size the whole file is checked at every start, some ten thousand messages. Beyond it a start would take too
/// long.
const FULL_CHECK_BYTES: u64 = 4 << 20;

impl Spool {
    /// Looks at everything that can be looked at quickly; see the module. `counted` is how many transactions it must have.
    /// Returns its format.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::Damaged`], or what may pass. The file was not changed.
    pub(super) fn check(&self, counted: i64) -> Result<i64, Error> {
        let version = self.check_format()?;
        self.check_count(counted)?;
        let promised = self.pragma("page_count")?.saturating_mul(self.pragma("page_size")?).unsigned_abs();
        let size = fs::metadata(&self.file).map_or(0, |found| found.len());
        if size.max(promised) <= FULL_CHECK_BYTES {
            self.check_pages()?;
            if version > 1 {
                self.check_messages()?;
            }
        }
        if version > 1 {
            self.load_coverage()?;
        }
        Ok(version)
    }

    /// Looks at everything, however long that takes.
    ///
    /// # Errors
    /// As for [`Spool::check`].
    pub(super) fn check_whole(&self, counted: i64) -> Result<(), Error> {
        let version = self.check_format()?;
        self.check_count(counted)?;
        self.check_pages()?;
        if version > 1 {
            self.check_messages()?;
        }
        Ok(())
    }

    /// Whether the file is of this very format; cheap.
    pub(super) fn check_current(&self) -> Result<(), Error> {
        match self.check_format()? {
            schema::VERSION => Ok(()),
            found => Err(Error::Older { file: self.file.clone(), found, known: schema::VERSION }),
        }
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

    /// Looks at the file without changing it: if `look` refuses it and it is closed, its journal stays beside it.
    pub(super) fn untouched<T>(&self, look: impl FnOnce(&Self) -> Result<T, Error>) -> Result<T, Error> {
        let hold = |hold| {
            let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, hold);
            set.map(drop).map_err(|error| self.explain(error))
        };
        // Without a journal there is nothing to hold, and an empty one need not be left behind.
        hold(fs::metadata(self.journal()).is_ok_and(|found| found.len() > 0))?;
        let found = look(self)?;
        hold(false)?;
        Ok(found)
    }

    /// Whether it has all transactions that were counted.
    pub(super) fn check_count(&self, counted: i64) -> Result<(), Error> {
        let found = commits(&self.connection).map_err(|error| self.explain(error))?;
        if found < counted {
            return Err(self.damaged(format!(
                "its last {} transactions are missing, as if its journal state.db-wal had been cut off, or an older copy \
                 been put back; to go on without them, remove {}",
                counted - found,
                commit_counter::NAME
            )));
        }
        let (given, released) = (
            "SELECT coalesce(max(release_no), 0) FROM message WHERE release_no IS NOT NULL",
            "SELECT coalesce(max(value), 0) FROM counter WHERE name = 'released'",
        );
        let number = |sql| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        match (number(given), number(released)) {
            (Ok(given), Ok(released)) if given > released => Err(self.damaged("a counter is behind what it counts")),
            (Err(error), _) | (_, Err(error)) => Err(self.explain(error)),
            _ => Ok(()),
        }
    }

    fn check_pages(&self) -> Result<(), Error> {
        let verdict: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| self.explain(error))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(verdict)) }
    }

    fn check_messages(&self) -> Result<(), Error> {
        let look = || {
            let mut statement =
                self.connection.prepare("SELECT id, time, raw, sum FROM message WHERE raw IS NOT NULL")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_str()?;
                let found = Sum::of_message(id, row.get(1)?, row.get_ref(2)?.as_str()?);
                checksum::verify(row.get(3)?, found, || format!("message {id:?}"))?;
            }
            Ok(())
        };
        look().map_err(|error| self.explain(error))
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        damaged(&self.file, what)
    }
}

/// How many transactions the state has.
fn commits(connection: &Connection) -> rusqlite::Result<i64> {
    let found = connection.query_row("SELECT value FROM counter WHERE name = 'commits'", [], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}
