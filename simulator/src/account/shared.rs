//! The state under its lock, with its clock and the wake-ups after changes.
//!
//! Invariants: the clock is read under the lock, so requests are decided in the order of their times. Every caller sees
//! the state of the present moment. A task that waits misses no change.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::account::outage::Outage;
use crate::account::state::State;
use crate::clock::{Now, Timer};

/// The state, and everything that belongs to it, shared by all connections and handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) timer: Timer,
    pub(crate) changed: Condvar,
    pub(crate) version: watch::Sender<u64>,
    pub(crate) outage: watch::Sender<Outage>,
    /// The id of the key that was made at the start. The other program uses this key, too.
    pub(crate) key: String,
}

impl Shared {
    pub(crate) fn new(state: State, timer: Timer, key: String) -> Self {
        Self {
            state: Mutex::new(state),
            timer,
            changed: Condvar::new(),
            version: watch::Sender::new(0),
            outage: watch::Sender::new(Outage::NONE),
            key,
        }
    }

    /// Changes the present state, and wakes every task that waits for a change.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State, Now) -> T) -> T {
        let (mut state, now) = self.lock();
        let result = work(&mut state, now);
        self.wake(&state);
        result
    }

    /// Reads the present state.
    pub(crate) fn look<T>(&self, work: impl FnOnce(&State, Now) -> T) -> T {
        let (state, now) = self.lock();
        work(&state, now)
    }

    fn lock(&self) -> (MutexGuard<'_, State>, Now) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.timer.now();
        state.catch_up(now);
        (state, now)
    }

    /// Wakes every task that waits. The lock must be held: otherwise a task could look at the state before the change,
    /// and begin to wait only after this wake-up.
    fn wake(&self, _: &MutexGuard<'_, State>) {
        self.version.send_modify(|version| *version += 1);
        self.changed.notify_all();
    }

    pub(crate) fn outage(&self) -> watch::Receiver<Outage> {
        self.outage.subscribe()
    }
}
