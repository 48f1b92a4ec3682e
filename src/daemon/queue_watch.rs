//! Counts the messages that wait for each sink, every few seconds, for the status that the service manager shows.
//!
//! Invariant: no other part of the relay waits for a count to begin or to be complete, because a task of its own
//! counts. But while a long queue is counted, no other part can read the state. So the counts take at most a fiftieth
//! of the time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cut_off::cut_off;
use crate::store::{SinkView, Spool, Store};
use crate::time::Clock;

/// The shortest wait between two counts.
const LEAST_WAIT: Duration = Duration::from_secs(5);

/// The wait after a count is at least this many times as long as the count took.
const WAIT_FACTOR: u32 = 50;

/// Counts the queues of all sinks.
#[derive(Debug)]
pub(super) struct QueueWatch {
    /// The queues, as they were counted last.
    queues: watch::Receiver<Vec<SinkView>>,
    /// The task that counts; `None` if nothing is counted.
    counting: Option<JoinHandle<()>>,
}

impl QueueWatch {
    /// Starts to count. The counting ends soon after the returned value is dropped; [`Self::end`] waits for this end.
    pub(super) fn start(store: Store, clock: Clock) -> Self {
        let (sender, queues) = watch::channel(Vec::new());
        let counting = tokio::spawn(async move {
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
        Self { queues, counting: Some(counting) }
    }

    /// Makes a watch that never counts. It has no queues.
    pub(super) fn off() -> Self {
        Self { queues: watch::channel(Vec::new()).1, counting: None }
    }

    /// Returns the queues as they were counted last; none before the first count.
    pub(super) fn queues(&self) -> watch::Ref<'_, Vec<SinkView>> {
        self.queues.borrow()
    }

    /// Ends the counting, and waits until the task that counts does not hold the store any more.
    pub(super) async fn end(self) {
        if let Some(mut counting) = self.counting {
            cut_off(&mut counting).await;
        }
    }
}
