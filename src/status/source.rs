//! The status of the relay in this process, for the admin endpoint and the heartbeat.
//!
//! Invariants: the state is read with a separate connection, at most once a second, and by one thread at a time. So the
//! other parts of the relay never wait for these readings, even if many callers ask, or if the disk hangs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::fields::Status;
use super::gather::StateView;
use super::status_file::Live;
use crate::domain::UnixMs;
use crate::store::{self, DeadLetterReason, Spool, StateLocation};
use crate::time::{Clock, Instant};

/// A status that is younger than this is returned again, and not read anew.
const FRESH: Duration = Duration::from_secs(1);

/// A status, with numbers that only the admin endpoint shows.
#[derive(Clone, Debug)]
pub struct StatusReading {
    /// The status.
    pub status: Status,
    /// How many dead letters each sink has for each reason.
    pub dead_letters: Vec<DeadLetterReason>,
    /// The highest release number so far; messages are numbered in the order in which they are released.
    pub last_released: i64,
}

/// Why the status cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StatusUnreadable {
    /// The state cannot be read. The text says why.
    #[error("the state cannot be read: {0}")]
    Store(String),
    /// The process is ending.
    #[error("the relay is ending")]
    Ending,
}

/// Reads the status of the relay in this process. Clones share the last reading.
#[derive(Clone, Debug)]
pub struct StatusSource {
    state: StateLocation,
    clock: Clock,
    live: watch::Receiver<Live>,
    last: Arc<Mutex<Option<LastReading>>>,
}

#[derive(Debug)]
struct LastReading {
    at: Instant,
    reading: Result<Arc<StatusReading>, StatusUnreadable>,
}

impl StatusSource {
    /// Makes the source. `state` says where the relay's state is. `live` holds the reports of the relay about itself.
    pub fn new(state: StateLocation, clock: Clock, live: watch::Receiver<Live>) -> Self {
        Self { state, clock, live, last: Arc::default() }
    }

    /// Returns the status, which is at most a second old.
    ///
    /// # Errors
    /// [`StatusUnreadable`] says why the status cannot be read.
    pub async fn read(&self) -> Result<Arc<StatusReading>, StatusUnreadable> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some(last) = last.as_ref().filter(|last| self.clock.monotonic() - last.at < FRESH) {
            return last.reading.clone();
        }
        // The task keeps the lock until the state was read, even if the caller has given up by then. So if the disk
        // hangs, only one thread waits for it.
        let source = self.clone();
        let task = tokio::spawn(async move {
            let reader = source.clone();
            let reading = tokio::task::spawn_blocking(move || reader.read_now());
            let reading = reading.await.map_err(|_| StatusUnreadable::Ending).and_then(|reading| reading);
            *last = Some(LastReading { at: source.clock.monotonic(), reading: reading.clone() });
            reading
        });
        task.await.unwrap_or(Err(StatusUnreadable::Ending))
    }

    /// Returns the relay's time. A relay that stands by first takes it from the state, where the active relay has
    /// recorded it.
    fn now(&self, spool: &Spool, stands_by: bool) -> Result<UnixMs, store::Error> {
        if stands_by {
            let (left, runs) = spool.clock_beside()?;
            self.clock.adopt_memory(left, runs);
        }
        Ok(self.clock.relay_time())
    }

    fn read_now(&self) -> Result<Arc<StatusReading>, StatusUnreadable> {
        let unreadable = |error: store::Error| StatusUnreadable::Store(error.to_string());
        let gone = || StatusUnreadable::Store("the state is gone".to_owned());
        let snapshot = store::open_snapshot(&self.state).map_err(unreadable)?.ok_or_else(gone)?;
        let live = self.live.borrow().clone();
        // Before the first report, `live` holds nothing about the relay.
        let live = Some(live).filter(|live| live.relay.pid.is_some());
        let dead_letters = snapshot.spool.dead_letter_reasons().map_err(unreadable)?;
        let last_released = snapshot.spool.last_released().map_err(unreadable)?;
        let stands_by = live.as_ref().is_some_and(|live| live.relay.stands_by);
        let now = self.now(&*snapshot.spool, stands_by).map_err(unreadable)?;
        let view = StateView { state: &self.state, spool: &*snapshot.spool, replicas: snapshot.replicas };
        let status = Status::gather(view, now, true, live, None);
        Ok(Arc::new(StatusReading { status: status.map_err(unreadable)?, dead_letters, last_released }))
    }
}
