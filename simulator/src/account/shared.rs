//! The state under its lock, the clock, and who is told when something changes.
//!
//! Invariants: the clock is read under the lock, so requests are decided in the order of their times; nobody sees a
//! state that is not brought up to that time; nobody who waits can miss a change.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::account::outage::Outage;
use crate::account::state::State;
use crate::clock::{Now, Timer};

/// The state, and what belongs to it, shared by all connections and handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) timer: Timer,
    pub(crate) changed: Condvar,
    pub(crate) version: watch::Sender<u64>,
    pub(crate) outage: watch::Sender<Outage>,
    /// The id of the key made at the start, which the other program uses too.
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

    /// Does something with the state of this moment, and wakes whoever waits for a change.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State, Now) -> T) -> T {
        let (mut state, now) = self.lock();
        let result = work(&mut state, now);
        self.wake(&state);
        result
    }

    /// Looks at the state of this moment.
    pub(crate) fn look<T>(&self, work: impl FnOnce(&State, Now) -> T) -> T {
        let (state, now) = self.lock();
        work(&state, now)
    }

    fn lock(&self) -> (MutexGuard<'_, State>, Now) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: two requests are decided in the order of their times.
        let now = self.timer.now();
        state.catch_up(now);
        (state, now)
    }

    /// Only with the lock held: nobody can be between looking and waiting.
    fn wake(&self, _: &MutexGuard<'_, State>) {
        self.version.send_modify(|version| *version += 1);
        self.changed.notify_all();
    }

    pub(crate) fn outage(&self) -> watch::Receiver<Outage> {
        self.outage.subscribe()
    }
}
