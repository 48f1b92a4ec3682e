//! Delivery as a whole: start it, wake it, ask it, end it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::options::{INACCURATE, Options, Order};
use super::settler::Settler;
use super::status::{Held, Published, SinkStatus};
use super::supervisor::{Drained, Identity, Shared, Supervisor};
use crate::domain::{PauseReason, Start, UnixMs};
use crate::formats::Format;
use crate::http::retry_after;
use crate::sinks::Sink;
use crate::store::{Error, SinkId, SinkSetup, Store, Wants};
use crate::time::backoff::Jitter;
use crate::time::{Clock, Heartbeat, Instant};

/// A sink to deliver to.
pub struct Setup {
    /// Its name in the configuration, under which the store knows it.
    pub name: String,
    /// Which messages it wants.
    pub wants: Wants,
    /// When and how many.
    pub options: Options,
    /// What is sent.
    pub format: Format,
    /// Where to.
    pub sink: Arc<dyn Sink>,
}

/// Delivery to all sinks, under way.
#[derive(Debug)]
pub struct Delivery {
    store: Store,
    clock: Clock,
    wake: Waker,
    stop: watch::Sender<Option<Instant>>,
    sinks: Vec<Running>,
    loops: JoinSet<Drained>,
    settler: tokio::task::JoinHandle<()>,
    settler_turns: Heartbeat,
    damaged: watch::Receiver<Option<Arc<Error>>>,
}

#[derive(Debug)]
struct Running {
    id: SinkId,
    enabled: bool,
    published: watch::Receiver<Published>,
    turns: Heartbeat,
}

/// Tells delivery that there may be something new. Clones share it.
#[derive(Clone, Debug)]
pub struct Waker(watch::Sender<u64>);

