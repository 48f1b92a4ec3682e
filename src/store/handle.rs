//! The handle on the store for asynchronous tasks: each call runs on one of tokio's blocking threads, so that no
//! executor thread waits for a disk.
//!
//! Reads have a connection of their own and do not wait for a write in progress.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::Database;
use super::backend::Spool;
use super::error::Error;
use super::open::{open_under_lease, open_with_reader};

/// A handle on an opened state. Clones of the handle share the opened state.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Arc<Mutex<Box<Spool>>>,
    reader: Arc<Mutex<Box<Spool>>>,
}

impl Store {
    /// Opens the state in `dir` for the relay, or makes it if there is none.
    ///
    /// # Errors
    /// Returns the errors of [`super::open`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self::of(open_with_reader(dir)?))
    }

    /// Opens a state in PostgreSQL for the relay that has the lease of `epoch`. Once the relay no longer has that
    /// lease, every change fails with [`Error::RoleLost`].
    ///
    /// # Errors
    /// Returns the errors of [`super::join_replicas`].
    pub fn open_under_lease(database: &Database, epoch: i64) -> Result<Self, Error> {
        Ok(Self::of(open_under_lease(database, epoch)?))
    }

    /// Makes a handle of a state that was opened twice, for writing and for reading.
    pub(super) fn of((writer, reader): (Box<Spool>, Box<Spool>)) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)) }
    }

    /// Runs `work`, which may change the state. Only one such `work` runs at a time.
    ///
    /// # Errors
    /// Returns the errors of `work`, and [`Error::Database`] if the process is ending and runs nothing more.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        on_blocking_thread(&self.writer, work).await
    }

    /// Runs `work`, which only reads. `work` sees every change that was written before the call.
    ///
    /// # Errors
    /// Returns the errors of `work`, and [`Error::Database`] as [`Store::write`] does.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        on_blocking_thread(&self.reader, |spool| work(spool)).await
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    spool: &Arc<Mutex<Box<Spool>>>,
    work: impl FnOnce(&mut Spool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let spool = Arc::clone(spool);
    let run = tokio::task::spawn_blocking(move || {
        // If another call has panicked, its transaction was rolled back, and the connection can still be used.
        let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut **spool)
    });
    match run.await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(Error::Database("the process is ending".into())),
    }
}
