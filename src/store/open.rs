//! Opening a state. Only this file chooses the backend that opens a state.

use std::path::Path;

use super::Database;
use super::backend::Spool;
use super::change_hints::ChangeHints;
use super::error::Error;
use super::lease::{LeaseTransactions, RequestTransactions};
use super::location::StateLocation;
use super::postgres;
use super::retention::RetentionCutoffs;
use super::role;
use super::snapshot::Snapshot;
use super::sqlite::{self, SqliteBackend};
use crate::domain::{Seq, UnixMs};

/// Opens the state in `dir` for the relay. A missing state is made, and a file of an earlier format is brought to the
/// present format.
///
/// # Errors
/// With [`Error::Newer`] and [`Error::Damaged`] the file is left as it is. The causes of [`Error::Io`],
/// [`Error::Locked`] and [`Error::Database`] may be temporary: a later try may succeed.
pub fn open(dir: &Path) -> Result<Box<Spool>, Error> {
    Ok(Box::new(SqliteBackend::open(dir)?))
}

/// Does what [`open`] does, and opens the same state a second time for reading.
pub(super) fn open_with_reader(dir: &Path) -> Result<(Box<Spool>, Box<Spool>), Error> {
    let writer = SqliteBackend::open(dir)?;
    let reader = writer.another()?;
    Ok((Box::new(writer), Box::new(reader)))
}

/// Opens a state in PostgreSQL twice, for writing and for reading, for the relay that has the lease of `epoch`. Once
/// the relay no longer has that lease, every change fails with [`Error::RoleLost`]. A missing schema is made, and a
/// schema of an earlier format is brought to the present format.
pub(super) fn open_under_lease(database: &Database, epoch: i64) -> Result<(Box<Spool>, Box<Spool>), Error> {
    postgres::open_under_lease(database, epoch)
}

/// Opens an existing state for the small transactions of a command; `None` if there is none.
///
/// # Errors
/// Returns [`Error::Older`] or [`Error::OlderSchema`] if the state has an earlier format, and the errors of [`open`]. A
/// state in PostgreSQL may also be refused with [`Error::NewerSchema`], [`Error::DamagedSchema`] and
/// [`Error::Unreachable`].
pub fn open_for_command(at: impl Into<StateLocation>) -> Result<Option<Box<Spool>>, Error> {
    let at = at.into();
    match at.database() {
        Some(database) => postgres::open_existing(database),
        None => Ok(SqliteBackend::open_for_command(at.dir())?.map(|spool| -> Box<Spool> { Box::new(spool) })),
    }
}

/// Opens the state for a command that has the role of the relay. A missing state is made, and a state of an earlier
/// format is brought to the present format.
pub(super) fn open_or_make(at: &StateLocation) -> Result<Box<Spool>, Error> {
    match at.database() {
        Some(database) => postgres::open_or_make(database),
        None => open(at.dir()),
    }
}

/// Opens an existing state for repeated reading while a relay may write the state; `None` if there is none. Each
/// read sees the newest changes, and no transaction stays open between two reads. This is the difference from a
/// [`Snapshot`].
///
/// # Errors
/// Returns the errors of [`open_for_command`].
pub fn open_reader(at: impl Into<StateLocation>) -> Result<Option<Box<Spool>>, Error> {
    let at = at.into();
    match at.database() {
        Some(database) => postgres::open_existing(database),
        None => Ok(sqlite::open_reader(at.dir())?.map(|spool| -> Box<Spool> { Box::new(spool) })),
    }
}

/// Opens an existing state for reading only; `None` if there is none. Nothing is written, not even into the journal.
///
/// # Errors
/// Returns the errors of [`open_for_command`].
pub fn open_snapshot(at: impl Into<StateLocation>) -> Result<Option<Snapshot>, Error> {
    let at = at.into();
    let Some(database) = at.database() else { return sqlite::open_snapshot(at.dir()) };
    let Some((spool, replicas)) = postgres::open_with_replicas(database)? else { return Ok(None) };
    let running = Some(replicas.lease.holder.is_some());
    Ok(Some(Snapshot { spool, running, replicas: Some(replicas), _role: None }))
}

/// Returns whether a relay works on the state: `Some(false)` also if there is no state, and `None` if this user has no
/// permission to find out.
///
/// # Errors
/// [`Error::Io`] if `relay.lock` can be neither opened nor locked; for a state in PostgreSQL, the errors of
/// [`open_for_command`].
pub fn is_running(at: impl Into<StateLocation>) -> Result<Option<bool>, Error> {
    let at = at.into();
    match at.database() {
        Some(database) => Ok(Some(postgres::replicas(database)?.is_some_and(|group| group.lease.holder.is_some()))),
        None => role::is_locked(at.dir()),
    }
}

/// Returns the size of the state in bytes; 0 if the size cannot be measured. `spool` is the opened state.
pub fn size(at: impl Into<StateLocation>, spool: &Spool) -> u64 {
    let at = at.into();
    match at.database() {
        Some(_) => spool.disk_usage().map_or(0, |usage| usage.used.saturating_add(usage.unused)),
        None => sqlite::size(at.dir()),
    }
}

/// Makes this process one of the relays that share a state in PostgreSQL. `name` is a name that no other relay has. A
/// missing schema is made, and a schema of an earlier format is brought to the present format. As long as the returned
/// value lives, `hints` gives a hint whenever a relay gives the lease back or a command changes the state. It gives no
/// hints if the database cannot notify this process.
///
/// # Errors
/// [`Error::NewerSchema`] and [`Error::DamagedSchema`] leave the schema as it is; [`Error::Unreachable`] and
/// [`Error::Database`] may pass.
pub fn join_replicas(
    database: &Database,
    name: &str,
    hints: Option<&ChangeHints>,
) -> Result<Box<dyn LeaseTransactions>, Error> {
    postgres::join(database, name, hints)
}

/// Returns the transactions that record the API requests of the relays that share a state. The first of these
/// transactions connects to the database.
pub fn request_records(database: &Database) -> Box<dyn RequestTransactions> {
    postgres::request_records(database)
}

/// Removes the texts of messages that every sink has, and overwrites them on the disk. The last reader calls this if
/// the relay ended while it kept texts for readers. Nothing happens if there is no state.
///
/// # Errors
/// Returns the errors of [`open_for_command`].
pub fn erase_delivered(at: impl Into<StateLocation>) -> Result<(), Error> {
    let Some(mut spool) = open_for_command(at)? else { return Ok(()) };
    let delivered = RetentionCutoffs { delivered: Some(UnixMs::MAX), dead: None };
    let mut after = Some(Seq(0));
    while let Some(from) = after {
        after = spool.remove_settled(delivered, from)?.next;
    }
    spool.erase_traces().map(drop)
}
