//! The values of the template `status.html`. Pure: the present time is passed in.

use serde::Serialize;

use super::super::history::HistoryMinute;
use super::super::message_list::{ListedMessage, MessageList};
use super::super::notices::ActionNotice;
use super::super::settings::Options;
use super::plot::{self, Plot};
use super::query::PageQuery;
use crate::delivery::{BlockedBy, SinkStatus};
use crate::domain::{PauseReason, UnixMs};
use crate::humanize::{bytes, count, grouped, harmless, span};
use crate::operator::learned_pace;
use crate::status::{ReadingKind, SinkSection, Status, StatusReading, WalkStatus, readiness_problems};
use crate::store::{DeadLetter, DeadLetterReason, DeliveryState, TracedDelivery};

/// The values from which the page is made.
pub(in crate::admin) struct PageInput<'a> {
    pub(in crate::admin) options: &'a Options,
    pub(in crate::admin) reading: &'a StatusReading,
    /// The relay's time.
    pub(in crate::admin) now: UnixMs,
    pub(in crate::admin) query: &'a PageQuery,
    /// What is wrong with the filters of the address.
    pub(in crate::admin) mistake: Option<String>,
    pub(in crate::admin) notice: Option<ActionNotice>,
    pub(in crate::admin) messages: &'a MessageList,
    pub(in crate::admin) dead_letters: &'a [DeadLetter],
    pub(in crate::admin) minutes: &'a [HistoryMinute],
}

/// The values of the page.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    base: String,
    read_only: bool,
    /// The query of this page, to which an action returns.
    back: String,
    now: i64,
    healthy: bool,
    sentence: String,
    notice: Option<NoticeView>,
    facts: Vec<Fact>,
    plots: [Plot; 2],
    walks: Vec<WalkView>,
    sinks: Vec<SinkCard>,
    filters: FilterView,
    messages: Vec<MessageRow>,
    more: bool,
    dead: DeadLetterList,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct NoticeView {
    lines: Vec<String>,
    is_refusal: bool,
}

/// An instant: relative for people, and absolute.
#[derive(Debug, Serialize)]
struct Moment {
    at: i64,
    absolute: String,
    relative: String,
}

/// A number of the overview.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
    moment: Option<Moment>,
    note: String,
}

/// A stretch of older messages that is being read.
#[derive(Debug, Serialize)]
struct WalkView {
    what: &'static str,
    /// How much was read, from 0 to 100; `None` if the end is not known.
    percent: Option<i64>,
    reached: Moment,
    text: String,
}

#[derive(Debug, Serialize)]
struct SinkCard {
    name: String,
    /// A word for the styles: good, waiting, bad, off.
    tone: &'static str,
    state: String,
    detail: Vec<String>,
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

#[derive(Debug, Serialize)]
struct FilterView {
    to: String,
    from: String,
    since: String,
    limit: String,
    dead: String,
    mistake: Option<String>,
    is_set: bool,
    show_all: String,
    mask_all: String,
    shows_any: bool,
}

#[derive(Debug, Serialize)]
struct MessageRow {
    id: String,
    /// The place of the message in the order of release, for the address of its row in the page.
    place: i64,
    received: Moment,
    from: String,
    to: String,
    is_kept: bool,
    has_code: bool,
    is_shown: bool,
    /// The code and the text, only if they are shown.
    code: Option<String>,
    text: Option<String>,
    show: String,
    deliveries: Vec<DeliveryView>,
}

#[derive(Debug, Serialize)]
struct DeliveryView {
    sink: String,
    tone: &'static str,
    state: &'static str,
    detail: String,
    next: Option<Moment>,
}

#[derive(Debug, Serialize)]
struct DeadLetterList {
    total: u64,
    /// How many dead letters the filter selects.
    selected: u64,
    selected_text: String,
    /// The sink that the filter names.
    sink: Option<String>,
    choices: Vec<DeadLetterChoice>,
    letters: Vec<DeadLetterRow>,
    more: bool,
}

#[derive(Debug, Serialize)]
struct DeadLetterChoice {
    name: String,
    query: String,
    count: String,
    is_chosen: bool,
}

#[derive(Debug, Serialize)]
struct DeadLetterRow {
    id: String,
    sink: String,
    reason: String,
    answer: String,
    attempts: u32,
    received: Moment,
    died: Option<Moment>,
}

impl Moment {
    fn of(at: UnixMs, now: UnixMs) -> Self {
        let relative =
            if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) };
        Self { at: at.0, absolute: at.to_string(), relative }
    }

    /// The instant at which something is due, which may have passed since the status was read.
    fn due(at: UnixMs, now: UnixMs) -> Self {
        let moment = Self::of(at, now);
        if at > now { moment } else { Self { relative: "now".to_owned(), ..moment } }
    }
}

