//! Access of the endpoint to the state on disk.
//!
//! Invariants: for each piece of work the state is opened anew, over a connection of its own, as a command opens it. At
//! most one thread reads and one thread writes at a time, even if many callers ask, and even if a caller has given up.
//! So the endpoint does not hold up the relay.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::store::{self, Error, Spool, StateLocation};
use crate::time::Clock;

/// Reads and changes the state of this process's own relay. Clones share the limits.
#[derive(Clone, Debug)]
pub struct StateAccess {
    state: StateLocation,
    clock: Clock,
    reading: Arc<Mutex<()>>,
    writing: Arc<Mutex<()>>,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateUnusable {
    /// The error of the store.
    #[error("the state cannot be used: {0}")]
    Store(#[from] Error),
    /// There is no state any more.
    #[error("the state is gone")]
    Gone,
    /// The process is ending.
    #[error("the relay is ending")]
    Ending,
}

impl StateAccess {
    /// Makes the access to a state. `clock` is the clock of the relay.
    pub fn new(state: StateLocation, clock: Clock) -> Self {
        Self { state, clock, reading: Arc::default(), writing: Arc::default() }
    }

    /// Returns the clock of the relay.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Runs `work`, which only reads.
    pub(super) async fn read<T, E>(&self, work: impl FnOnce(&Spool) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StateUnusable> + Send + 'static,
    {
        let state = self.state.clone();
        alone(&self.reading, move || {
            let snapshot = store::open_snapshot(&state).map_err(StateUnusable::Store)?.ok_or(StateUnusable::Gone)?;
            work(&*snapshot.spool)
        })
        .await
    }

    /// Runs `work`, which may change the state with the same transactions as a command.
    pub(super) async fn change<T, E>(
        &self,
        work: impl FnOnce(&mut Spool) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StateUnusable> + Send + 'static,
    {
        let state = self.state.clone();
        alone(&self.writing, move || {
            let mut spool =
                store::open_for_command(&state).map_err(StateUnusable::Store)?.ok_or(StateUnusable::Gone)?;
            work(&mut *spool)
        })
        .await
    }
}

/// Runs blocking work while no other work holds the lock. The work goes on even if the caller gives up.
async fn alone<T, E>(lock: &Arc<Mutex<()>>, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StateUnusable> + Send + 'static,
{
    let held = Arc::clone(lock).lock_owned().await;
    let task = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(held);
        done
    });
    task.await.unwrap_or_else(|_| Err(StateUnusable::Ending.into()))
}
