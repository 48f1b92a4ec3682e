//! The first of the daemon's two phases: takes the role and opens everything. Sends no request to the API.

use super::build_error::BuildError;
use super::observers::Observers;
use super::open::open;
use super::permissions;
use super::purpose::Purpose;
use super::relay_process::RelayProcess;
use super::run::{Daemon, StateOwner};
use super::service::Service;
use super::sink_builder::SinkBuilder;
use super::status_writer::{End, StatusWriter};
use super::volume;
use crate::config::Config;
use crate::ingest::Mode;
use crate::metrics::Metrics;
use crate::status::LoopProgress;
use crate::store::RoleLock;
use crate::time::Clock;

/// Opens everything that `config` names. If the relay is alone on its state, deliveries that wait in the state begin at
/// once; polling begins with [`Daemon::run`]. If several relays share the state, nothing begins before [`Daemon::run`].
///
/// # Errors
/// [`BuildError`] says why the daemon could not be built.
pub async fn build(config: &Config, purpose: Purpose, clock: Clock) -> Result<Daemon, BuildError> {
    let dir = &config.state.dir;
    let lock = RoleLock::take(dir)?;
    permissions::close(dir, &["state.", "budget.", "relay.", "wait."]);
    if config.state.database.is_none() {
        volume::warn_without(dir);
    }
    // Making the status writer removes the report of the previous process. The writer is made before the state and the
    // sinks are opened, so that `status` does not show the old report meanwhile.
    let mut status = StatusWriter::new(dir, config, purpose.mode, &clock);
    match prepare(config, &purpose, &clock).await {
        Ok(PreparedProcess { metrics, builder, observers, owner }) => {
            let (config, progress) = (config.clone(), LoopProgress::new(&clock));
            let (service, watchdog, reloading) = (Service::from_environment(), None, None);
            let process = RelayProcess {
                lock,
                clock,
                status,
                purpose,
                config,
                progress,
                metrics,
                builder,
                service,
                watchdog,
                reloading,
            };
            Ok(Daemon { process, observers, owner })
        }
        Err(error) => {
            let is_damage = matches!(&error, BuildError::Store(error) if error.is_damage());
            let end = if is_damage { End::Damaged } else { End::Failed };
            status.stopped(end(error.to_string()));
            Err(error)
        }
    }
}

/// The parts that are made once in a process.
struct PreparedProcess {
    metrics: Metrics,
    builder: SinkBuilder,
    observers: Observers,
    owner: StateOwner,
}

async fn prepare(config: &Config, purpose: &Purpose, clock: &Clock) -> Result<PreparedProcess, BuildError> {
    let metrics = Metrics::new(&config.account)?;
    let builder = SinkBuilder::new(metrics.clone());
    builder.note_config(config);
    let observers = match purpose.mode {
        Mode::Run => Observers::prepare(config, metrics.clone(), builder.sinks_in_effect(), builder.codes()).await?,
        Mode::Once => Observers::none(metrics.clone()),
    };
    let owner = match &config.state.database {
        Some(database) => StateOwner::Shared(Box::new(database.clone())),
        None => StateOwner::Alone(Box::new(open(config, purpose, clock, &metrics, &builder, None).await?)),
    };
    Ok(PreparedProcess { metrics, builder, observers, owner })
}
