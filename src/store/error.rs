//! The errors of the store: everything that can be wrong with a state.

use std::path::{Path, PathBuf};

use super::permissions;
use crate::domain::shell_word;

/// Why a call of the store failed. The failed call has not changed the state. There is one exception: after
/// [`Error::Uncertain`] the state may have changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the role of the relay on this state.
    #[error(
        "the state in {dir} is in use by another joltsms-relay: stop that relay (`joltsms-relay status --state-dir {}` \
         shows it), or give this one a state directory of its own (state.dir, --state-dir)",
        shell_word(&dir.to_string_lossy())
    )]
    InUse {
        /// The state directory.
        dir: PathBuf,
    },
    /// The state directory is gone, or another directory is in its place.
    #[error(
        "the state directory {dir} was removed or replaced while the relay ran: nothing that the relay does now \
         would be recorded"
    )]
    Replaced {
        /// The state directory.
        dir: PathBuf,
    },
    /// Another program holds a lock on the state for longer than the relay waits for the lock.
    #[error(
        "the state is locked by another program, such as joltsms-relay state export, a sqlite3 shell or a backup: \
         let it end, and try again (database is locked)"
    )]
    Locked,
    /// A newer version wrote the state. This version may not understand what is in it.
    #[error("{file} was written by a newer joltsms-relay (state format {found}, this version knows up to {known})")]
    Newer {
        /// The state file.
        file: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// An older version wrote the state. The next start of the relay brings the state to the present format.
    #[error(
        "{file} has the state format {found} of an older version; the next start of the relay brings it to \
         format {known}"
    )]
    Older {
        /// The state file.
        file: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// The state holds something that no relay wrote. The state is left as it is.
    #[error(
        "{file} is damaged: {what}; it was left as it is (`joltsms-relay state export{}` saves what is readable)",
        of_state(file)
    )]
    Damaged {
        /// The state file.
        file: PathBuf,
        /// The defect that was found.
        what: String,
    },
    /// A newer version wrote the state in PostgreSQL. This version may not understand what is in it.
    #[error(
        "the schema {namespace} was written by a newer joltsms-relay (state format {found}, this version knows up to \
         {known})"
    )]
    NewerSchema {
        /// The name of the schema.
        namespace: String,
        /// The format of the schema.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// An older version wrote the state in PostgreSQL. The next start of the relay brings it to the present format.
    #[error(
        "the schema {namespace} has the state format {found} of an older version; the next start of the relay brings \
         it to format {known}"
    )]
    OlderSchema {
        /// The name of the schema.
        namespace: String,
        /// The format of the schema.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// The schema holds something that no relay wrote. The schema is left as it is.
    #[error("the schema {namespace} is not as a relay writes it: {what}; it was left as it is")]
    DamagedSchema {
        /// The name of the schema.
        namespace: String,
        /// The defect that was found.
        what: String,
    },
    /// The database that keeps the state cannot be reached, or the connection to it broke.
    #[error("the database of the state cannot be reached: {0}")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another relay is the active one on this state, and keeps the lease.
    #[error("another joltsms-relay is the active one on the state in the schema {namespace}: {holder}")]
    HasActiveRelay {
        /// The name of the schema.
        namespace: String,
        /// The name of the active relay.
        holder: String,
    },
    /// Another relay is the active one, or the lease ended before this relay renewed it. Nothing was changed.
    #[error("this relay is not the active one: another relay took over, or its lease has ended")]
    RoleLost,
    /// The connection broke while a change was being committed, and the database does not tell whether the change was
    /// made. From now on the opened state refuses every change. A state that is opened again shows whether the change
    /// was made.
    #[error("the connection to the database broke during a commit, and it is unknown whether the change is recorded")]
    Uncertain,
    /// The database has fewer transactions than this relay made or saw, because it was restored from a backup. From now
    /// on the opened state refuses every change. A relay that opens the state again goes on from the restored state.
    #[error("the database of the state was restored to an earlier moment")]
    WentBack,
    /// The operating system refused to do something with a file.
    #[error("cannot {doing} {path}: {source}{}", permissions::hint(path, source.kind()))]
    Io {
        /// The action that failed, as a verb: "create", "open", "lock".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why the operating system refused.
        source: std::io::Error,
    },
    /// The database refused for a reason that may pass, such as a full disk.
    #[error("the state could not be read or written: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Returns ` --state-dir DIR`, the flag with which a command uses the directory of this state file. If the path names
/// no directory, the text is empty.
fn of_state(file: &Path) -> String {
    let dir = file.parent().map(|dir| shell_word(&dir.to_string_lossy())).filter(|dir| dir != "''");
    dir.map(|dir| format!(" --state-dir {dir}")).unwrap_or_default()
}

impl Error {
    /// Returns whether this error ends the term of the relay, but not the relay: the state itself is in order, and the
    /// relay may ask for the lease again.
    pub fn ends_term(&self) -> bool {
        matches!(self, Self::RoleLost | Self::Uncertain | Self::WentBack)
    }

    /// Returns whether the state holds something that no relay wrote.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::DamagedSchema { .. })
    }

    /// Returns whether the same call may succeed later, for example when the disk has room again. Damage and a state of
    /// another version do not pass.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Unreachable(_) | Self::Io { .. } | Self::InUse { .. } | Self::Locked)
    }
}
