//! Where a state is: in a directory, or in a PostgreSQL database, so that several relays can share it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Database;

/// Where a state is. Clones are cheap.
#[derive(Clone, Debug)]
pub struct StateLocation {
    dir: Arc<Path>,
    database: Option<Database>,
}

impl StateLocation {
    /// Makes the location of a state. Without a database, the state is a file in the directory `dir`. With a database,
    /// `dir` holds only what belongs to the relay of this machine: its lock, its status file, its request budget, and
    /// the readers that it serves.
    pub fn new(dir: &Path, database: Option<Database>) -> Self {
        Self { dir: dir.into(), database }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the PostgreSQL database that keeps the state; `None` if a SQLite file keeps it.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Returns whether several relays may share the state.
    pub fn is_shared(&self) -> bool {
        self.database.is_some()
    }
}

/// The location of a state in a directory.
impl From<&Path> for StateLocation {
    fn from(dir: &Path) -> Self {
        Self::new(dir, None)
    }
}

/// The location of a state in a directory.
impl From<&PathBuf> for StateLocation {
    fn from(dir: &PathBuf) -> Self {
        Self::new(dir, None)
    }
}

impl From<&Self> for StateLocation {
    fn from(location: &Self) -> Self {
        location.clone()
    }
}

/// Displays the location in the form that a sentence needs after "in": "in the schema relay of the database".
impl fmt::Display for StateLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(database) => write!(out, "the schema {} of the database", database.namespace()),
            None => self.dir.display().fmt(out),
        }
    }
}
