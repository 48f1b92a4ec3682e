//! An opened state file, and the two ways to use it: to read, and to write in a transaction. This module also turns
//! errors of SQLite into errors of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::file::commit_counter::{self, CommitCounter};
use crate::store::error::Error;
use crate::store::recipient::Recipient;

/// The state in a SQLite file.
#[derive(Debug)]
pub(in crate::store) struct SqliteBackend {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    /// The sinks for which a release makes deliveries.
    pub(super) recipients: Arc<[Recipient]>,
    /// The file in which write transactions are counted; `None` for a connection that only reads.
    pub(super) commit_counter: Option<CommitCounter>,
    /// Whether a text is removed by the transaction that records the delivery to the last sink
    /// (`keep_delivered = "0s"`).
    pub(super) erase_on_delivery: bool,
    /// Whether a reader waits for messages. While one does, texts stay for a short time after their delivery, even if
    /// [`Self::erase_on_delivery`] is on.
    pub(super) keep_for_readers: bool,
    /// Whether the journal may hold removed texts, or changes that make the file shorter. If so, the journal has to be
    /// brought into the file.
    pub(super) may_hold_traces: bool,
    /// SQLite's `data_version` at the last call of
    /// [`changed_by_others`](crate::store::DiskMaintenance::changed_by_others); `None` before the first call. This
    /// number changes when another connection changes the file.
    pub(super) data_version: Option<i64>,
}

impl SqliteBackend {
    /// Makes the backend of a file that was just opened.
    pub(super) fn on(connection: Connection, file: PathBuf) -> Self {
        Self {
            connection,
            file,
            recipients: Arc::default(),
            commit_counter: None,
            erase_on_delivery: false,
            keep_for_readers: false,
            may_hold_traces: true,
            data_version: None,
        }
    }

    /// Returns whether texts are removed on delivery now: [`Self::erase_on_delivery`] is on, and no reader waits for
    /// messages.
    pub(super) fn erases_at_once(&self) -> bool {
        self.erase_on_delivery && !self.keep_for_readers
    }

    /// Runs `work` without a write transaction, and turns its error into an error of the store.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&self.connection).map_err(|error| explain(&self.file, error))
    }

    /// Runs `work` in one write transaction, and counts the transaction if it changed anything. An error rolls the
    /// transaction back.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut count = None;
        let done = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let before = transaction.total_changes();
            let value = work(&transaction)?;
            if transaction.total_changes() != before {
                count = Some(commit_counter::count(&transaction)?);
            }
            transaction.commit()?;
            Ok(value)
        });
        let value = done.map_err(|error| explain(&self.file, error))?;
        if let (Some(count), Some(counter)) = (count, &mut self.commit_counter) {
            counter.record(count);
        }
        Ok(value)
    }

    /// Reads a setting of SQLite (a pragma) whose value is a number.
    pub(super) fn pragma(&self, name: &str) -> Result<i64, Error> {
        self.read(|connection| connection.pragma_query_value(None, name, |row| row.get(0)))
    }

    /// Returns the state directory.
    pub(super) fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Returns the path of SQLite's journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir().join("state.db-wal")
    }
}

/// Turns an error of SQLite into an error of the store: [`Error::Damaged`], [`Error::Locked`], or for every other
/// failure [`Error::Database`]. After `Locked` and `Database` a later try may succeed.
pub(super) fn explain(file: &Path, error: rusqlite::Error) -> Error {
    if says_damaged(&error) {
        let what = match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, what) => what.to_string(),
            // SQLite's error message may have several lines.
            error => error.to_string().replace('\n', " "),
        };
        Error::Damaged { file: file.to_owned(), what }
    } else if says_locked(&error) {
        Error::Locked
    } else {
        Error::Database(error.into())
    }
}

fn says_locked(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

fn says_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                // SQLite does not find a column if the name of the column in the schema was changed on the disk.
                | rusqlite::Error::InvalidColumnName(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                // The relay writes valid texts only, so an invalid text was changed on the disk.
                | rusqlite::Error::Utf8Error(..)
        )
}
