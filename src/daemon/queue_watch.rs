//! Reads how many messages wait for each sink, again and again, for the status that the service manager shows.
//!
//! Invariant: no other part of the relay waits for these readings. They run in a task of their own, and take a fiftieth
//! of the time at most, because counting a long queue keeps other parts that read the state waiting.

use std::time::Duration;

use tokio::sync::watch;

use crate::store::{SinkView, Spool, Store};
use crate::time::Clock;

/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_secs(5);

/// The wait after a reading is at least this many times as long as the reading.
const SHARE: u32 = 50;

/// The queues of all sinks, as they were a short time ago.
#[derive(Debug)]
pub(super) struct QueueWatch(watch::Receiver<Vec<SinkView>>);

impl QueueWatch {
    /// Starts to read the queues. The readings end when the returned value is dropped.
    pub(super) fn start(store: Store, clock: Clock) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let reading = async {
                loop {
                    let began = clock.monotonic();
                    // A state that cannot be read is reported by the parts of the relay that need the state.
                    if let Ok(queues) = store.read(Spool::sinks).await {
                        sender.send_replace(queues);
                    }
                    tokio::time::sleep(PAUSE.max(SHARE * (clock.monotonic() - began))).await;
                }
            };
            tokio::select! {
                () = reading => {}
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }

    /// Makes a watch that reads nothing, and so always returns empty queues.
    pub(super) fn off() -> Self {
        Self(watch::channel(Vec::new()).1)
    }

    /// Returns the queues of the last reading; empty before the first reading.
    pub(super) fn queues(&self) -> watch::Ref<'_, Vec<SinkView>> {
        self.0.borrow()
    }
}
