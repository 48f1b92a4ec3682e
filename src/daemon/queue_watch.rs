//! Counts the messages that wait for each sink, every few seconds, for the status that the service manager shows.
//!
//! Invariant: no other part of the relay waits for these counts. They run in a task of their own. Counting a long queue
//! keeps other parts that read the state waiting, so it takes at most a fiftieth of the time.

use std::time::Duration;

use tokio::sync::watch;

use crate::store::{SinkView, Spool, Store};
use crate::time::Clock;

/// The shortest wait between two counts.
const LEAST_WAIT: Duration = Duration::from_secs(5);

/// The wait after a count is at least this many times as long as the count took.
const WAIT_FACTOR: u32 = 50;

/// The queues of all sinks, as they were counted last.
#[derive(Debug)]
pub(super) struct QueueWatch(watch::Receiver<Vec<SinkView>>);

impl QueueWatch {
    /// Starts to count. The counting ends when the returned value is dropped.
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
                    tokio::time::sleep(LEAST_WAIT.max(WAIT_FACTOR * (clock.monotonic() - began))).await;
                }
            };
            tokio::select! {
                () = reading => {}
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }

    /// Makes a watch that never counts. It has no queues.
    pub(super) fn off() -> Self {
        Self(watch::channel(Vec::new()).1)
    }

    /// Returns the queues as they were counted last; none before the first count.
    pub(super) fn queues(&self) -> watch::Ref<'_, Vec<SinkView>> {
        self.0.borrow()
    }
}
