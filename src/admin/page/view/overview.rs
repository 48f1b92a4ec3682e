//! The overview at the top of the page: the health in one sentence, and the most important numbers. Pure.

use serde::Serialize;

use super::moment::Moment;
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{bytes, grouped, harmless, span};
use crate::status::{SinkSection, Status, readiness_problems};

/// A number of the overview.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    name: &'static str,
    value: String,
    moment: Option<Moment>,
    note: String,
}

/// Returns the reasons why the relay is not healthy, or not ready yet.
pub(super) fn readiness_or_problems(status: &Status) -> Vec<String> {
    if !status.problems.is_empty() {
        return status.problems.iter().map(|problem| harmless(problem)).collect();
    }
    readiness_problems(status).iter().map(|problem| harmless(&problem.detail)).collect()
}

/// The health of the relay, as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct HealthBanner {
    /// A word for the styles: good, waiting (healthy, but a sink fails or is paused), bad.
    pub(super) tone: &'static str,
    /// Whether the relay is healthy, and if not, why.
    pub(super) sentence: String,
}

impl HealthBanner {
    /// Makes the banner of a relay with these sinks. `problems`: why the relay is not healthy; empty if it is healthy.
    pub(super) fn of(sinks: &[SinkSection], problems: &[String]) -> Self {
        if !problems.is_empty() {
            return Self { tone: "bad", sentence: format!("Not healthy: {}.", problems.join("; ")) };
        }
        let names = |is_named: &dyn Fn(&SinkSection) -> bool| {
            let named = sinks.iter().filter(|sink| is_named(sink));
            named.map(|sink| sink.stored.view.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let failing = names(&|sink| sink.live.as_ref().is_some_and(|live| live.failing_since.is_some()));
        // A pause for any other reason than `Operator` and `Disabled` makes the relay unhealthy, and is one of
        // `problems`.
        let paused_for = |reason| {
            names(&|sink| {
                let view = &sink.stored.view;
                view.configured && view.pause.is_some_and(|pause| pause.reason == reason)
            })
        };
        let (paused, switched_off) = (paused_for(PauseReason::Operator), paused_for(PauseReason::Disabled));
        let mut sentence = "Healthy: the API is polled".to_owned();
        if [&failing, &paused, &switched_off].iter().all(|names| names.is_empty()) {
            return Self { tone: "good", sentence: sentence + ", and every sink accepts messages." };
        }
        if !failing.is_empty() {
            sentence += &format!("; the last attempts of {failing} failed");
        }
        if !paused.is_empty() {
            sentence += &format!("; an operator has paused {paused}");
        }
        if !switched_off.is_empty() {
            sentence += &format!("; the configuration has switched off {switched_off}");
        }
        Self { tone: "waiting", sentence: sentence + "." }
    }
}

/// Returns the numbers of the overview.
pub(super) fn facts(status: &Status, now: UnixMs) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value: String, moment, note: String| facts.push(Fact { name, value, moment, note });
    if let Some(report) = &status.polling.report {
        let note = match (report.condition.why(), status.polling.interval_seconds) {
            (Some(why), _) => harmless(why),
            (None, Some(interval)) => format!("every {}", span(interval.0)),
            (None, None) => String::new(),
        };
        match report.last_poll_at {
            Some(at) => add("Last poll", String::new(), Some(Moment::of(at, now)), note),
            None => add("Last poll", "not yet".to_owned(), None, note),
        }
    }
    match &status.coverage {
        Some(coverage) => {
            let note = format!("last search for late messages {} ago", span(coverage.last_sweep_age_seconds.0));
            let newest = Moment::of(now.before(coverage.frontier_age_seconds.0), now);
            let newest = Moment { absolute: coverage.frontier.to_string(), ..newest };
            add("Newest message", String::new(), Some(newest), note);
        }
        None => add("Newest message", "nothing read yet".to_owned(), None, String::new()),
    }
    if let Some(own) = status.budget.own {
        let foreign = status.budget.api.map_or(0, |api| api.foreign);
        let note = match foreign {
            0 => format!("of {} requests a minute", grouped(own.limit)),
            foreign => format!("of {} a minute; other programs used {foreign}", grouped(own.limit)),
        };
        add("Budget left", grouped(own.left), None, note);
    }
    let note = status.relay.report.as_ref().map(|report| format!("running for {}", span(now.since(report.started_at))));
    add("State on disk", bytes(status.state.bytes), None, note.unwrap_or_default());
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StoredSink;
    use crate::store::{Pause, SinkView};

    const NOW: UnixMs = UnixMs(1_750_000_000_000);

    fn sentence(pauses: &[(&str, Option<PauseReason>)]) -> String {
        let sink = |(name, reason): &(&str, Option<PauseReason>)| {
            let pause = reason.map(|reason| Pause { reason, since: NOW });
            let view = SinkView { name: (*name).to_owned(), configured: true, pause, ..SinkView::default() };
            SinkSection { stored: StoredSink::at(NOW, view), live: None }
        };
        let sinks: Vec<SinkSection> = pauses.iter().map(sink).collect();
        HealthBanner::of(&sinks, &[]).sentence
    }

    #[test]
    fn sinks_that_an_operator_paused_and_sinks_that_are_switched_off_are_named_apart() {
        let (operator, disabled) = (Some(PauseReason::Operator), Some(PauseReason::Disabled));
        for (pauses, expected) in [
            (&[("crm", None)][..], ", and every sink accepts messages."),
            (&[("crm", operator), ("old", None)], "; an operator has paused crm."),
            (&[("crm", None), ("old", disabled)], "; the configuration has switched off old."),
            (
                &[("crm", operator), ("mail", operator), ("old", disabled)],
                "; an operator has paused crm, mail; the configuration has switched off old.",
            ),
        ] {
            assert_eq!(sentence(pauses), format!("Healthy: the API is polled{expected}"));
        }
    }
}
