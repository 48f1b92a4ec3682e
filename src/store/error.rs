//! What can be wrong with the state on disk.

use std::path::PathBuf;

use super::permissions;

/// Why the store could not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process is the relay on this state.
    #[error("the state in {dir} is in use by another joltsms-relay")]
    InUse {
        /// The state directory.
        dir: PathBuf,
    },
    /// The state directory is gone, or another one is in its place.
    #[error(
        "the state directory {dir} was removed or replaced while the relay ran: what it does now would be on record nowhere"
    )]
    Replaced {
        /// The state directory.
        dir: PathBuf,
    },
    /// Another program holds a lock on the file for longer than it is waited for.
    #[error(
        "the state is locked by another program, such as a sqlite3 shell or a backup: let it end, and try again \
         (database is locked)"
    )]
    Locked,
    /// The file was written by a newer version, which may mean things that this one does not know.
    #[error("{file} was written by a newer joltsms-relay (state format {found}, this version knows up to {known})")]
    Newer {
        /// The state file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file was written by an older version; the next start of the relay takes it over.
    #[error("{file} has the state format {found} of an older version; the next start of the relay makes {known} of it")]
    Older {
        /// The state file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is not what a relay wrote. It is left as it is.
    #[error("{file} is damaged: {what}; it was left as it is (`joltsms-relay state export` saves what is readable)")]
    Damaged {
        /// The state file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}{}", permissions::hint(path, source.kind()))]
    Io {
        /// A verb: "create", "open", "lock".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused: disk full, or an I/O error.
    #[error("the state could not be read or written: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl Error {
    /// Whether waiting or freeing space may help; damage and a newer version stay as they are.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Sqlite(_) | Self::Io { .. } | Self::InUse { .. } | Self::Locked)
    }
}

/// Whether SQLite says that somebody else has it.
pub(super) fn says_locked(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

/// Whether SQLite says that the file itself is wrong.
pub(super) fn says_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                // A name in the schema that was changed on the disk.
                | rusqlite::Error::InvalidColumnName(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                // A text that we wrote is one.
                | rusqlite::Error::Utf8Error(..)
        )
}
