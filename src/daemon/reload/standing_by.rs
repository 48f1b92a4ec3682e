//! Reads the configuration again while the relay stands by. No part of the relay uses the configuration at that time,
//! so no part has to be prepared.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::diff::ConfigDiff;
use super::prepare::in_effect;
use super::{ReadAgain, Reloading, tell};
use crate::config::Config;
use crate::daemon::log_sentences::NOT_RELOADED;

impl Reloading {
    /// Reads the configuration again. Returns the configuration that takes effect; `None`: `before` stays in effect.
    /// The log says what has changed, or what is wrong.
    pub(in crate::daemon) async fn read_standing_by(&self, before: &Config) -> Option<Config> {
        let (read, known) = (Arc::clone(&self.read), before.clone());
        let config = match spawn_blocking(move || read(&known, ReadAgain::Everything)).await {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => {
                tracing::error!(errors = errors.in_one_line(), "{NOT_RELOADED}");
                return None;
            }
            Err(_) => return None,
        };
        let erasing_changes = before.state.erase_on_delivery() != config.state.erase_on_delivery();
        let diff = ConfigDiff::between(&before.source.fingerprints, &config.source.fingerprints, erasing_changes);
        tell(ReadAgain::Everything, &diff, &Default::default());
        let config = in_effect(config, before, &diff);
        self.level.set(config.log.level);
        Some(config)
    }
}
