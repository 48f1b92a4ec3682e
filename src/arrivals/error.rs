//! The errors of reading arrivals.

use std::path::PathBuf;

use crate::http::client::ClientBuildError;
use crate::ingest::PollError;
use crate::metrics::MetricsError;
use crate::store;

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No relay runs, and the configuration does not say how to poll the API.
    #[error("{0}")]
    Configuration(String),
    /// HTTPS cannot be set up.
    #[error(transparent)]
    Http(#[from] ClientBuildError),
    /// The counters cannot be made.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The file with the request budget cannot be opened.
    #[error("cannot write down the request budget in {path}: {source}", path = path.display())]
    Budget {
        /// The state directory.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The API accepts no key; the text is its last refusal.
    #[error("the API accepts no key ({0}): make a new one in the dashboard and configure it")]
    NoKey(String),
    /// Polling without a relay cannot go on.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// The task that polls has panicked.
    #[error("internal error in polling, please report it")]
    Panicked,
}
