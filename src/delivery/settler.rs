//! Writing down how attempts went: whatever has ended while one transaction was being committed goes into the next, and
//! what is about to end is waited for a moment, so that many share one transaction and its flush.
//!
//! Invariants: what [`Settler::settle`] returns resolves only once the settlement is on the disk. What cannot be written (the disk is
//! full) is kept here and only the writing is tried again, with growing waits; the message is not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::{Outcome, UnixMs};
use crate::store::{Error, HealthRecord, Settlement, Store};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{Clock, Heartbeat};

/// So many settlements in one transaction; there are never more than workers of all sinks together.
const AT_ONCE: usize = 1000;

/// So long a settlement waits for others at most. It waits for none that was waited for in vain: see [`SettlementWriter::gather`].
const MOMENT: Duration = Duration::from_millis(1);

/// Waits between tries to write.
const TRIES: Schedule = Schedule { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(10) };

/// Once the daemon is stopping there is little time left.
const TRIES_AT_STOP: Duration = Duration::from_millis(200);

/// Hands settlements to the task that writes them. Clones share it; it ends when all are dropped.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    jobs: mpsc::UnboundedSender<Job>,
    under_way: Arc<AtomicUsize>,
    clock: Clock,
}

/// An attempt whose end the settler may wait for; dropped when it has ended, however that was.
#[derive(Debug)]
pub(super) struct SettlementsUnderWay(Arc<AtomicUsize>);

impl Drop for SettlementsUnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Job {
    settlement: Settlement,
    /// [`Clock::rebased_by`] when it was made.
    rebased_by: i64,
    committed: oneshot::Sender<()>,
}

/// Nobody writes settlements any more: the daemon is at its end.
#[derive(Debug)]
pub(super) struct SettlerEnded;

impl Settler {
    /// The handle, and the task's work. `stopping` holds a time once the daemon stops.
    pub(super) fn new(
        store: Store,
        clock: Clock,
        jitter: Arc<Jitter>,
        stopping: watch::Receiver<Option<Instant>>,
        turns: Heartbeat,
        damage: watch::Sender<Option<Arc<Error>>>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        // Bounded by the workers, each of which waits for its settlement.
        let (jobs, inbox) = mpsc::unbounded_channel();
        let under_way = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&under_way);
        let writer = SettlementWriter {
            store,
            clock: clock.clone(),
            jitter,
            stopping,
            turns,
            damage,
            under_way: counted,
            slow: 0,
        };
        (Self { jobs, under_way, clock }, writer.run(inbox))
    }

    /// An attempt begins.
    pub(super) fn begins(&self) -> SettlementsUnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        SettlementsUnderWay(Arc::clone(&self.under_way))
    }

    /// Takes the settlement at once: they are written in the order of these calls. What is returned waits until it is on
    /// the disk, as long as that takes.
    pub(super) fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<(), SettlerEnded>> + use<> {
        let (committed, done) = oneshot::channel();
        let taken = self
            .jobs
            .send(Job { settlement, rebased_by: self.clock.rebased_by(), committed })
            .map_err(|_| SettlerEnded);
        async move {
            taken?;
            done.await.map_err(|_| SettlerEnded)
        }
    }
}

struct SettlementWriter {
    store: Store,
    clock: Clock,
    jitter: Arc<Jitter>,
    stopping: watch::Receiver<Option<Instant>>,
    turns: Heartbeat,
    damage: watch::Sender<Option<Arc<Error>>>,
    under_way: Arc<AtomicUsize>,
    /// So many attempts are not waited for: they did not end in a moment before.
    slow: usize,
}

/// What goes into the next transaction, and who waits for it.
#[derive(Default)]
struct Batch {
    /// Each with [`Clock::rebased_by`] when it was made.
    settlements: Vec<(Settlement, i64)>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn take(&mut self, Job { settlement, rebased_by, committed }: Job) {
        self.settlements.push((settlement, rebased_by));
        self.waiting.push(committed);
    }

    fn is_full(&self) -> bool {
        self.settlements.len() >= AT_ONCE
    }
}

impl SettlementWriter {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Batch::default();
        let mut failures = 0;
        loop {
            if batch.settlements.is_empty() {
                self.turns.rests();
                let Some(job) = inbox.recv().await else { return };
                batch.take(job);
            }
            self.turns.turned();
            self.gather(&mut inbox, &mut batch).await;
            let Batch { settlements, mut waiting } = batch;
            let clock = self.clock.clone();
            let (kept, written) = self
                .store
                .write(move |spool| {
                    // Read here: what was written before the relay's time was put right has followed, or will.
                    let (now, rebased_by) = (clock.relay_time(), clock.rebased_by());
                    let settlements: Vec<Settlement> =
                        settlements.into_iter().map(|(made, by)| moved(made, rebased_by.saturating_sub(by))).collect();
                    let written = spool.settle(&settlements, now);
                    Ok((settlements.into_iter().map(|made| (made, rebased_by)).collect(), written))
                })
                .await
                .unwrap_or_else(|ended| (Vec::new(), Err(ended)));
            let mut settlements = kept;
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
                    } else if failures == 1 {
                        tracing::error!(
                            error = %error,
                            settlements = settlements.len(),
                            "deliveries cannot be recorded: their results are kept in memory, nothing is sent twice"
                        );
                    }
                    self.pause(failures).await;
                }
            }
            batch = Batch { settlements, waiting };
        }
    }

    /// Takes what has ended, and waits a moment for what may be about to. A receiver that answers at once thus has all
    /// its answers in one transaction; where nobody else is under way, or only attempts that were waited for in vain
    /// before, there is no wait.
    async fn gather(&mut self, inbox: &mut mpsc::UnboundedReceiver<Job>, batch: &mut Batch) {
        let end = self.clock.monotonic() + MOMENT;
        loop {
            while !batch.is_full()
                && let Ok(job) = inbox.try_recv()
            {
                batch.take(job);
            }
            let under_way = self.under_way.load(Ordering::Relaxed);
            if under_way <= self.slow {
                self.slow = under_way;
                return;
            }
            if batch.is_full() {
                return;
            }
            match timeout_at(end, inbox.recv()).await {
                Ok(Some(job)) => batch.take(job),
                Ok(None) => return,
                Err(_) => self.slow = self.under_way.load(Ordering::Relaxed),
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

/// The same by a relay's time that was put right by so many milliseconds since.
fn moved(settlement: Settlement, by: i64) -> Settlement {
    let later = |at: UnixMs| UnixMs(at.0.saturating_add(by));
    let outcome = match settlement.outcome {
        Outcome::Retry { due, status, answer } => Outcome::Retry { due: later(due), status, answer },
        outcome => outcome,
    };
    let standing =
        settlement.standing.map(|standing| HealthRecord { busy_until: standing.busy_until.map(later), ..standing });
    Settlement { first_attempt: later(settlement.first_attempt), outcome, standing, ..settlement }
}
