//! Answers requests for the two lists: reads parameters, finds rows, gives out cursors.
//!
//! Invariant: a parameter that is not understood is refused. No parameter is ignored, except where a switch says so.

use jiff::Timestamp;

use crate::account::billing::Subscription;
use crate::account::state::State;
use crate::api::refusals::Refusal;
use crate::clock::Now;
use crate::feed::cursor::Cursor;
use crate::feed::number::Paid;
use crate::feed::search::Search;
use crate::http::answer::Answer;
use crate::http::page::{Meta, Page};
use crate::http::request::Request;
use crate::switches::{CursorKind, Switches, UnknownNumber};

/// Answers a request for `/v1/messages`.
pub(crate) fn messages(state: &mut State, now: Now, request: &Request, cap: usize) -> Result<Answer, Refusal> {
    let limit = limit(request, cap, &state.switches)?;
    let switches = &state.switches;
    let empty =
        || Answer::page(Page { rows: Vec::new(), meta: Meta { has_more: false, next_cursor: None, total: 0, limit } });
    let number = match request.parameter("numberId") {
        None => None,
        Some(id) => match (state.listed_number(&id), switches.unknown_number) {
            (Some(index), _) => Some(index),
            (None, UnknownNumber::NotFound) => return Err(Refusal::Number),
            (None, UnknownNumber::EmptyList) => return Ok(empty()),
        },
    };
    let since_ms = match request.parameter("since") {
        None => None,
        Some(text) => {
            let time: Timestamp = text.parse().map_err(|_| Refusal::Parameter("since"))?;
            Some(time.as_millisecond())
        }
    };
    let cursor = cursor(state, now, request)?;
    if let Some(cursor) = &cursor {
        let gone = state.feed.find(&cursor.id).is_none_or(|slot| state.feed.entries.vanished(slot));
        match switches.cursor {
            CursorKind::RefusedWithoutRow if gone => return Err(Refusal::Cursor),
            CursorKind::EmptyWithoutRow if gone => return Ok(empty()),
            _ => {}
        }
    }

    let search = Search { number, from: request.parameter("from"), since_ms, cursor, limit };
    let found = state.feed.search(&search, switches);
    let last = found.slots.last().filter(|_| found.more).map(|&slot| Cursor {
        ms: state.feed.entries.sort_ms(slot),
        id: state.feed.entries.message(slot).id.to_string(),
    });
    let rows = found.slots.iter().map(|&slot| state.message_json(slot)).collect();
    let next_cursor = issue(state, now, last.as_ref());
    Ok(Answer::page(Page { rows, meta: Meta { has_more: found.more, next_cursor, total: found.total, limit } }))
}

/// Answers a request for `/v1/numbers`.
pub(crate) fn numbers(state: &mut State, now: Now, request: &Request, cap: usize) -> Result<Answer, Refusal> {
    let limit = limit(request, cap, &state.switches)?;
    let shared = match request.parameter("scope").as_deref() {
        None | Some("all") => None,
        Some("owned") => Some(false),
        Some("shared") => Some(true),
        Some(_) => return Err(Refusal::Parameter("scope")),
    };
    let status = request.parameter("status");
    let cursor = cursor(state, now, request)?;
    let mut matching: Vec<usize> = (0..state.numbers.all().len())
        .filter(|&index| {
            let number = state.numbers.get(index);
            !state.feed.is_withdrawn(index)
                && shared.is_none_or(|shared| number.details.shared == shared)
                && status.as_ref().is_none_or(|status| number.status.eq_ignore_ascii_case(status))
        })
        .collect();
    let place = |index: usize| (state.numbers.get(index).created_ms, state.numbers.get(index).id.as_str());
    matching.sort_unstable_by(|&left, &right| place(right).cmp(&place(left)));
    let total = matching.len();
    matching.retain(|&index| cursor.as_ref().is_none_or(|cursor| place(index) < (cursor.ms, cursor.id.as_str())));
    let more = matching.len() > limit;
    matching.truncate(limit);

    let last = matching.last().filter(|_| more);
    let last = last.map(|&index| Cursor { ms: place(index).0, id: place(index).1.to_owned() });
    let rows = matching.iter().map(|&index| number_json(state, index)).collect();
    let next_cursor = issue(state, now, last.as_ref());
    Ok(Answer::page(Page { rows, meta: Meta { has_more: more, next_cursor, total, limit } }))
}

/// Returns the JSON of the row of a number.
pub(crate) fn number_json(state: &State, index: usize) -> String {
    let Switches { empty_fields, pretty, .. } = state.switches;
    state.numbers.get(index).json(
        state.feed.counts(index),
        state.billing.of_number(index).map(paid),
        empty_fields,
        pretty,
    )
}

fn paid(subscription: &Subscription) -> Paid<'_> {
    Paid {
        subscription_id: &subscription.id,
        status: subscription.status(),
        auto_renew: subscription.auto_renew,
        period_end: subscription.period_end,
    }
}

fn limit(request: &Request, cap: usize, switches: &Switches) -> Result<usize, Refusal> {
    let wanted = match request.parameter("limit") {
        None => switches.page_default,
        Some(text) => text.parse().ok().filter(|&wanted| wanted > 0).ok_or(Refusal::Parameter("limit"))?,
    };
    Ok(wanted.min(cap).max(1))
}

fn cursor(state: &State, now: Now, request: &Request) -> Result<Option<Cursor>, Refusal> {
    let Some(text) = request.parameter("cursor") else { return Ok(None) };
    if state.issued.expired(&text, now.elapsed, &state.switches) {
        return Err(Refusal::Cursor);
    }
    Cursor::parse(&text, state.switches.cursor_text).ok_or(Refusal::Cursor).map(Some)
}

fn issue(state: &mut State, now: Now, cursor: Option<&Cursor>) -> Option<String> {
    let text = cursor?.text(state.switches.cursor_text);
    state.issued.remember(&text, now.elapsed, &state.switches);
    Some(text)
}
