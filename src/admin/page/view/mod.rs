//! The values of the template `status.html`, a file for each section of the page. Pure: the present time is passed in.

mod dead_letters;
mod messages;
mod moment;
mod overview;
mod sinks;
mod walks;

use serde::Serialize;

use self::dead_letters::DeadLetterList;
use self::messages::{FilterView, MessageRow};
use self::overview::{Fact, HealthBanner};
use self::sinks::SinkCard;
use self::walks::WalkView;
use super::plot::{self, Plot};
use super::query::PageQuery;
use crate::admin::history::HistoryMinute;
use crate::admin::message_list::MessageList;
use crate::admin::notices::ActionNotice;
use crate::admin::settings::Options;
use crate::domain::UnixMs;
use crate::status::StatusReading;
use crate::store::DeadLetter;

/// The values from which the page is made.
pub(in crate::admin) struct PageInput<'a> {
    pub(in crate::admin) options: &'a Options,
    pub(in crate::admin) reading: &'a StatusReading,
    /// The relay's time.
    pub(in crate::admin) now: UnixMs,
    pub(in crate::admin) query: &'a PageQuery,
    /// The mistake in the filters of the page's URL, in words.
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
    /// The query of this page. After an action the browser returns to the page with this query.
    back: String,
    now: i64,
    healthy: bool,
    #[serde(flatten)]
    health: HealthBanner,
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

/// The result of the last action.
#[derive(Debug, Serialize)]
struct NoticeView {
    lines: Vec<String>,
    is_refusal: bool,
}

impl StatusView {
    pub(super) fn of(input: &PageInput<'_>) -> Self {
        let PageInput { options, reading, now, query, .. } = *input;
        let status = &reading.status;
        let problems: Vec<String> = overview::readiness_or_problems(status);
        let sinks = status.sinks.iter().map(|sink| SinkCard::of(sink, reading, now, query));
        let messages = input.messages.messages.iter().rev();
        Self {
            base: options.base_path.clone(),
            read_only: options.read_only,
            back: query.own(),
            now: now.0,
            healthy: problems.is_empty(),
            health: HealthBanner::of(&status.sinks, &problems),
            notice: input.notice.as_ref().map(|notice| NoticeView {
                lines: notice.text.lines().map(str::to_owned).collect(),
                is_refusal: notice.is_refusal,
            }),
            facts: overview::facts(status, now),
            plots: [plot::requests(input.minutes), plot::lags(input.minutes)],
            walks: status
                .coverage
                .iter()
                .flat_map(|coverage| &coverage.walks)
                .map(|walk| WalkView::of(walk, now))
                .collect(),
            sinks: sinks.collect(),
            filters: FilterView::of(query, input.mistake.clone()),
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
