//! Writing down how attempts went: whatever has ended while one transaction was being committed goes into the next.
//!
//! Invariants: what [`Settler::settle`] returns resolves only once the settlement is on the disk. What cannot be written (the disk is
//! full) is kept here and only the writing is tried again, with growing waits; the message is not sent again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::store::{Error, Settlement, Store};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{Clock, Turns};

/// So many settlements in one transaction; there are never more than workers of all sinks together.
const AT_ONCE: usize = 1000;

/// Waits between tries to write.
const TRIES: Schedule = Schedule { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(10) };

/// Once the daemon is stopping there is little time left.
const TRIES_AT_STOP: Duration = Duration::from_millis(200);

/// Hands settlements to the task that writes them. Clones share it; it ends when all are dropped.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    jobs: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
struct Job {
    settlement: Settlement,
    committed: oneshot::Sender<()>,
}

/// Nobody writes settlements any more: the daemon is at its end.
#[derive(Debug)]
pub(super) struct Ended;

impl Settler {
    /// The handle, and the task's work. `stopping` holds a time once the daemon stops.
    pub(super) fn new(
        store: Store,
        clock: Clock,
        jitter: Arc<Jitter>,
        stopping: watch::Receiver<Option<Instant>>,
        turns: Turns,
        damage: watch::Sender<Option<Arc<Error>>>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        // Bounded by the workers, each of which waits for its settlement.
        let (jobs, inbox) = mpsc::unbounded_channel();
        let writer = Writer { store, clock, jitter, stopping, turns, damage };
        (Self { jobs }, writer.run(inbox))
    }

    /// Takes the settlement at once: they are written in the order of these calls. What is returned waits until it is on
    /// the disk, as long as that takes.
    pub(super) fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<(), Ended>> + use<> {
        let (committed, done) = oneshot::channel();
        let taken = self.jobs.send(Job { settlement, committed }).map_err(|_| Ended);
        async move {
            taken?;
            done.await.map_err(|_| Ended)
        }
    }
}

struct Writer {
    store: Store,
    clock: Clock,
    jitter: Arc<Jitter>,
    stopping: watch::Receiver<Option<Instant>>,
    turns: Turns,
    damage: watch::Sender<Option<Arc<Error>>>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Job>) {
        let mut settlements = Vec::new();
        let mut waiting = Vec::new();
        let mut failures = 0;
        loop {
            if settlements.is_empty() {
                self.turns.rests();
                let Some(Job { settlement, committed }) = inbox.recv().await else { return };
                settlements.push(settlement);
                waiting.push(committed);
            }
            self.turns.turned();
            while settlements.len() < AT_ONCE
                && let Ok(Job { settlement, committed }) = inbox.try_recv()
            {
                settlements.push(settlement);
                waiting.push(committed);
            }
            let now = self.clock.wall();
            let (kept, written) = self
                .store
                .write(move |spool| {
                    let written = spool.settle(&settlements, now);
                    Ok((settlements, written))
                })
                .await
                .unwrap_or_else(|ended| (Vec::new(), Err(ended)));
            settlements = kept;
            match written {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(settlements = settlements.len(), "deliveries can be recorded again");
                    }
                    failures = 0;
                    settlements.clear();
                    for committed in waiting.drain(..) {
                        // Whoever was cut off meanwhile does not wait any more.
                        committed.send(()).ok();
                    }
                }
                // The runtime is being shut down.
                Err(_) if settlements.is_empty() => return,
                Err(error) => {
                    failures += 1;
                    if !error.is_passing() {
                        self.damage.send_replace(Some(Arc::new(error)));
                        self.pause(failures).await;
                        continue;
                    }
                    if failures == 1 {
                        tracing::error!(
                            error = %error,
                            settlements = settlements.len(),
                            "deliveries cannot be recorded: their results are kept in memory, nothing is sent twice"
                        );
                    }
                    self.pause(failures).await;
                }
            }
        }
    }

    async fn pause(&mut self, failures: u32) {
        if self.stopping.borrow().is_some() {
            tokio::time::sleep(TRIES_AT_STOP).await;
            return;
        }
        // A stop ends the wait; so does the end of everything.
        drop(timeout(TRIES.jittered(failures, &self.jitter), self.stopping.changed()).await);
    }
}
