//! Reads a configuration again, and prepares everything that it needs. Everything that can fail happens here.
//!
//! Invariant: nothing changes before the last step, which registers the sinks in the state, in one transaction. Nothing
//! can fail after this step.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::diff::ConfigDiff;
use super::watched_files::{Look, look};
use super::{ReadAgain, ReadConfig};
use crate::api::Client;
use crate::config::{Config, Errors};
use crate::daemon::build_error::BuildError;
use crate::daemon::sink_builder::SinkBuilder;
use crate::delivery::{NewSinks, Registrar};
use crate::store::Spool;
use crate::time::Clock;

/// The longest time that reading the configuration may take. A file on a disk that does not answer must not prevent the
/// next reload.
const READING: Duration = Duration::from_secs(30);

/// A new configuration with everything that it needs.
pub(super) struct Prepared {
    /// The configuration as it is in effect from now on: settings that need a restart have their old values.
    pub(super) config: Config,
    pub(super) diff: ConfigDiff,
    /// The client of the API, if `[api]` has changed.
    pub(super) client: Option<Client>,
    /// The registered sinks, if any sink has changed.
    pub(super) sinks: Option<NewSinks>,
    /// The sinks that were removed although messages wait for them, with the number of messages.
    pub(super) stranded: Vec<(String, u64)>,
    /// The metadata that the files with secrets had just before they were read; `None` if the new configuration names
    /// other files.
    pub(super) look: Option<Look>,
}

/// Why a configuration does not take effect. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReloaded {
    #[error("{}", .0.in_one_line())]
    Invalid(Errors),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the files could not be read within {} s", READING.as_secs())]
    Stuck,
}

/// The parts with which a configuration is prepared while the relay runs.
pub(super) struct Preparation {
    pub(super) read: ReadConfig,
    pub(super) what: ReadAgain,
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) builder: SinkBuilder,
    pub(super) registrar: Registrar,
}

impl Preparation {
    /// Reads and prepares the configuration. Also returns the metadata that the files with secrets had just before they
    /// were read.
    pub(super) async fn run(self) -> (Look, Result<Prepared, NotReloaded>) {
        let (read, before, what) = (Arc::clone(&self.read), Arc::clone(&self.config), self.what);
        let reading = spawn_blocking(move || {
            let found = look(&before.source.secret_files);
            (found, read(&before, what))
        });
        let Ok(Ok((found, config))) = timeout(READING, reading).await else {
            return (Look::default(), Err(NotReloaded::Stuck));
        };
        let prepared = match config {
            Ok(config) => self.prepare(config, &found).await,
            Err(errors) => Err(NotReloaded::Invalid(errors)),
        };
        (found, prepared)
    }

    async fn prepare(self, config: Config, found: &Look) -> Result<Prepared, NotReloaded> {
        let before = self.config;
        let erasing_changes = before.state.erase_on_delivery() != config.state.erase_on_delivery();
        let diff = ConfigDiff::between(&before.source.fingerprints, &config.source.fingerprints, erasing_changes);
        let look = (config.source.secret_files == before.source.secret_files).then(|| found.clone());
        let config = in_effect(config, &before, &diff);
        let client = match diff.changes("api") {
            true => Some(Client::build(&config.api).map_err(BuildError::from)?),
            false => None,
        };
        let mut setups = Vec::new();
        if diff.changes_sinks() {
            for sink in &config.sinks {
                let setup = self.builder.setup(sink, &self.clock).map_err(BuildError::from)?;
                setups.push((setup, diff.sink(sink.name.as_str())));
            }
        }
        let (mut sinks, mut stranded) = (None, Vec::new());
        if diff.changes_sinks() {
            let store = self.registrar.store().clone();
            sinks = Some(self.registrar.register(setups).await.map_err(BuildError::from)?);
            // These messages are only reported. If they cannot be counted here, the next start reports them.
            stranded = store.read(Spool::unconfigured_with_messages).await.unwrap_or_default();
            stranded.retain(|(sink, _)| diff.removed.contains(sink));
        }
        Ok(Prepared { config, diff, client, sinks, stranded, look })
    }
}

/// Returns the configuration that takes effect in place of `before`. Settings that need a restart have the values of
/// `before`, all others the values of `config`.
pub(super) fn in_effect(config: Config, before: &Config, diff: &ConfigDiff) -> Config {
    let mut in_effect = config;
    for key in &diff.needs_restart {
        in_effect.source.fingerprints.take_from(&before.source.fingerprints, key);
    }
    if diff.holds_back("api") {
        in_effect.api = before.api.clone();
    }
    in_effect.state.dir.clone_from(&before.state.dir);
    in_effect.state.database.clone_from(&before.state.database);
    if diff.needs_restart.contains("state.keep_delivered") {
        in_effect.state.keep_delivered = before.state.keep_delivered;
    }
    in_effect.admin.clone_from(&before.admin);
    in_effect.heartbeat.clone_from(&before.heartbeat);
    let level = in_effect.log.level;
    in_effect.log = crate::config::Log { level, ..before.log.clone() };
    in_effect
}