impl StatusView {
    pub(super) fn of(input: &PageInput<'_>) -> Self {
        let PageInput { options, reading, now, query, .. } = *input;
        let status = &reading.status;
        let problems: Vec<String> = readiness_or_problems(status);
        let sinks = status.sinks.iter().map(|sink| SinkCard::of(sink, reading, now, query));
        let messages = input.messages.messages.iter().rev();
        Self {
            base: options.base_path.clone(),
            read_only: options.read_only,
            back: query.own(),
            now: now.0,
            healthy: problems.is_empty(),
            sentence: sentence(status, &problems),
            notice: input.notice.as_ref().map(|notice| NoticeView {
                lines: notice.text.lines().map(str::to_owned).collect(),
                is_refusal: notice.is_refusal,
            }),
            facts: facts(status, now),
            plots: [plot::requests(input.minutes), plot::lags(input.minutes)],
            walks: status
                .coverage
                .iter()
                .flat_map(|coverage| &coverage.walks)
                .map(|walk| WalkView::of(walk, now))
                .collect(),
            sinks: sinks.collect(),
            filters: FilterView {
                to: query.written("to").to_owned(),
                from: query.written("from").to_owned(),
                since: query.written("since").to_owned(),
                limit: query.written("limit").to_owned(),
                dead: query.written("dead").to_owned(),
                mistake: input.mistake.clone(),
                is_set: query.has_filter(),
                show_all: query.showing(None),
                mask_all: query.masked(),
                shows_any: !query.written("show").is_empty(),
            },
            messages: messages.map(|message| MessageRow::of(message, now, query)).collect(),
            more: input.messages.more,
            dead: DeadLetterList::of(reading, input.dead_letters, now, query),
            version: status.version,
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy
    }
}

/// Returns why the relay is not healthy, or not ready yet.
fn readiness_or_problems(status: &Status) -> Vec<String> {
    if !status.problems.is_empty() {
        return status.problems.iter().map(|problem| harmless(problem)).collect();
    }
    readiness_problems(status).iter().map(|problem| harmless(&problem.detail)).collect()
}

/// Says in one sentence whether the relay is healthy, and if not, why.
fn sentence(status: &Status, problems: &[String]) -> String {
    if !problems.is_empty() {
        return format!("Not healthy: {}.", problems.join("; "));
    }
    let paused: Vec<&str> = status
        .sinks
        .iter()
        .filter(|sink| sink.stored.view.configured && sink.stored.view.pause.is_some())
        .map(|sink| sink.stored.view.name.as_str())
        .collect();
    let failing =
        status.sinks.iter().filter(|sink| sink.live.as_ref().is_some_and(|live| live.failing_since.is_some()));
    let failing: Vec<&str> = failing.map(|sink| sink.stored.view.name.as_str()).collect();
    let mut sentence = "Healthy: the API is polled".to_owned();
    if paused.is_empty() && failing.is_empty() {
        return sentence + ", and every sink accepts messages.";
    }
    if !failing.is_empty() {
        sentence += &format!("; the last attempts of {} failed", failing.join(", "));
    }
    if !paused.is_empty() {
        sentence += &format!("; an operator has paused {}", paused.join(", "));
    }
    sentence + "."
}

fn facts(status: &Status, now: UnixMs) -> Vec<Fact> {
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
            let note = format!("late ones were looked for {} ago", span(coverage.last_sweep_age_seconds.0));
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

impl WalkView {
    fn of(walk: &WalkStatus, now: UnixMs) -> Self {
        let what = match walk.kind {
            ReadingKind::Gap => "Missed messages",
            ReadingKind::Sweep => "Late messages, once more",
            ReadingKind::Seed => "Messages from before the first run",
        };
        let percent = walk.down_to.map(|end| {
            let (all, done) = (walk.opened_at.0.saturating_sub(end.0), walk.opened_at.0.saturating_sub(walk.reached.0));
            (done.saturating_mul(100) / all.max(1)).clamp(0, 100)
        });
        let mut parts = Vec::new();
        if let Some(pages) = walk.pages_left {
            parts.push(format!("about {} left", count(pages, "page")));
        }
        parts.extend(walk.seconds_left.map(|left| format!("about {}", span(left))));
        if walk.held_messages > 0 {
            parts.push(format!("{} wait until all are read", count(walk.held_messages, "message")));
        }
        if walk.failures > 0 {
            parts.push(format!("{} in a row", count(walk.failures.into(), "failure")));
        }
        Self { what, percent, reached: Moment::of(walk.reached, now), text: parts.join("; ") }
    }
}

impl SinkCard {
    fn of(sink: &SinkSection, reading: &StatusReading, now: UnixMs, query: &PageQuery) -> Self {
        let (view, live) = (&sink.stored.view, sink.live.as_ref());
        let (tone, state) = state_of(sink, now);
        let reasons = reading.dead_letters.iter().filter(|dead| dead.sink == view.name);
        let reasons: Vec<String> =
            reasons.map(|DeadLetterReason { reason, count, .. }| format!("{} {reason}", grouped(*count))).collect();
        let next_attempt = match live.and_then(|live| live.blocked_by) {
            Some(BlockedBy::Silence { until }) => Some(until),
            Some(BlockedBy::Breaker { next_probe }) => next_probe,
            Some(BlockedBy::Pause(_)) | None => None,
        };
        let delivered = live.map(|live| live.delivered).filter(|delivered| delivered.count > 0);
        let reason = view.pause.map(|pause| pause.reason);
        Self {
            name: view.name.clone(),
            tone,
            state,
            detail: live.map(details).unwrap_or_default(),
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
            next_attempt: next_attempt.filter(|_| reason.is_none()).map(|at| Moment::due(at, now)),
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
            PauseReason::Operator => ("off", "paused"),
            PauseReason::Gone => ("bad", "paused: the receiver is gone (410)"),
            PauseReason::Closed => ("bad", "paused: nobody reads the output"),
            PauseReason::Disabled => ("off", "switched off in the configuration"),
        };
        return (tone, format!("{why}, since {}", span(now.since(pause.since))));
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

fn details(live: &SinkStatus) -> Vec<String> {
    let mut details: Vec<String> = learned_pace(live).into_iter().collect();
    if live.in_flight > 0 {
        details.push(format!("{} under way", live.in_flight));
    }
    details
}

impl MessageRow {
    fn of(message: &ListedMessage, now: UnixMs, query: &PageQuery) -> Self {
        let texts = &message.texts;
        let is_shown = query.shows(&message.id);
        let unknown = || "unknown".to_owned();
        Self {
            id: message.id.clone(),
            place: message.place,
            received: Moment::of(message.received_at, now),
            from: texts.from.as_deref().map_or_else(unknown, harmless),
            to: texts.to.as_deref().map_or_else(unknown, harmless),
            is_kept: message.message.is_some(),
            has_code: texts.code.is_some(),
            is_shown,
            code: texts.code.clone().filter(|_| is_shown),
            text: texts.body.clone().filter(|_| is_shown),
            show: query.showing(Some(&message.id)),
            deliveries: message.sinks.iter().map(|delivery| DeliveryView::of(delivery, now)).collect(),
        }
    }
}

impl DeliveryView {
    fn of(delivery: &TracedDelivery, now: UnixMs) -> Self {
        let (tone, state) = match delivery.state {
            DeliveryState::Delivered => ("good", "delivered"),
            DeliveryState::Undecided => ("waiting", "not decided yet"),
            DeliveryState::Fresh => ("waiting", "waits"),
            DeliveryState::Retry => ("waiting", "failed, waits"),
            DeliveryState::Dead => ("bad", "dead letter"),
            DeliveryState::Dropped => ("off", "given up"),
        };
        let answer = delivery.answer.as_deref().map(harmless);
        let detail: Vec<String> =
            [delivery.reason.clone(), answer.filter(|_| delivery.state != DeliveryState::Delivered)]
                .into_iter()
                .flatten()
                .collect();
        let next = delivery.due.filter(|_| delivery.state == DeliveryState::Retry && !delivery.paused);
        Self {
            sink: delivery.sink.clone(),
            tone,
            state,
            detail: detail.join(": "),
            next: next.map(|at| Moment::due(at, now)),
        }
    }
}

impl DeadLetterList {
    fn of(reading: &StatusReading, letters: &[DeadLetter], now: UnixMs, query: &PageQuery) -> Self {
        let views = || reading.status.sinks.iter().map(|sink| &sink.stored.view);
        let total = views().map(|view| view.dead).sum();
        let chosen = views().find(|view| query.dead_sink() == Some(view.name.as_str()));
        let selected = chosen.map_or(total, |view| view.dead);
        let with_letters =
            views().filter(|view| view.dead > 0 || chosen.is_some_and(|chosen| chosen.name == view.name));
        let mut choices = vec![DeadLetterChoice {
            name: "all sinks".to_owned(),
            query: query.with_dead_of(None),
            count: grouped(total),
            is_chosen: chosen.is_none(),
        }];
        choices.extend(with_letters.map(|view| DeadLetterChoice {
            name: view.name.clone(),
            query: query.with_dead_of(Some(&view.name)),
            count: grouped(view.dead),
            is_chosen: chosen.is_some_and(|chosen| chosen.name == view.name),
        }));
        Self {
            total,
            selected,
            selected_text: count(selected, "dead letter"),
            sink: chosen.map(|view| view.name.clone()),
            choices,
            letters: letters.iter().map(|letter| DeadLetterRow::of(letter, now)).collect(),
            more: u64::try_from(letters.len()).unwrap_or(u64::MAX) < selected,
        }
    }
}

impl DeadLetterRow {
    fn of(letter: &DeadLetter, now: UnixMs) -> Self {
        Self {
            id: letter.id.clone(),
            sink: letter.sink.clone(),
            reason: letter.reason.replace('_', " "),
            answer: harmless(&letter.answer),
            attempts: letter.attempts,
            received: Moment::of(letter.received, now),
            died: letter.died.map(|died| Moment::of(died, now)),
        }
    }
}
