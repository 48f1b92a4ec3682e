//! Phase one: take the role, open everything, send nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::permissions;
use super::run::Daemon;
use super::status_writer::StatusWriter;
use crate::api;
use crate::api::budget::{Budget, BudgetLimits, WINDOW};
use crate::config::Config;
use crate::delivery::{Delivery, Setup};
use crate::http::client;
use crate::ingest::coverage::Rules;
use crate::ingest::{Mode, Parts, Poller};
use crate::sinks;
use crate::store::{self, RoleLock, Spool, Store};
use crate::time::{Clock, Heartbeat};

/// A one-shot command that has to look once more does not wait as long as a daemon that rests.
const ONCE_INTERVAL: Duration = Duration::from_secs(1);

/// What the daemon is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// To go on, or to catch up once.
    pub mode: Mode,
    /// The operator says that another key or address belongs to the same account.
    pub accept_account: bool,
    /// A long catch-up is shown by whoever started it, and need not be told in the log.
    pub shows_progress: bool,
}

/// Why the daemon could not be built. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The state: in use, damaged, of a newer version, or out of reach.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// HTTPS cannot be set up.
    #[error(transparent)]
    Http(#[from] client::ClientBuildError),
    /// The file with the request budget.
    #[error("cannot write down the request budget in {path}: {source}")]
    Budget {
        /// The state directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A sink.
    #[error(transparent)]
    Sink(#[from] sinks::SinkBuildError),
}

/// Opens everything that `config` names. Deliveries that wait in the store begin at once; polling begins with
/// [`Daemon::run`].
///
/// # Errors
/// [`BuildError`]
pub async fn build(config: &Config, purpose: Purpose, clock: Clock) -> Result<Daemon, BuildError> {
    let dir = &config.state.dir;
    let lock = RoleLock::take(dir)?;
    permissions::close(dir, &["state.", "budget.", "relay."]);
    // At once: what an earlier relay said of itself is not true any more.
    let pulse = StatusWriter::new(dir, config, &clock);
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
    let setups = setups(config, &clock)?;
    let delivery = Delivery::start(store.clone(), clock.clone(), clock.relay_time().0.unsigned_abs(), setups).await?;
    for (sink, messages) in store.read(Spool::stranded).await? {
        tracing::warn!(
            sink.name = sink,
            messages,
            "messages wait for a sink that is not configured any more; they are kept for when one of that name is"
        );
    }
    let turns = Heartbeat::new(&clock);
    let waker = delivery.waker();
    let poller = Poller::new(Parts {
        feed: client,
        store,
        clock: clock.clone(),
        budget,
        rules: Rules::new(config.poll.start, config.poll.lookback, config.poll.sweep_interval),
        mode: purpose.mode,
        state: config.state.clone(),
        accept_account: purpose.accept_account,
        numbers: config.sinks.iter().any(|sink| sink.wants.asks_for_numbers()),
        released: Box::new(move || waker.wake()),
        heartbeat: turns.clone(),
        tells_progress: !purpose.shows_progress,
    });
    Ok(Daemon { lock, clock, poller, delivery, turns, pulse, mode: purpose.mode })
}

fn setups(config: &Config, clock: &Clock) -> Result<Vec<Setup>, BuildError> {
    let setup = |sink: &crate::config::ConfiguredSink| {
        Ok(Setup {
            name: sink.name.to_string(),
            wants: sink.wants.clone(),
            options: sink.delivery.clone(),
            format: sink.format.clone(),
            sink: sink.target.build(clock)?,
        })
    };
    config.sinks.iter().map(setup).collect()
}
