//! Leaves out lines that repeat too often, and says how many lines were left out.
//!
//! Lines are of the same kind if the same place in the code logs them, with the same sink, anomaly and kind of failure.
//! Lines of the levels DEBUG and TRACE are never left out.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::LoggedEvent;
use super::repetition::{REPETITION_WINDOW, RepetitionReport, Repetitions};
use crate::time::Clock;

/// The sentence of the line that reports how many lines were left out.
const LINES_LEFT_OUT: &str = "lines that repeat were left out of the log";

/// The fields in which lines of the same kind agree.
const KEY_FIELDS: [&str; 3] = ["sink.name", "anomaly", "kind"];

/// The values in which lines of the same kind agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LineKind {
    place: Identifier,
    level: Level,
    /// The values of [`KEY_FIELDS`].
    keys: [Option<String>; 3],
}

/// A layer of the log that leaves out lines that repeat too often. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct RepetitionLimit {
    shared: Arc<SharedRepetitions>,
    clock: Clock,
}

/// When this guard is dropped, it ends the limit, and reports all lines that were left out.
#[derive(Debug)]
pub(super) struct RepetitionGuard(Arc<SharedRepetitions>);

#[derive(Debug, Default)]
struct SharedRepetitions {
    state: Mutex<LimitState>,
    /// Wakes the thread up when the process ends.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct LimitState {
    repetitions: Repetitions<LineKind>,
    is_over: bool,
}

impl SharedRepetitions {
    fn lock(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the limit, and starts the thread that reports.
pub(super) fn start(clock: Clock) -> (RepetitionLimit, RepetitionGuard) {
    let shared = Arc::<SharedRepetitions>::default();
    let (seen, with) = (Arc::clone(&shared), clock.clone());
    // If the thread cannot be started, all reports come at the end of the process.
    thread::Builder::new().name("log-limit".to_owned()).spawn(move || report_all(&seen, &with)).ok();
    (RepetitionLimit { shared: Arc::clone(&shared), clock }, RepetitionGuard(shared))
}

impl<S: Subscriber> Layer<S> for RepetitionLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let level = *event.metadata().level();
        // The reports of this module have this target. They must never be left out.
        if level > Level::INFO || event.metadata().target() == module_path!() {
            return true;
        }
        let logged = LoggedEvent::read(event);
        let kind = LineKind { place: event.metadata().callsite(), level, keys: KEY_FIELDS.map(|key| logged.text(key)) };
        let now = self.clock.monotonic();
        self.shared.lock().repetitions.admits(kind, &logged.message, now)
    }
}

impl Drop for RepetitionGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let reports = state.repetitions.last_reports();
        drop(state);
        self.0.ended.notify_all();
        reports.iter().for_each(log_report);
    }
}

/// The work of the thread: logs the reports that are due. The thread looks for them at least every
/// [`REPETITION_WINDOW`], so a line is reported at most two minutes after it was left out.
fn report_all(shared: &SharedRepetitions, clock: &Clock) {
    let mut state = shared.lock();
    while !state.is_over {
        let now = clock.monotonic();
        let reports = state.repetitions.due_reports(now);
        if !reports.is_empty() {
            drop(state);
            reports.iter().for_each(log_report);
            state = shared.lock();
            continue;
        }
        let wait = state.repetitions.next_report().map_or(REPETITION_WINDOW, |at| at.saturating_duration_since(now));
        state = shared.ended.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Logs a report, at the level of the lines that were left out.
fn log_report(report: &RepetitionReport<LineKind>) {
    let RepetitionReport { kind, lines, message: repeated } = report;
    let [sink, anomaly, failure] = kind.keys.each_ref().map(Option::as_deref);
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(lines, repeated, sink.name = sink, anomaly, kind = failure, "{LINES_LEFT_OUT}")
        };
    }
    match kind.level {
        Level::ERROR => log!(error),
        Level::WARN => log!(warn),
        _ => log!(info),
    }
}