impl Waker {
    /// To be called after messages were released. It says nothing else, costs nothing, and is never missed.
    pub fn wake(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// `now` is by the clock that dates the messages.
fn sink_setup(setup: &Setup, now: UnixMs) -> SinkSetup {
    SinkSetup {
        name: setup.name.clone(),
        wants: setup.wants.clone(),
        ordered: setup.options.order == Order::Number,
        start: match setup.options.start {
            Start::Back(span) => Start::At(now.before(span)),
            start => start,
        },
        enabled: setup.options.enabled,
    }
}

impl Delivery {
    /// Names the sinks in the store and starts delivering what waits there. Messages released from now on go to these.
    ///
    /// # Errors
    /// Those of the store; nothing was started.
    pub async fn start(store: Store, clock: Clock, jitter_seed: u64, setups: Vec<Setup>) -> Result<Self, Error> {
        let messages_now = clock.likely_message_time();
        let known: Vec<SinkSetup> = setups.iter().map(|setup| sink_setup(setup, messages_now)).collect();
        // A due time further away than any wait can be was written when the clock was ahead.
        let longest = setups.iter().map(|setup| setup.options.retry.schedule().max).max().unwrap_or_default();
        let now = clock.relay_time();
        let latest_due = now.after(longest.max(retry_after::CAP)).after(INACCURATE);
        let known = store.write(move |spool| spool.register_sinks(&known, latest_due, now)).await?;
        let ids: Vec<SinkId> = known.iter().map(|registered| registered.id).collect();
        let pauses = store.write(move |spool| spool.lift_closed(&ids, now)).await?;

        let jitter = Arc::new(Jitter::seeded(jitter_seed));
        let (wake, woken) = watch::channel(0);
        let (stop, stopping) = watch::channel(None);
        let (damage, damaged) = watch::channel(None);
        let settler_turns = Heartbeat::new(&clock);
        let (settler, settling) = Settler::new(
            store.clone(),
            clock.clone(),
            Arc::clone(&jitter),
            stopping.clone(),
            settler_turns.clone(),
            damage.clone(),
        );
        let settling = tokio::spawn(settling);
        let shared =
            Shared { store: store.clone(), clock: clock.clone(), jitter, settler, wake: woken, stopping, damage };
        let alone = setups.len() == 1;
        let mut loops = JoinSet::new();
        let mut sinks = Vec::new();
        for ((setup, registered), pause) in setups.into_iter().zip(known).zip(pauses) {
            let Setup { name, options, format, sink, .. } = setup;
            if registered.is_added {
                tracing::info!(
                    sink.name = name,
                    start = %options.start,
                    "the sink is new: it gets what comes from now on, and of what came before what its start asks for"
                );
            }
            let (id, enabled) = (registered.id, options.enabled);
            let turns = Heartbeat::new(&clock);
            let identity = Identity { registered, name, options, format, sink, alone };
            let (mut supervisor, published) = Supervisor::new(shared.clone(), identity, turns.clone());
            supervisor.starts_paused(pause);
            loops.spawn(supervisor.run());
            sinks.push(Running { id, enabled, published, turns });
        }
        Ok(Self { store, clock, wake: Waker(wake), stop, sinks, loops, settler: settling, settler_turns, damaged })
    }

    /// For ingest.
    pub fn waker(&self) -> Waker {
        self.wake.clone()
    }

    /// Each sink as it is now, in the order of the configuration.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.sinks.iter().map(|sink| sink.published.borrow().status.clone()).collect()
    }

    /// How long ago the slowest of the loops last turned: what the watchdog is fed with. They turn every 5 s at least,
    /// also while receivers hang and readers do not read.
    pub fn slowest_turn(&self) -> Duration {
        let loops = self.sinks.iter().map(|sink| sink.turns.since());
        loops.chain([self.settler_turns.since()]).max().unwrap_or_default()
    }

    /// Resolves when every sink is a stream whose reader is gone: there is nothing left to relay to. Never without sinks.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut published: Vec<_> = self.sinks.iter().map(|sink| sink.published.clone()).collect();
        async move {
            for sink in &mut published {
                let closed = sink.wait_for(|published| published.status.held == Some(Held::Closed)).await.is_ok();
                if !closed {
                    // Its loop has ended otherwise: that is not for us to tell.
                    std::future::pending::<()>().await;
                }
            }
            if published.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves if the loop of a sink has ended though nobody asked it to. That is a bug of ours (a panic, which was
    /// reported where it happened); the process should end with an error, so that it is started again.
    pub fn broken(&self) -> impl Future<Output = ()> + Send + 'static {
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

    /// Resolves with what is wrong when the state turns out to be damaged: nothing can be delivered from it any more.
    pub fn damaged(&self) -> impl Future<Output = Arc<Error>> + Send + 'static {
        let mut damaged = self.damaged.clone();
        async move {
            loop {
                let found = damaged.borrow_and_update().clone();
                match found {
                    Some(error) => return error,
                    // All loops have ended otherwise: that is not for us to tell.
                    None if damaged.changed().await.is_err() => std::future::pending().await,
                    None => {}
                }
            }
        }
    }

    /// Resolves when nothing is in flight and nothing may be begun now: all that waits, if anything does, waits for a
    /// time to come or for a sink that is held. Returns whether anything waits that another run may deliver: not what waits
    /// for a sink that a person paused or switched off, which is said.
    ///
    /// # Errors
    /// Those of the store, while counting.
    pub async fn idle(&self) -> Result<bool, Error> {
        self.wake.wake();
        let asked = *self.wake.0.borrow();
        let is_idle = |published: &Published| published.idle_after.is_some_and(|after| after >= asked);
        loop {
            for sink in &self.sinks {
                // An error means that its loop has ended: it will not do more.
                drop(sink.published.clone().wait_for(is_idle).await);
            }
            let all = |sink: &Running| sink.published.has_changed().is_err() || is_idle(&sink.published.borrow());
            if self.sinks.iter().all(all) {
                break;
            }
        }
        let mut is_left = false;
        // What waits for a sink that is switched off waits for whoever switches it on.
        for sink in self.sinks.iter().filter(|sink| sink.enabled) {
            let id = sink.id;
            let (waiting, pause) = self.store.read(move |spool| Ok((spool.waiting(id)?, spool.pause_of(id)?))).await?;
            let messages = waiting.fresh + waiting.retry;
            match pause.map(|pause| pause.reason) {
                _ if messages == 0 => {}
                // So does what waits for whoever paused it.
                Some(PauseReason::Operator) => {
                    let name = sink.published.borrow().status.name.clone();
                    let hint = format!("joltsms-relay sinks resume {name}");
                    tracing::info!(sink.name = name, messages, hint, "messages wait for a sink that is paused");
                }
                _ => is_left = true,
            }
        }
        Ok(is_left)
    }

    /// Begins nothing more, gives deliveries under way `grace` to end, records them, and ends.
    pub async fn drain(self, grace: Duration) -> Drained {
        let Self { stop, clock, mut loops, sinks, settler, store, wake, .. } = self;
        stop.send_replace(Some(clock.monotonic() + grace));
        let mut drained = Drained::default();
        while let Some(ended) = loops.join_next().await {
            let ended = ended.unwrap_or_default();
            drained.cut_off += ended.cut_off;
            drained.unrecorded += ended.unrecorded;
        }
        drop((sinks, store, wake));
        // All who could give it work are gone. If it still cannot write, what it holds was counted above.
        settler.abort();
        drop(settler.await);
        drained
    }
}
