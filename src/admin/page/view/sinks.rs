//! The sinks, each as a card with buttons. Pure.

use serde::Serialize;

use super::super::query::PageQuery;
use super::moment::Moment;
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{count, grouped, harmless, span};
use crate::operator::learned_pace;
use crate::status::{SinkSection, StatusReading, next_attempt};
use crate::store::DeadLetterReason;

/// A sink.
#[derive(Debug, Serialize)]
pub(super) struct SinkCard {
    name: String,
    /// A word for the styles: good, waiting, bad, off.
    tone: &'static str,
    state: String,
    detail: Vec<String>,
    /// Whether the sink has no waiting message and no dead letter.
    is_idle: bool,
    waiting: String,
    retrying: String,
    dead: u64,
    dead_shown: String,
    dead_letters: String,
    dead_reasons: String,
    dead_query: String,
    oldest: Option<Moment>,
    last_failure: Option<String>,
    delivered: Option<String>,
    last_delivered: Option<Moment>,
    next_attempt: Option<Moment>,
    can_pause: bool,
    can_resume: bool,
    can_test: bool,
}

impl SinkCard {
    pub(super) fn of(sink: &SinkSection, reading: &StatusReading, now: UnixMs, query: &PageQuery) -> Self {
        let (view, live) = (&sink.stored.view, sink.live.as_ref());
        let (tone, state) = state_of(sink, now);
        let reasons = reading.dead_letters.iter().filter(|dead| dead.sink == view.name);
        let reasons: Vec<String> =
            reasons.map(|DeadLetterReason { reason, count, .. }| format!("{} {reason}", grouped(*count))).collect();
        let delivered = live.map(|live| live.delivered).filter(|delivered| delivered.count > 0);
        let reason = view.pause.map(|pause| pause.reason);
        Self {
            name: view.name.clone(),
            tone,
            state,
            detail: live.map(details).unwrap_or_default(),
            is_idle: view.waiting == 0 && view.dead == 0,
            waiting: grouped(view.waiting),
            retrying: grouped(view.retrying),
            dead: view.dead,
            dead_shown: grouped(view.dead),
            dead_letters: count(view.dead, "dead letter"),
            dead_reasons: reasons.join(", "),
            dead_query: query.with_dead_of(Some(&view.name)),
            oldest: view.oldest.map(|oldest| Moment::of(oldest, now)),
            last_failure: live.and_then(|live| live.last_failure.as_deref()).map(harmless),
            delivered: delivered.map(|delivered| grouped(delivered.count)),
            last_delivered: delivered.and_then(|delivered| delivered.last_at).map(|at| Moment::of(at, now)),
            next_attempt: next_attempt(view, live).map(|at| Moment::due(at, now)),
            can_pause: view.configured
                && reason != Some(PauseReason::Operator)
                && reason != Some(PauseReason::Disabled),
            can_resume: reason.is_some_and(|reason| reason != PauseReason::Disabled)
                || live.is_some_and(|live| live.failing_since.is_some() || live.learned_per_minute.is_some()),
            can_test: view.configured && view.name != "stdout",
        }
    }
}

/// Returns the tone and the words for the state of a sink.
fn state_of(sink: &SinkSection, now: UnixMs) -> (&'static str, String) {
    let (view, live) = (&sink.stored.view, sink.live.as_ref());
    if !view.configured {
        return ("off", "not configured any more".to_owned());
    }
    if let Some(pause) = view.pause {
        let (tone, why) = match pause.reason {
            PauseReason::Operator => ("off", ""),
            PauseReason::Gone => ("bad", ": the receiver is gone"),
            PauseReason::Closed => ("bad", ": nobody reads the output"),
            PauseReason::Disabled => ("off", ": enabled = false in the configuration"),
        };
        return (tone, format!("paused for {}{why}", span(now.since(pause.since))));
    }
    let failing = live.and_then(|live| live.failing_since).map(|since| span(now.since(since)));
    match (live.and_then(|live| live.blocked_by), failing) {
        (Some(BlockedBy::Silence { .. }), _) => ("waiting", "the receiver wants silence".to_owned()),
        (Some(BlockedBy::Breaker { .. }), Some(since)) => ("bad", format!("failing for {since}, tried one at a time")),
        (_, Some(since)) => ("bad", format!("failing for {since}")),
        (_, None) if view.waiting > 0 => ("waiting", "sending".to_owned()),
        (_, None) => ("good", "working".to_owned()),
    }
}

/// Returns the pace that the sink has learned, and the number of its attempts under way, as texts.
fn details(live: &SinkStatus) -> Vec<String> {
    let mut details: Vec<String> = learned_pace(live).into_iter().collect();
    if live.in_flight > 0 {
        details.push(format!("{} under way", live.in_flight));
    }
    details
}
