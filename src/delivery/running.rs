//! Delivery to all sinks: how delivery is started, woken up, asked for its status, and ended.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::context::{Identity, Shared};
use super::log_sentences::{PAUSED_SINK_HAS_MESSAGES, SINK_IS_NEW, how_to_resume};
use super::registration::{lift_closed, register};
use super::settler::Settler;
use super::setup::Setup;
use super::status::{BlockedBy, Drained, Published, SinkStatus};
use super::supervisor::{SinkOrder, Supervisor};
use super::waker::Waker;
use crate::domain::{Invocation, PauseReason};
use crate::store::{Error, Pause, RegisteredSink, SinkId, Spool, Store};
use crate::time::backoff::Jitter;
use crate::time::{Clock, Instant, Liveness};

/// Delivery to all sinks, while it runs. If this value is dropped, the deliveries under way are cut off and not
/// recorded.
pub struct Delivery {
    shared: Shared,
    wake: Waker,
    stop: watch::Sender<Option<Instant>>,
    /// The sinks of the configuration, in its order.
    pub(super) sinks: Vec<RunningSink>,
    /// Sinks that were removed from the configuration and whose last deliveries are under way.
    pub(super) retired: Vec<RunningSink>,
    loops: JoinSet<Drained>,
    settler: JoinSet<()>,
    settler_liveness: Liveness,
    damaged: watch::Receiver<Option<Arc<Error>>>,
}

/// One sink whose loop runs.
#[derive(Debug)]
pub(super) struct RunningSink {
    pub(super) id: SinkId,
    pub(super) enabled: bool,
    pub(super) published: watch::Receiver<Published>,
    pub(super) orders: mpsc::UnboundedSender<SinkOrder>,
    pub(super) liveness: Liveness,
}

impl Delivery {
    /// Registers the sinks in the store and starts to deliver the messages that wait there. Messages that are released
    /// from now on go to these sinks. Hints for the operator begin with `invocation`.
    ///
    /// # Errors
    /// Errors of the store. In this case nothing was started.
    pub async fn start(
        store: Store,
        clock: Clock,
        jitter_seed: u64,
        invocation: Invocation,
        setups: Vec<Setup>,
    ) -> Result<Self, Error> {
        let registered = register(&store, &clock, &setups.iter().collect::<Vec<_>>()).await?;
        let pauses = lift_closed(&store, &clock, registered.iter().map(|registered| registered.id)).await?;

        let jitter = Arc::new(Jitter::seeded(jitter_seed));
        let (wake, woken) = Waker::new();
        let (stop, stopping) = watch::channel(None);
        let (damage, damaged) = watch::channel(None);
        let settler_liveness = Liveness::new(&clock);
        let (settler, settling) = Settler::new(
            store.clone(),
            clock.clone(),
            Arc::clone(&jitter),
            stopping.clone(),
            settler_liveness.clone(),
            damage.clone(),
        );
        let mut settling_task = JoinSet::new();
        settling_task.spawn(settling);
        let sink_count = Arc::new(AtomicUsize::new(setups.len()));
        let waker = wake.clone();
        let shared =
            Shared { store, clock, jitter, settler, invocation, wake: woken, waker, stopping, damage, sink_count };
        let (sinks, retired, loops) = (Vec::new(), Vec::new(), JoinSet::new());
        let mut delivery =
            Self { shared, wake, stop, sinks, retired, loops, settler: settling_task, settler_liveness, damaged };
        for ((setup, registered), pause) in setups.into_iter().zip(registered).zip(pauses) {
            let sink = delivery.begin_sink(setup, registered, pause);
            delivery.sinks.push(sink);
        }
        Ok(delivery)
    }

    /// Starts the loop of a sink that was registered in the store.
    pub(super) fn begin_sink(&mut self, setup: Setup, registered: RegisteredSink, pause: Option<Pause>) -> RunningSink {
        let Setup { name, options, format, mask, sink, metrics, .. } = setup;
        if registered.is_added {
            tracing::info!(sink.name = name, start = %options.start, "{SINK_IS_NEW}");
        }
        let (id, enabled) = (registered.id, options.enabled);
        let liveness = Liveness::new(&self.shared.clock);
        let identity = Identity { registered, name, options, format, mask, sink, metrics };
        let (orders, inbox) = mpsc::unbounded_channel();
        let (supervisor, published) = Supervisor::new(self.shared.clone(), identity, pause, liveness.clone(), inbox);
        self.loops.spawn(supervisor.run());
        RunningSink { id, enabled, published, orders, liveness }
    }

    /// The values that the loops of all sinks share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Forgets the loops that have ended.
    pub(super) fn reap_loops(&mut self) {
        while self.loops.try_join_next().is_some() {}
    }

    /// Returns the handle with which ingest wakes delivery up.
    pub fn waker(&self) -> Waker {
        self.wake.clone()
    }

