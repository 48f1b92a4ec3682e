//! The store as tasks use it: each call runs on tokio's blocking threads, so that no executor thread waits for a disk.
//!
//! Reads go through a connection of their own and do not wait for a write in progress.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::spool::Spool;

/// A handle on the opened state; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Arc<Mutex<Spool>>,
    reader: Arc<Mutex<Spool>>,
}

impl Store {
    /// Opens the state in `dir`; see [`Spool::open`].
    ///
    /// # Errors
    /// As for [`Spool::open`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let writer = Spool::open(dir)?;
        let reader = writer.another()?;
        Ok(Self { writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)) })
    }

    /// Runs one of [`Spool`]'s writing functions.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        on_blocking_thread(&self.writer, work).await
    }

    /// Runs one of [`Spool`]'s reading functions; it sees all that was written before the call.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        on_blocking_thread(&self.reader, |spool| work(spool)).await
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    spool: &Arc<Mutex<Spool>>,
    work: impl FnOnce(&mut Spool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let spool = Arc::clone(spool);
    let run = tokio::task::spawn_blocking(move || {
        // A panic in another call rolled its transaction back: the connection itself is whole.
        let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut spool)
    });
    match run.await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The runtime is being shut down and started nothing more.
        Err(_) => Err(Error::Sqlite(rusqlite::Error::InvalidQuery)),
    }
}
