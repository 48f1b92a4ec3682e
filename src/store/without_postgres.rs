//! Takes the place of the backend for PostgreSQL in a build without the feature `replicas`. Such a build cannot keep a
//! state in PostgreSQL.

use std::convert::Infallible;

use super::backend::Spool;
use super::change_hints::ChangeHints;
use super::error::Error;
use super::lease::{LeaseTransactions, ReplicaGroup, RequestTransactions};
use crate::secret::Secret;

/// The type of a database that keeps a state. In this build the type has no values.
#[derive(Clone, Debug)]
pub struct NoDatabase(Infallible);

pub use NoDatabase as Database;

impl NoDatabase {
    /// Refuses every address.
    ///
    /// # Errors
    /// Always returns an error, which says that this build lacks the feature.
    pub fn new(_url: &Secret, _namespace: &str) -> Result<Self, String> {
        Err("needs a build with the feature `replicas`".to_owned())
    }

    /// Does nothing, because there is no database.
    #[must_use]
    pub fn or_password(self, _password: &Secret) -> Self {
        self
    }

    /// Returns the name of the schema.
    pub fn namespace(&self) -> &str {
        match self.0 {}
    }
}

pub(super) fn open_under_lease(database: &Database, _epoch: i64) -> Result<(Box<Spool>, Box<Spool>), Error> {
    match database.0 {}
}

pub(super) fn open_existing(database: &Database) -> Result<Option<Box<Spool>>, Error> {
    match database.0 {}
}

pub(super) fn open_with_replicas(database: &Database) -> Result<Option<(Box<Spool>, ReplicaGroup)>, Error> {
    match database.0 {}
}

pub(super) fn open_or_make(database: &Database) -> Result<Box<Spool>, Error> {
    match database.0 {}
}

pub(super) fn replicas(database: &Database) -> Result<Option<ReplicaGroup>, Error> {
    match database.0 {}
}

pub(super) fn join(
    database: &Database,
    _name: &str,
    _hints: Option<&ChangeHints>,
) -> Result<Box<dyn LeaseTransactions>, Error> {
    match database.0 {}
}

pub(super) fn request_records(database: &Database) -> Box<dyn RequestTransactions> {
    match database.0 {}
}
