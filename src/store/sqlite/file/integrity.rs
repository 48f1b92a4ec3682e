//! The checks that a state file is whole. The checks run before anything is changed; a file that fails a check stays
//! byte for byte as it was.
//!
//! Every start finds these defects: the file is not a state; it has a newer format; counted transactions are missing
//! ([`super::commit_counter`]); the counter of releases is too low; a record of coverage or of a walk was altered
//! ([`super::checksum`]). If the file is small, every start also finds damaged database pages, altered indexes and
//! altered messages. In a large file, an altered message or a damaged page is found only when it is read, and an
//! altered index may go unnoticed.

use std::fs;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};

use super::checksum::{self, Checksum};
use super::state_files::damaged;
use super::{commit_counter, schema};
use crate::store::coverage::CoverageTransactions as _;
use crate::store::error::Error;
use crate::store::sqlite::connection::SqliteBackend;

/// The size in bytes up to which a file is checked completely at every start. A file of this size holds some ten
/// thousand messages. The complete check of a larger file would take too long.
const FULL_CHECK_BYTES: u64 = 4 << 20;

impl SqliteBackend {
    /// Runs the checks of a start. The first comment of this module lists what they find. The state must have at least
    /// `counted` transactions. Returns the file's format.
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

    /// Checks everything that an export reads, however large the file is: the pages, the indexes and the messages.
    /// Coverage and walks are not checked. The state must have at least `counted` transactions.
    pub(in crate::store::sqlite) fn check_whole(&self, counted: i64) -> Result<(), Error> {
        let version = self.check_format()?;
        self.check_count(counted)?;
        self.check_pages()?;
        if version > 1 {
            self.check_messages()?;
        }
        Ok(())
    }

    /// Checks only that the file has the present format.
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

    /// Runs `check` without changing the file. If `check` refuses the file, the journal stays beside the file when the
    /// file is closed. By default SQLite would bring the journal into the file at that moment.
    pub(in crate::store::sqlite) fn untouched<T>(
        &self,
        check: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let keep_journal = |keep| {
            self.read(|connection| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop))
        };
        // SQLite may remove an empty journal: nothing is lost with it.
        keep_journal(fs::metadata(self.journal()).is_ok_and(|found| found.len() > 0))?;
        let found = check(self)?;
        keep_journal(false)?;
        Ok(found)
    }

    /// Checks that the database has at least `counted` transactions, and that no message has a higher `release_no` than
    /// the counter `released`.
    pub(super) fn check_count(&self, counted: i64) -> Result<(), Error> {
        let found = self.read(commits)?;
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
        let number = |sql| self.read(|connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0)));
        if number(given)? > number(released)? {
            return Err(self.damaged("the number of released messages is lower than the release number of one of them"));
        }
        Ok(())
    }

    fn check_pages(&self) -> Result<(), Error> {
        let verdict: String =
            self.read(|connection| connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(verdict)) }
    }

    fn check_messages(&self) -> Result<(), Error> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT id, time, raw, sum FROM message WHERE raw IS NOT NULL")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_str()?;
                let found = Checksum::of_message(id, row.get(1)?, row.get_ref(2)?.as_str()?);
                checksum::verify(row.get(3)?, found, || format!("message {id:?}"))?;
            }
            Ok(())
        })
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        damaged(&self.file, what)
    }
}

/// Reads how many transactions the database has counted.
fn commits(connection: &Connection) -> rusqlite::Result<i64> {
    let found = connection.query_row("SELECT value FROM counter WHERE name = 'commits'", [], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}