    /// Returns the status of each sink, in the order of the configuration.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.sinks.iter().map(|sink| sink.published.borrow().status.clone()).collect()
    }

    /// Returns the longest time for which one of the loops has not turned. The watchdog needs this time. Each loop
    /// turns at least every five seconds, even if receivers do not answer and nobody reads the output.
    pub fn longest_stall(&self) -> Duration {
        let loops = self.sinks.iter().chain(&self.retired).map(|sink| sink.liveness.stalled_for());
        loops.chain([self.settler_liveness.stalled_for()]).max().unwrap_or_default()
    }

    /// Resolves when every sink is paused because nobody reads its output any more. Without sinks the future never
    /// resolves. The future covers only the present sinks: after a reload the caller has to make a new one.
    pub fn outputs_closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut published: Vec<_> = self.sinks.iter().map(|sink| sink.published.clone()).collect();
        async move {
            for sink in &mut published {
                let closed = sink
                    .wait_for(|published| published.status.blocked_by == Some(BlockedBy::Pause(PauseReason::Closed)))
                    .await
                    .is_ok();
                if !closed {
                    // This sink's loop has ended for another reason, which `loop_died` reports.
                    std::future::pending::<()>().await;
                }
            }
            if published.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves if the loop of a sink has ended although nobody asked it to end. Such an end is a bug of the relay: a
    /// panic, which was reported where it happened. The process should then end with an error, so that the service
    /// manager starts it again. The future covers only the present sinks: after a reload the caller has to make a new
    /// one.
    pub fn loop_died(&self) -> impl Future<Output = ()> + Send + 'static {
        let published: Vec<_> = self.sinks.iter().map(|sink| sink.published.clone()).collect();
        async move {
            let ends =
                published.into_iter().map(|mut sink| Box::pin(async move { sink.wait_for(|_| false).await.is_err() }));
            let ends: Vec<_> = ends.collect();
            if ends.is_empty() {
                std::future::pending::<()>().await;
            }
            select_all(ends).await;
        }
    }

    /// Resolves with the error when the state turns out to be damaged. Then nothing can be delivered from the state any
    /// more.
    pub fn state_damaged(&self) -> impl Future<Output = Arc<Error>> + Send + 'static {
        let mut damaged = self.damaged.clone();
        async move {
            loop {
                let found = damaged.borrow_and_update().clone();
                match found {
                    Some(error) => return error,
                    // All loops have ended for another reason, which `loop_died` reports.
                    None if damaged.changed().await.is_err() => std::future::pending().await,
                    None => {}
                }
            }
        }
    }

    /// Resolves when nothing is in flight and no delivery may begin now: messages that are left wait for a later time,
    /// or for the end of a sink's pause. Returns whether messages are left that another run may deliver. Messages of a
    /// sink that somebody paused or switched off do not count; the log names each paused sink.
    ///
    /// # Errors
    /// Errors of the store while the messages are counted.
    pub async fn until_idle(&self) -> Result<bool, Error> {
        self.wake.wake();
        // While this function waits, a sink may hand dead letters over to another sink, and then wakes all sinks up. So
        // a sink counts as idle only if it was idle after the newest wake-up.
        let is_idle = |published: &Published| published.idle_after.is_some_and(|after| after >= self.wake.count());
        loop {
            for sink in &self.sinks {
                // An error means that the sink's loop has ended, so this sink will do no more.
                drop(sink.published.clone().wait_for(is_idle).await);
            }
            let all = |sink: &RunningSink| sink.published.has_changed().is_err() || is_idle(&sink.published.borrow());
            if self.sinks.iter().all(all) {
                break;
            }
        }
        let mut is_left = false;
        // Messages of a sink that is switched off wait until somebody switches the sink on.
        for sink in self.sinks.iter().filter(|sink| sink.enabled) {
            let id = sink.id;
            let (waiting, pause) =
                self.shared.store.read(move |spool| Ok((spool.waiting(id)?, spool.pause_of(id)?))).await?;
            let messages = waiting.fresh + waiting.retry;
            match pause.map(|pause| pause.reason) {
                _ if messages == 0 => {}
                // Messages of a sink that somebody paused wait until somebody resumes the sink.
                Some(PauseReason::Operator) => {
                    let name = sink.published.borrow().status.name.clone();
                    let hint = how_to_resume(&self.shared.invocation, &name);
                    tracing::info!(sink.name = name, messages, hint, "{PAUSED_SINK_HAS_MESSAGES}");
                }
                _ => is_left = true,
            }
        }
        Ok(is_left)
    }

    /// Counts the waiting deliveries of all sinks of the configuration.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn waiting(&self) -> Result<u64, Error> {
        let sinks: Vec<SinkId> = self.sinks.iter().map(|sink| sink.id).collect();
        let count = move |spool: &Spool| {
            sinks.iter().try_fold(0_u64, |sum, sink| {
                let waiting = spool.waiting(*sink)?;
                Ok(sum.saturating_add(waiting.fresh).saturating_add(waiting.retry))
            })
        };
        self.shared.store.read(move |spool| count(spool)).await
    }

    /// Begins no more deliveries, gives the deliveries under way `grace` to end, records them, and ends.
    pub async fn drain(self, grace: Duration) -> Drained {
        let Self { stop, shared, mut loops, mut settler, .. } = self;
        stop.send_replace(Some(shared.clock.monotonic() + grace));
        let mut drained = Drained::default();
        while let Some(ended) = loops.join_next().await {
            let ended = ended.unwrap_or_default();
            drained.cut_off += ended.cut_off;
            drained.unrecorded += ended.unrecorded;
        }
        // No loop runs any more, so no further settlement comes. If the settler still cannot write, its settlements
        // were counted above (`unrecorded`).
        settler.shutdown().await;
        drained
    }
}
