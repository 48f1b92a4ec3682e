//! The dead letters, and the choice of the sink whose dead letters are listed. Pure.

use serde::Serialize;

use super::super::query::PageQuery;
use super::moment::Moment;
use crate::domain::UnixMs;
use crate::humanize::{count, grouped, harmless};
use crate::status::StatusReading;
use crate::store::DeadLetter;

/// The dead letters of one sink, or of all sinks.
#[derive(Debug, Serialize)]
pub(super) struct DeadLetterList {
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

impl DeadLetterList {
    pub(super) fn of(reading: &StatusReading, letters: &[DeadLetter], now: UnixMs, query: &PageQuery) -> Self {
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

/// A link that lists the dead letters of one sink, or of all sinks.
#[derive(Debug, Serialize)]
struct DeadLetterChoice {
    name: String,
    query: String,
    count: String,
    is_chosen: bool,
}

/// A dead letter.
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
