//! Why a daemon cannot be built, at the start or at a reload, and what an operator can do about the error.

use std::path::{Path, PathBuf};

use super::observers::ObserverError;
use super::permissions;
use crate::http::client;
use crate::metrics::MetricsError;
use crate::sinks;
use crate::store;

/// Why the daemon could not be built. No request was sent to the API.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The state is in use or damaged, was written by a newer version, or cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// HTTPS cannot be set up for the API.
    #[error(transparent)]
    Http(#[from] client::ClientBuildError),
    /// The file with the request budget cannot be opened.
    #[error("cannot write down the request budget in {path}: {source}")]
    Budget {
        /// The state directory.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The metrics cannot be made.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The admin endpoint or the heartbeat cannot begin.
    #[error(transparent)]
    Observer(#[from] ObserverError),
    /// A sink cannot be built.
    #[error(transparent)]
    Sink(#[from] sinks::SinkBuildError),
}

impl BuildError {
    /// Returns advice for an operator if the user of this process may not use the state directory `state_dir`; `None`
    /// for other errors.
    pub fn remedy(&self, state_dir: &Path) -> Option<String> {
        match self {
            Self::Store(store::Error::Io { path, source, .. }) => permissions::remedy(state_dir, path, source.kind()),
            Self::Budget { source, .. } => permissions::remedy(state_dir, state_dir, source.kind()),
            Self::Store(_) | Self::Http(_) | Self::Metrics(_) | Self::Observer(_) | Self::Sink(_) => None,
        }
    }
}
