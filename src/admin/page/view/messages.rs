//! The last messages with their deliveries, and the filter of the list. Pure.
//!
//! Invariant: the code and the text of a message are here only if the address of the page asks for them.

use serde::Serialize;

use super::super::query::PageQuery;
use super::moment::Moment;
use crate::admin::message_list::ListedMessage;
use crate::domain::UnixMs;
use crate::humanize::harmless;
use crate::store::{DeliveryState, TracedDelivery};

/// The filter of the messages.
#[derive(Debug, Serialize)]
pub(super) struct FilterView {
    to: String,
    from: String,
    since: String,
    limit: String,
    dead: String,
    mistake: Option<String>,
    is_set: bool,
    /// Whether the messages that fit the filter can be replayed. The filter must have no mistake, and must select
    /// messages; a filter with only a `limit` does not suffice.
    can_replay: bool,
    /// The parameters of a replay of the messages that fit the filter.
    replayed: Vec<(String, String)>,
    show_all: String,
    mask_all: String,
    shows_any: bool,
}

impl FilterView {
    /// `mistake`: what is wrong with the filter.
    pub(super) fn of(query: &PageQuery, mistake: Option<String>) -> Self {
        let written = |name: &str| query.written(name).to_owned();
        Self {
            to: written("to"),
            from: written("from"),
            since: written("since"),
            limit: written("limit"),
            dead: written("dead"),
            is_set: query.has_filter(),
            can_replay: query.selects_messages() && mistake.is_none(),
            replayed: query.selectors(),
            mistake,
            show_all: query.showing(None),
            mask_all: query.masked(),
            shows_any: !query.written("show").is_empty(),
        }
    }
}

/// A message.
#[derive(Debug, Serialize)]
pub(super) struct MessageRow {
    id: String,
    /// The release number of the message. The HTML id of the message's line in the table contains this number (for
    /// example `m-12`), so that a link can lead to the line.
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

impl MessageRow {
    pub(super) fn of(message: &ListedMessage, now: UnixMs, query: &PageQuery) -> Self {
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
            has_code: message.code.is_some(),
            is_shown,
            code: message.code.clone().filter(|_| is_shown),
            text: texts.body.clone().filter(|_| is_shown),
            show: query.showing(Some(&message.id)),
            deliveries: message.sinks.iter().map(|delivery| DeliveryView::of(delivery, now)).collect(),
        }
    }
}

/// The delivery of a message to one sink.
#[derive(Debug, Serialize)]
struct DeliveryView {
    sink: String,
    tone: &'static str,
    state: &'static str,
    detail: String,
    next: Option<Moment>,
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
