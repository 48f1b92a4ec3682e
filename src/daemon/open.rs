//! Opens the state and everything that works on it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::build_error::BuildError;
use super::log_sentences::SINK_NOT_CONFIGURED;
use super::purpose::Purpose;
use super::reader_watch::ReaderWatch;
use super::relay_feed::RelayFeed;
use super::sink_builder::SinkBuilder;
use super::work_permit::WorkPermit;
use crate::api;
use crate::api::budget::{Budget, BudgetLimits, WINDOW};
use crate::arrivals;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::ingest::coverage::Rules;
use crate::ingest::{Mode, Parts, Poller, RequestSlots, WaitingReaders};
use crate::metrics::Metrics;
use crate::store::{self, ChangeWatch, Database, Spool, Store, request_records};
use crate::time::{Clock, Liveness};

/// The longest poll interval of `once`. The command may have to poll several times, and its user waits for the end.
const ONCE_INTERVAL: Duration = Duration::from_secs(1);

/// The term of a relay that shares its state with other relays.
#[derive(Clone, Copy)]
pub(super) struct Term<'t> {
    /// The database that keeps the state.
    pub(super) database: &'t Database,
    /// The epoch of the lease.
    pub(super) epoch: i64,
    /// The permission to work.
    pub(super) permit: &'t WorkPermit,
    /// The hints that a command may have changed the state.
    pub(super) changes: &'t ChangeWatch,
}

/// The opened state, and the parts that work on it. Dropping this value cuts off the attempts under way.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// The highest release number at the time when the state was opened. Messages are numbered in the order in which
    /// they are released.
    pub(super) released_before: i64,
    pub(super) poller: Poller<RelayFeed>,
    pub(super) delivery: Delivery,
    pub(super) poller_liveness: Liveness,
    pub(super) builder: SinkBuilder,
    pub(super) reader_watch: ReaderWatch,
    /// The slots of the request budget that the replicas share; `None`: the relay is alone on its state.
    pub(super) slots: Option<RequestSlots>,
    pub(super) permit: WorkPermit,
    /// The hints that a command may have changed the state. A relay that is alone gets none.
    pub(super) changes: ChangeWatch,
}

/// Opens the state and everything that works on it. The caller has the role already. `term`: the caller has the role
/// only for this term; `None`: the relay is alone on its state, and has the role until the process ends.
pub(super) async fn open(
    config: &Config,
    purpose: &Purpose,
    clock: &Clock,
    metrics: &Metrics,
    builder: &SinkBuilder,
    term: Option<Term<'_>>,
) -> Result<Opened, BuildError> {
    let dir = &config.state.dir;
    let permit = term.map_or_else(WorkPermit::default, |term| term.permit.clone());
    let changes = term.map_or_else(ChangeWatch::default, |term| term.changes.clone());
    let builder = builder.under(&permit);
    let store = open_store(config, term).await?;
    let (before, newest) = store.read(|spool| Ok((spool.clock_memory()?, spool.newest_instant()?))).await?;
    clock.resume(before, newest);
    let memory = clock.memory();
    store.write(move |spool| spool.remember_clock(&memory)).await?;
    if config.state.erase_on_delivery() {
        let set = |spool: &mut Spool| {
            spool.erase_on_delivery();
            Ok(())
        };
        store.write(set).await?;
    }
    let (budget, slots) = open_budget(config, purpose.mode, clock, term).await?;
    let feed = RelayFeed::new(api::Client::build(&config.api)?, slots.clone());
    let setups: Result<Vec<_>, _> = config.sinks.iter().map(|sink| builder.setup(sink, clock)).collect();
    let (jitter_seed, invocation) = (clock.relay_time().0.unsigned_abs(), config.invocation.clone());
    let delivery = Delivery::start(store.clone(), clock.clone(), jitter_seed, invocation, setups?).await?;
    for (sink, messages) in store.read(Spool::unconfigured_with_messages).await? {
        tracing::warn!(sink.name = sink, messages, "{SINK_NOT_CONFIGURED}");
    }
    if let Err(error) = arrivals::remove_leftovers(dir) {
        tracing::debug!(%error, "the state that a killed `wait` or `tail` has left cannot be removed");
    }
    let released_before = store.read(Spool::last_released).await?;
    let poller_liveness = Liveness::new(clock);
    let (readers, reader_changes) = watch::channel(WaitingReaders::default());
    let erases_at_once = config.state.erase_on_delivery();
    let reader_watch =
        ReaderWatch { dir: dir.clone(), store: store.clone(), clock: clock.clone(), erases_at_once, readers };
    let waker = delivery.waker();
    let poller = Poller::new(Parts {
        feed,
        store: store.clone(),
        clock: clock.clone(),
        budget,
        rules: Rules::new(config.poll.start, config.poll.lookback, config.poll.sweep_interval),
        mode: purpose.mode,
        state: config.state.clone(),
        accept_account: purpose.accept_account,
        numbers: config.number_uses(),
        released: Box::new(move || waker.wake()),
        liveness: poller_liveness.clone(),
        tells_progress: !purpose.shows_progress,
        metrics: metrics.ingest(),
        invocation: config.invocation.clone(),
        readers: reader_changes,
        changes: changes.clone(),
    });
    let clock = clock.clone();
    Ok(Opened {
        store,
        clock,
        released_before,
        poller,
        delivery,
        poller_liveness,
        builder,
        reader_watch,
        slots,
        permit,
        changes,
    })
}

/// Opens the state: in the database of the term, or, without a term, in the state directory.
async fn open_store(config: &Config, term: Option<Term<'_>>) -> Result<Store, BuildError> {
    let Some(Term { database, epoch, .. }) = term else { return Ok(Store::open(&config.state.dir)?) };
    let database = database.clone();
    let opened = spawn_blocking(move || Store::open_under_lease(&database, epoch)).await;
    Ok(opened.unwrap_or_else(|failed| Err(store::Error::Database(failed.into())))?)
}

/// Opens the request budget. For a term, also opens the slots of the budget that the replicas share.
async fn open_budget(
    config: &Config,
    mode: Mode,
    clock: &Clock,
    term: Option<Term<'_>>,
) -> Result<(Budget, Option<RequestSlots>), BuildError> {
    let dir = &config.state.dir;
    let head_interval = match mode {
        Mode::Run => config.poll.interval,
        Mode::Once => config.poll.interval.min(ONCE_INTERVAL),
    };
    let limits = BudgetLimits { requests: config.api.requests_per_minute, window: WINDOW, head_interval };
    let failed = |source| BuildError::Budget { path: dir.clone(), source };
    let Some(Term { database, epoch, permit, .. }) = term else {
        return Ok((Budget::open(limits, dir, clock.monotonic(), clock.relay_time()).map_err(failed)?, None));
    };
    let permit = permit.clone();
    let slots = RequestSlots::new(request_records(database), epoch, move || permit.allows_work());
    let answered = slots.recent_requests().await?;
    let budget = Budget::open_shared(limits, dir, answered, clock.monotonic(), clock.relay_time()).map_err(failed)?;
    Ok((budget, Some(slots)))
}
