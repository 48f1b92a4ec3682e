//! One task writes the results of attempts (settlements) for all sinks. It writes many settlements in one transaction,
//! because a transaction costs one flush to the disk. Settlements that arrive while a transaction is being committed go
//! into the next one. Before each transaction the task waits a moment for attempts that are about to end.
//!
//! Invariants: the future that [`Settler::settle`] returns resolves only once the settlement is on the disk. A
//! settlement that cannot be written, for example because the disk is full, is kept in memory. Only the writing is
//! tried again, with growing waits; the message is not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::log_sentences::{CAN_BE_RECORDED, CANNOT_BE_RECORDED};
use crate::domain::{Outcome, UnixMs};
use crate::store::{Error, HealthRecord, Settlement, Store};
use crate::time::backoff::{Jitter, Schedule};
use crate::time::{Clock, Liveness};

/// The most settlements in one transaction. Each worker has at most one settlement that waits. So more than 1000 can
/// wait only if all sinks together have more than 1000 workers.
const AT_ONCE: usize = 1000;

/// Before each transaction the task waits at most this long for the settlements of attempts under way (the *batching
/// delay*). An attempt that has outlasted one such delay is not waited for again.
const BATCHING_DELAY: Duration = Duration::from_millis(1);

/// The waits after errors of the store.
const WAITS: Schedule = Schedule { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(10) };

/// The wait after an error while the daemon stops, when there is little time left.
const WAIT_AT_STOP: Duration = Duration::from_millis(200);

/// While the stored times are being corrected, settlements wait. After each wait of this length the task looks whether
/// the correction is complete, and it does so at most [`MOST_WAITS_FOR_CORRECTION`] times. A correction takes some
/// milliseconds. But if the disk accepts no writes, a correction does not end. So after all these waits (5 s) the task
/// tries to write the settlements all the same. On such a disk the try fails, and the log tells the operator why.
const WAIT_FOR_CORRECTION: Duration = Duration::from_millis(10);
const MOST_WAITS_FOR_CORRECTION: u32 = 500;

/// Hands settlements to the task that writes them. Clones share one task, which ends when all of them are dropped.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    jobs: mpsc::UnboundedSender<Job>,
    expected: Arc<AtomicUsize>,
}

/// Marks one attempt under way. While the mark exists, the task may wait for the settlement of this attempt. The mark
/// is dropped when the attempt ends, even if it ends without a settlement.
#[derive(Debug)]
pub(super) struct ExpectedSettlement(Arc<AtomicUsize>);

impl Drop for ExpectedSettlement {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Job {
    settlement: Settlement,
    /// By how many milliseconds the relay's time was corrected before the settlement was made.
    corrected_by: i64,
    committed: oneshot::Sender<()>,
}

/// The error of a settlement that cannot be written any more, because the daemon is about to end.
#[derive(Debug)]
pub(super) struct SettlerEnded;

impl Settler {
    /// Returns the handle and the future that does the work of the task. `stopping` is `None` until the daemon stops.
    /// `damage` receives the error when the state turns out to be damaged.
    pub(super) fn new(
        store: Store,
        clock: Clock,
        jitter: Arc<Jitter>,
        stopping: watch::Receiver<Option<Instant>>,
        liveness: Liveness,
        damage: watch::Sender<Option<Arc<Error>>>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        // The channel needs no bound: each worker waits for its settlement, so the channel never contains more jobs
        // than there are workers.
        let (jobs, inbox) = mpsc::unbounded_channel();
        let expected = Arc::new(AtomicUsize::new(0));
        let writer = SettlementWriter {
            store,
            clock,
            jitter,
            stopping,
            liveness,
            damage,
            expected: Arc::clone(&expected),
            stragglers: 0,
        };
        (Self { jobs, expected }, writer.run(inbox))
    }

    /// Notes that an attempt begins. A settlement of this attempt will come.
    pub(super) fn expect_settlement(&self) -> ExpectedSettlement {
        self.expected.fetch_add(1, Ordering::Relaxed);
        ExpectedSettlement(Arc::clone(&self.expected))
    }

