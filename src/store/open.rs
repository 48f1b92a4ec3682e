//! Opening a state. Only this file knows which backend keeps a state.

use std::path::Path;

use super::backend::Spool;
use super::error::Error;
#[cfg(feature = "replicas")]
use super::postgres::{Database, PostgresBackend};
use super::retention::RetentionCutoffs;
use super::snapshot::Snapshot;
use super::sqlite::{self, SqliteBackend};
use crate::domain::{Seq, UnixMs};

/// Opens the state in `dir` for the relay. A missing state is made, and a file of an earlier format is brought to the
/// present format.
///
/// # Errors
/// [`Error::Newer`] and [`Error::Damaged`] leave the file as it is; [`Error::Io`], [`Error::Locked`] and
/// [`Error::Database`] may pass.
pub fn open(dir: &Path) -> Result<Box<Spool>, Error> {
    Ok(Box::new(SqliteBackend::open(dir)?))
}

/// Opens the state in a schema of a PostgreSQL database, without a lease. A missing schema is made, and one of an earlier
/// format is brought to the present format.
///
/// # Errors
/// [`Error::NewerSchema`] and [`Error::DamagedSchema`] leave the schema as it is; [`Error::Database`] may pass.
#[cfg(feature = "replicas")]
pub fn open_database(database: &Database) -> Result<Box<Spool>, Error> {
    Ok(Box::new(PostgresBackend::open(database)?))
}

/// Opens an existing state in a schema of a PostgreSQL database for the small transactions of a command; `None` if there
/// is none.
///
/// # Errors
/// Returns [`Error::OlderSchema`] if the state has an earlier format, and the errors of [`open_database`].
#[cfg(feature = "replicas")]
pub fn open_database_for_command(database: &Database) -> Result<Option<Box<Spool>>, Error> {
    Ok(PostgresBackend::open_existing(database)?.map(|spool| -> Box<Spool> { Box::new(spool) }))
}

/// Opens the state in a schema of a PostgreSQL database for the relay that has the lease of `epoch`: twice, for writing
/// and for reading. Every change without that lease fails with [`Error::RoleLost`].
#[cfg(feature = "replicas")]
pub(super) fn open_database_with_reader(database: &Database, epoch: i64) -> Result<(Box<Spool>, Box<Spool>), Error> {
    let writer = PostgresBackend::open(database)?.under_lease(epoch);
    let reader = writer.another();
    Ok((Box::new(writer), Box::new(reader)))
}

/// Does what [`open`] does, and opens the same state a second time for reading.
pub(super) fn open_with_reader(dir: &Path) -> Result<(Box<Spool>, Box<Spool>), Error> {
    let writer = SqliteBackend::open(dir)?;
    let reader = writer.another()?;
    Ok((Box::new(writer), Box::new(reader)))
}

/// Opens an existing state for the small transactions of a command; `None` if there is none.
///
/// # Errors
/// Returns [`Error::Older`] if the state has an earlier format, and the errors of [`open`].
pub fn open_for_command(dir: &Path) -> Result<Option<Box<Spool>>, Error> {
    Ok(SqliteBackend::open_for_command(dir)?.map(|spool| -> Box<Spool> { Box::new(spool) }))
}

/// Opens an existing state for reading again and again beside the relay that writes it; `None` if there is none. Unlike a
/// [`Snapshot`], each read sees the newest changes, and no transaction stays open between two reads.
///
/// # Errors
/// Returns [`Error::Older`] if the state has an earlier format, and the errors of [`open`].
pub fn open_reader(dir: &Path) -> Result<Option<Box<Spool>>, Error> {
    Ok(sqlite::open_reader(dir)?.map(|spool| -> Box<Spool> { Box::new(spool) }))
}

/// Removes the texts of messages that every sink has, and overwrites them on the disk. This is for the last reader of a
/// state whose relay ended while it kept these texts for readers. Nothing happens if there is no state.
///
/// # Errors
/// As for [`open_for_command`].
pub fn erase_delivered(dir: &Path) -> Result<(), Error> {
    let Some(mut spool) = open_for_command(dir)? else { return Ok(()) };
    let delivered = RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None };
    let mut after = Some(Seq(0));
    while let Some(from) = after {
        after = spool.remove_settled(delivered, from)?.next;
    }
    spool.erase_traces().map(drop)
}

/// Opens an existing state for reading only; `None` if there is none. Nothing is written, not even into the journal.
///
/// # Errors
/// Returns [`Error::Older`] if the state has an earlier format, and the errors of [`open`].
pub fn open_snapshot(dir: &Path) -> Result<Option<Snapshot>, Error> {
    sqlite::open_snapshot(dir)
}
