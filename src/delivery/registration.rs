//! The registration of the configured sinks in the store, at a start and at a reload.

use super::settings::{CLOCK_TOLERANCE, Order};
use super::setup::Setup;
use crate::domain::{Start, UnixMs};
use crate::http::retry_after;
use crate::store::{Error, Pause, RegisteredSink, SinkId, SinkSetup, Store};
use crate::time::Clock;

/// Returns the values of a sink that the store needs for its registration. `now` is the time by the clock that dates
/// messages.
fn sink_setup(setup: &Setup, now: UnixMs) -> SinkSetup {
    SinkSetup {
        name: setup.name.clone(),
        selection: setup.selection.clone(),
        ordered: setup.options.order == Order::Number,
        fallback: setup.options.fallback.as_ref().map(ToString::to_string),
        events: setup.options.events,
        start: match setup.options.start {
            Start::Back(span) => Start::At(now.before(span)),
            start => start,
        },
        enabled: setup.options.enabled,
    }
}

/// Registers all sinks of the configuration. Messages that are released from now on go to these sinks, and to no other.
///
/// # Errors
/// Errors of the store. In this case nothing was changed.
pub(super) async fn register(store: &Store, clock: &Clock, setups: &[&Setup]) -> Result<Vec<RegisteredSink>, Error> {
    let messages_now = clock.likely_message_time();
    let known: Vec<SinkSetup> = setups.iter().map(|setup| sink_setup(setup, messages_now)).collect();
    // If a stored due time is further away than the longest possible wait, the relay's time was ahead when that due
    // time was written. The store then makes the retry due at once.
    let longest = setups.iter().map(|setup| setup.options.retry.schedule().max).max().unwrap_or_default();
    let now = clock.relay_time();
    let latest_due = now.after(longest.max(retry_after::CAP)).after(CLOCK_TOLERANCE);
    store.write(move |spool| spool.register_sinks(&known, latest_due, now)).await
}

/// Ends the pauses of those `sinks` that were paused because nobody read their output. Returns the pause that each of
/// `sinks` still has.
///
/// # Errors
/// Errors of the store. In this case nothing was changed.
pub(super) async fn lift_closed(
    store: &Store,
    clock: &Clock,
    sinks: impl Iterator<Item = SinkId>,
) -> Result<Vec<Option<Pause>>, Error> {
    let (sinks, now): (Vec<SinkId>, UnixMs) = (sinks.collect(), clock.relay_time());
    store.write(move |spool| spool.end_closed_pauses(&sinks, now)).await
}
