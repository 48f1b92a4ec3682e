//! The values that the paths of the endpoint work with.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRef;
use tokio::sync::{Semaphore, watch};

use super::history::{History, HistoryMinute};
use super::notices::Notices;
use super::settings::Options;
use super::sinks_in_effect::SinksInEffect;
use super::state_access::StateAccess;
use crate::codes::CodeFinder;
use crate::metrics::Metrics;
use crate::status::{LoopProgress, StatusSource};
use crate::store::StateLocation;

/// The parts of the relay that the endpoint shows. Clones show the same parts.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The status of the relay.
    pub status: StatusSource,
    /// Shows whether the loops of the relay go round.
    pub progress: LoopProgress,
    /// The metrics of the relay.
    pub metrics: Metrics,
    /// The access to the state on disk.
    pub access: StateAccess,
    /// The sinks of the configuration in effect.
    pub sinks: SinksInEffect,
    /// The parts of the relay that are used by requests that wait for a message.
    pub arrivals: ArrivalSource,
}

/// The parts of the relay that are used by requests that wait for a message: the state in which messages arrive, and
/// the finder of codes.
#[derive(Clone, Debug)]
pub struct ArrivalSource {
    /// The state of the relay.
    pub state: StateLocation,
    /// Whether the relay erases the text of each message as soon as every sink has the message (`keep_delivered =
    /// "0s"`).
    pub erases_at_once: bool,
    /// Finds the codes of messages. A reload may replace the finder.
    pub codes: watch::Receiver<CodeFinder>,
}

/// What [`watcher`](super::watcher) saw of the relay at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    /// The data of the event `status`. It has no values that change all the time, so an event comes only when something
    /// has happened.
    pub(super) status: String,
    /// The highest release number so far; messages are numbered in the order in which they are released.
    pub(super) released: i64,
}

/// The parts of the relay, and values that only the endpoint uses. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) state: AdminState,
    pub(super) options: Arc<Options>,
    /// The results of the last actions.
    pub(super) notices: Notices,
    history: Arc<Mutex<History>>,
    /// What the watcher saw last.
    pub(super) observed: watch::Sender<Arc<Observed>>,
    /// The permits for streams of events that may still begin.
    pub(super) streams: Arc<Semaphore>,
    /// The permits for requests that may still wait for a message.
    pub(super) waits: Arc<Semaphore>,
}

/// The most streams of events at a time. Further streams are refused, so that some connections stay free for probes.
const MOST_STREAMS: usize = 16;

/// The most requests that wait for a message at a time. Further such requests are refused, so that some connections
/// stay free for probes.
const MOST_WAITS: usize = 32;

impl Endpoint {
    pub(super) fn new(options: &Options, state: AdminState) -> Self {
        Self {
            state,
            options: Arc::new(options.clone()),
            notices: Notices::default(),
            history: Arc::default(),
            observed: watch::Sender::default(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            waits: Arc::new(Semaphore::new(MOST_WAITS)),
        }
    }

    /// Records the present totals of the metrics in the history, for the minute with this number.
    pub(super) fn observe_metrics(&self, minute: u64) {
        let totals = self.state.metrics.totals();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).observe(minute, totals);
    }

    /// Returns the minutes of the last hour.
    pub(super) fn minutes(&self) -> Vec<HistoryMinute> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).minutes()
    }
}

impl FromRef<Endpoint> for AdminState {
    fn from_ref(endpoint: &Endpoint) -> Self {
        endpoint.state.clone()
    }
}

/// The relay's own address to which a client connected. Every request carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivedAt(pub(super) IpAddr);
