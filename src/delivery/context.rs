//! The values that the loop of one sink works with: the sink itself, its health, and the values that the loops of all
//! sinks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::clock_reading::ClockReading;
use super::health::SharedHealth;
use super::log_sentences::LoggedSink;
use super::settings::{Options, Order};
use super::settler::Settler;
use super::waker::{WakeCounts, Waker};
use crate::codes::CodeMask;
use crate::domain::Invocation;
use crate::formats::Format;
use crate::metrics::SinkMetrics;
use crate::sinks::Sink;
use crate::store::{Error, RegisteredSink, SinkId, Store};
use crate::time::backoff::Jitter;
use crate::time::{Clock, Instant};

/// The values that the loops of all sinks share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) jitter: Arc<Jitter>,
    pub(super) settler: Settler,
    /// The beginning of each command that the log gives as a hint: the program's name, with `--config` and
    /// `--state-dir` if the operator gave them.
    pub(super) invocation: Invocation,
    /// The numbers of wake-ups so far. They change when the store may have something new.
    pub(super) wake: watch::Receiver<WakeCounts>,
    /// Wakes up the loops of all sinks.
    pub(super) waker: Waker,
    /// `None` until the daemon stops; from then on the instant by which deliveries must have ended.
    pub(super) stopping: watch::Receiver<Option<Instant>>,
    /// The channel to which the error is sent if the state turns out to be damaged.
    pub(super) damage: watch::Sender<Option<Arc<Error>>>,
    /// How many sinks the configuration has now.
    pub(super) sink_count: Arc<AtomicUsize>,
}

/// One sink: its name, its configuration, and what the store knew of the sink when the sink was last registered, at the
/// start or at a reload.
pub(super) struct Identity {
    pub(super) registered: RegisteredSink,
    /// The name of the sink in the configuration, or the new name once somebody has renamed the sink in the store.
    pub(super) name: String,
    pub(super) options: Options,
    pub(super) format: Format,
    pub(super) mask: Option<CodeMask>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) metrics: SinkMetrics,
}

/// One sink with everything that its loop and the loop's parts need.
pub(super) struct SinkContext {
    pub(super) shared: Shared,
    pub(super) identity: Identity,
    pub(super) health: SharedHealth,
}

impl SinkContext {
    pub(super) fn id(&self) -> SinkId {
        self.identity.registered.id
    }

    pub(super) fn name(&self) -> &str {
        &self.identity.name
    }

    pub(super) fn monotonic(&self) -> Instant {
        self.shared.clock.monotonic()
    }

    pub(super) fn now(&self) -> ClockReading {
        ClockReading::now(&self.shared.clock)
    }

    /// Whether this is the only sink. If the output stream of the only sink is closed, the relay has nothing left to do
    /// and ends.
    pub(super) fn is_alone(&self) -> bool {
        self.shared.sink_count.load(Ordering::Relaxed) == 1
    }

    /// Returns the values of the sink that the log lines about messages need.
    pub(super) fn logged(&self) -> LoggedSink<'_> {
        let fallback = self.identity.options.fallback.as_ref().map(AsRef::as_ref);
        LoggedSink { name: self.name(), fallback, invocation: &self.shared.invocation }
    }

    /// Wakes the fallback, if there is one, because this sink may have handed dead letters over to it.
    pub(super) fn wake_fallback(&self) {
        if self.identity.options.fallback.is_some() {
            self.shared.waker.wake();
        }
    }

    /// Whether the sink keeps the order of each number: it gets the messages of a receiving number one after the other.
    pub(super) fn is_ordered(&self) -> bool {
        self.identity.options.order == Order::Number
    }
}
