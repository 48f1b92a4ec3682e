//! Builds the daemon, which is phase one: takes the role and opens everything. No request is sent to the API.

use std::time::Duration;

use tokio::sync::watch;

use super::build_error::BuildError;
use super::log_sentences::SINK_NOT_CONFIGURED;
use super::observers::Observers;
use super::permissions;
use super::reader_watch::ReaderWatch;
use super::run::{Daemon, Opened};
use super::setups::SinkBuilder;
use super::status_writer::{End, StatusWriter};
use super::volume;
use crate::api;
use crate::api::budget::{Budget, BudgetLimits, WINDOW};
use crate::arrivals;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::ingest::coverage::Rules;
use crate::ingest::{Mode, Parts, Poller, WaitingReaders};
use crate::metrics::Metrics;
use crate::status::LoopProgress;
use crate::store::{self, RoleLock, Spool, Store};
use crate::time::{Clock, Liveness};

/// The longest poll interval of `once`. A command that polls again should not wait as long as an idle daemon.
const ONCE_INTERVAL: Duration = Duration::from_secs(1);

/// How the daemon is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Whether to relay until stopped, or to catch up once.
    pub mode: Mode,
    /// Whether the operator said that a new key or address belongs to the same account.
    pub accept_account: bool,
    /// Whether the caller shows the progress of a long catch-up. If not, the log reports the progress.
    pub shows_progress: bool,
}

/// Opens everything that `config` names. Deliveries that wait in the store begin at once; polling begins with
/// [`Daemon::run`].
///
/// # Errors
/// [`BuildError`] says why the daemon could not be built.
pub async fn build(config: &Config, purpose: Purpose, clock: Clock) -> Result<Daemon, BuildError> {
    let dir = &config.state.dir;
    let lock = RoleLock::take(dir)?;
    permissions::close(dir, &["state.", "budget.", "relay.", "wait."]);
    volume::warn_without(dir);
    // The status writer is made early, because it clears the report that an earlier relay wrote about itself.
    let mut pulse = StatusWriter::new(dir, config, purpose.mode, &clock);
    match open(config, purpose, &clock).await {
        Ok(opened) => {
            let progress = LoopProgress::new(&clock);
            Ok(Daemon { lock, clock, opened, pulse, mode: purpose.mode, config: config.clone(), progress })
        }
        Err(error) => {
            let is_damage = matches!(error, BuildError::Store(store::Error::Damaged { .. }));
            let end = if is_damage { End::Damaged } else { End::Failed };
            pulse.stopped(end(error.to_string()));
            Err(error)
        }
    }
}

/// Opens the state and everything that works on it. The caller has the role.
async fn open(config: &Config, purpose: Purpose, clock: &Clock) -> Result<Opened, BuildError> {
    let dir = &config.state.dir;
    let metrics = Metrics::new(&config.account)?;
    let builder = SinkBuilder::new(metrics.clone());
    builder.note_config(config);
    let observers = match purpose.mode {
        Mode::Run => Observers::prepare(config, metrics.clone(), builder.test_targets(), builder.codes()).await?,
        Mode::Once => Observers::none(metrics.clone()),
    };
    let store = Store::open(dir)?;
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
    let head_interval = match purpose.mode {
        Mode::Run => config.poll.interval,
        Mode::Once => config.poll.interval.min(ONCE_INTERVAL),
    };
    let limits = BudgetLimits { requests: config.api.requests_per_minute, window: WINDOW, head_interval };
    let budget = Budget::open(limits, dir, clock.monotonic(), clock.relay_time())
        .map_err(|source| BuildError::Budget { path: dir.clone(), source })?;
    let client = api::Client::build(&config.api)?;
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
        feed: client,
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
    });
    Ok(Opened { store, released_before, poller, delivery, poller_liveness, reader_watch, observers, builder })
}