    /// The call itself hands the settlement over, so settlements are written in the order of the calls. The returned
    /// future only waits until the settlement is on the disk, however long that takes. `corrected_by`: by how many
    /// milliseconds the relay's time was corrected before the settlement was made.
    pub(super) fn settle(
        &self,
        settlement: Settlement,
        corrected_by: i64,
    ) -> impl Future<Output = Result<(), SettlerEnded>> + use<> {
        let (committed, done) = oneshot::channel();
        let taken = self.jobs.send(Job { settlement, corrected_by, committed }).map_err(|_| SettlerEnded);
        async move {
            taken?;
            done.await.map_err(|_| SettlerEnded)
        }
    }
}

/// The task that writes settlements.
struct SettlementWriter {
    store: Store,
    clock: Clock,
    jitter: Arc<Jitter>,
    stopping: watch::Receiver<Option<Instant>>,
    liveness: Liveness,
    damage: watch::Sender<Option<Arc<Error>>>,
    /// How many attempts are under way.
    expected: Arc<AtomicUsize>,
    /// How many of these attempts outlasted a batching delay, and so are not waited for again.
    stragglers: usize,
}

/// The settlements of the next transaction, and the channels of the attempts that wait for them.
#[derive(Default)]
struct Batch {
    /// Each settlement, and by how many milliseconds the relay's time was corrected before the settlement was made.
    settlements: Vec<(Settlement, i64)>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn take(&mut self, Job { settlement, corrected_by, committed }: Job) {
        self.settlements.push((settlement, corrected_by));
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
        let mut waits_for_correction = 0;
        loop {
            if batch.settlements.is_empty() {
                self.liveness.rest();
                let Some(job) = inbox.recv().await else { return };
                batch.take(job);
            }
            self.liveness.tick();
            self.gather(&mut inbox, &mut batch).await;
            let Batch { settlements, mut waiting } = batch;
            let clock = self.clock.clone();
            let may_wait = waits_for_correction < MOST_WAITS_FOR_CORRECTION;
            let (kept, written) = self
                .store
                .write(move |spool| {
                    // The clock is read here, where nothing else of this process writes to the store. So the stored
                    // times cannot be corrected between this reading and the writing. A settlement that was made before
                    // a correction has times that must be corrected, too:
                    // - If the stored times were corrected before this transaction, the times of the settlement are
                    //   corrected here.
                    // - If the stored times are corrected after this transaction, the times of the settlement are
                    //   corrected with them, because they are stored by then.
                    // - While the stored times are being corrected, the settlements wait.
                    let now = clock.relay_moment();
                    if now.is_correcting && may_wait {
                        return Ok((settlements, None));
                    }
                    let settlements: Vec<Settlement> = settlements
                        .into_iter()
                        .map(|(made, by)| moved(made, now.corrected_by.saturating_sub(by)))
                        .collect();
                    let written = spool.settle(&settlements, now.time);
                    Ok((settlements.into_iter().map(|made| (made, now.corrected_by)).collect(), Some(written)))
                })
                .await
                .unwrap_or_else(|ended| (Vec::new(), Some(Err(ended))));
            let Some(written) = written else {
                waits_for_correction += 1;
                tokio::time::sleep(WAIT_FOR_CORRECTION).await;
                batch = Batch { settlements: kept, waiting };
                continue;
            };
            waits_for_correction = 0;
            let mut settlements = kept;
            match written {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(settlements = settlements.len(), "{CAN_BE_RECORDED}");
                    }
                    failures = 0;
                    settlements.clear();
                    for committed in waiting.drain(..) {
                        // An error means that the delivery was cut off meanwhile, so nothing waits for this settlement.
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
                            "{CANNOT_BE_RECORDED}"
                        );
                    }
                    self.wait_after(failures).await;
                }
            }
            batch = Batch { settlements, waiting };
        }
    }

    /// Takes the settlements that have arrived, and waits up to [`BATCHING_DELAY`] for the settlements of attempts
    /// under way. So the answers that come within this delay are in one transaction. Attempts that outlasted an earlier
    /// delay are not waited for.
    async fn gather(&mut self, inbox: &mut mpsc::UnboundedReceiver<Job>, batch: &mut Batch) {
        let end = self.clock.monotonic() + BATCHING_DELAY;
        loop {
            while !batch.is_full()
                && let Ok(job) = inbox.try_recv()
            {
                batch.take(job);
            }
            let expected = self.expected.load(Ordering::Relaxed);
            if expected <= self.stragglers {
                self.stragglers = expected;
                return;
            }
            if batch.is_full() {
                return;
            }
            match timeout_at(end, inbox.recv()).await {
                Ok(Some(job)) => batch.take(job),
                Ok(None) => return,
                Err(_) => self.stragglers = self.expected.load(Ordering::Relaxed),
            }
        }
    }

    /// Waits before the next try to write, after `failures` failures in a row.
    async fn wait_after(&mut self, failures: u32) {
        if self.stopping.borrow().is_some() {
            tokio::time::sleep(WAIT_AT_STOP).await;
            return;
        }
        // A stop of the daemon ends the wait early.
        drop(timeout(WAITS.jittered(failures, &self.jitter), self.stopping.changed()).await);
    }
}

/// Returns the settlement with its times moved by `by` milliseconds: by as much as the relay's time was corrected since
/// the settlement was made.
fn moved(settlement: Settlement, by: i64) -> Settlement {
    let later = |at: UnixMs| UnixMs(at.0.saturating_add(by));
    let outcome = match settlement.outcome {
        Outcome::Retry { due, status, answer } => Outcome::Retry { due: later(due), status, answer },
        outcome => outcome,
    };
    let health = settlement.health.map(|health| HealthRecord { busy_until: health.busy_until.map(later), ..health });
    Settlement { first_attempt: later(settlement.first_attempt), outcome, health, ..settlement }
}
