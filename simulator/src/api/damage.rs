//! Carries out the effects of faults: on the feed before the answer, on the answer, and on its headers.
//!
//! Invariant: each effect acts at only one of these steps, so the order in which effects are written down does not
//! matter between the steps. Within a step, effects act in the order in which they are written down, except that wrong
//! types ([`Effect::WrongType`]) come last.

use serde_json::{Value, json};

use crate::account::limit::Verdict;
use crate::account::state::State;
use crate::api::refusals::{Refusal, rate_limited, session_required, unauthorized};
use crate::clock::{Now, later};
use crate::faults::effect::{BadRow, Effect, ErrorBody, Malformed, RateHeaders, WrongType};
use crate::feed::message::NewMessage;
use crate::http::answer::{Answer, Content};
use crate::http::page::Page;
use crate::http::request::Request;
use crate::switches::Switches;

/// Changes the feed before the request is answered.
pub(crate) fn before(effects: &[Effect], state: &mut State, now: Now) {
    let newest = |state: &State| state.feed.order.iter().next();
    for effect in effects {
        match effect {
            Effect::Add(messages) => drop(state.add(messages.clone(), now)),
            Effect::LateRow(by) => {
                let time = now.wall.saturating_sub(*by).unwrap_or(now.wall);
                state.add(vec![NewMessage::new().received_at(time)], now);
            }
            Effect::FutureRow(by) => drop(state.add(vec![NewMessage::new().received_at(later(now.wall, *by))], now)),
            Effect::EqualRow => {
                let time = newest(state).map(|slot| state.row(slot).received_at);
                state.add(vec![NewMessage { received_at: time, ..NewMessage::new() }], now);
            }
            Effect::Vanish(ids) => {
                for id in ids {
                    state.feed.vanish(id);
                }
            }
            Effect::VanishNewest(count) => {
                let slots: Vec<u32> = state.feed.order.iter().take(*count).collect();
                for slot in slots {
                    let id = state.feed.entries.message(slot).id.clone();
                    state.feed.vanish(&id);
                }
            }
            Effect::Reorder(count) => {
                let slots: Vec<u32> = state.feed.order.iter().take(*count).collect();
                let Some(last) = slots.last().map(|&slot| state.feed.entries.sort_ms(slot)) else { continue };
                let id = state.feed.entries.message(slots[0]).id.clone();
                state.feed.relocate(&id, last.saturating_sub(1));
            }
            _ => {}
        }
    }
}

/// Replaces an answer, or spoils it.
pub(crate) fn spoil(
    effects: &[Effect],
    mut answer: Answer,
    request: &Request,
    verdict: &Verdict,
    switches: &Switches,
) -> Answer {
    for effect in effects {
        match effect {
            Effect::Status { status, body } => answer = other_answer(*status, *body, verdict, switches),
            Effect::RefuseCursor => answer = Refusal::Cursor.answer(switches.pretty),
            _ => {
                if let Content::Page(page) = &mut answer.content {
                    spoil_page(effect, page, request);
                }
            }
        }
    }
    // This step comes last, because a page with wrong types is no page any more.
    for effect in effects {
        if let (Effect::WrongType(wrong), Content::Page(page)) = (effect, &answer.content) {
            answer.content = Content::Json(wrong_type(*wrong, page, switches).to_string());
        }
    }
    answer
}

fn other_answer(status: u16, body: ErrorBody, verdict: &Verdict, switches: &Switches) -> Answer {
    let pretty = switches.pretty;
    match (body, status) {
        (ErrorBody::Empty, _) | (ErrorBody::Json, 204 | 304) => Answer { status, content: Content::Empty },
        (ErrorBody::Html, _) => Answer { status, content: Content::Html(html(status)) },
        (ErrorBody::Json, 401) => unauthorized(pretty),
        (ErrorBody::Json, 403) => session_required(pretty),
        (ErrorBody::Json, 404) => Refusal::Number.answer(pretty),
        (ErrorBody::Json, 429) => rate_limited(verdict, switches),
        (ErrorBody::Json, 200..=399) => Answer::json(status, &json!({"success": true}), pretty),
        (ErrorBody::Json, 500) => Answer::error(status, "INTERNAL_ERROR", "Internal server error", pretty),
        (ErrorBody::Json, _) => {
            let status_text = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            let text = status_text.unwrap_or("Unknown error");
            let code: String =
                text.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
            Answer::error(status, &code, text, pretty)
        }
    }
}

fn html(status: u16) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>{status}</title></head>\n<body>\n<h1>Error {status}</h1>\n\
         <p>The edge could not complete this request. Ray ID: 8f2c3d4e5a6b7c8d</p>\n</body>\n</html>\n"
    )
}

fn spoil_page(effect: &Effect, page: &mut Page, request: &Request) {
    match effect {
        Effect::BadRow { row, kind } => {
            let last = page.rows.len().saturating_sub(1);
            if let Some(text) = page.rows.get_mut((*row).min(last)) {
                *text = spoiled_row(*kind, text).unwrap_or_else(|| bad_row(*kind, text));
            }
        }
        Effect::ReverseRows => page.rows.reverse(),
        Effect::EmptyPage { more } => {
            page.rows.clear();
            page.meta.has_more = *more;
            if !more {
                page.meta.next_cursor = None;
            }
        }
        Effect::RepeatCursor => {
            page.meta.has_more = true;
            page.meta.next_cursor = request.parameter("cursor");
        }
        Effect::MoreWithoutCursor => {
            page.meta.has_more = true;
            page.meta.next_cursor = None;
        }
        Effect::NextCursor(cursor) => {
            page.meta.has_more = true;
            page.meta.next_cursor = Some(cursor.clone());
        }
        _ => {}
    }
}

/// The character that stands for a byte that is no UTF-8, until the page becomes bytes. The simulator uses this
/// character for nothing else.
const BAD_BYTE: &str = "\u{10fff0}";

/// Makes a bad row of a kind that cannot be made from a JSON value: the row is not JSON, or contains half a character.
/// `None` for the other kinds, which [`bad_row`] makes.
fn spoiled_row(kind: BadRow, row: &str) -> Option<String> {
    let in_body = |text: &str| {
        let name = row.find("\"body\"").map_or(0, |at| at + "\"body\"".len());
        let at = row[name..].find('"').map_or(row.len(), |at| name + at + 1);
        format!("{}{text}{}", &row[..at], &row[at..])
    };
    let at_end = |text: &str| format!("{}{text}}}", row.trim_end().strip_suffix('}').unwrap_or(row).trim_end());
    let half = (row.len() / 2..row.len()).find(|at| row.is_char_boundary(*at)).unwrap_or(row.len());
    Some(match kind {
        BadRow::RawControl => in_body("\u{1}"),
        BadRow::BadByte => in_body(BAD_BYTE),
        BadRow::BadEscape => in_body("\\q"),
        BadRow::HalfCharacter => in_body("\\ud83d"),
        BadRow::NotANumber => at_end(",\"score\":NaN"),
        BadRow::LeadingZero => at_end(",\"score\":01"),
        BadRow::TrailingComma => at_end(","),
        BadRow::OpenQuote => in_body("\" "),
        BadRow::CutOff => row[..half].to_owned(),
        _ => return None,
    })
}

/// Replaces each [`BAD_BYTE`] in a body by a byte that is not UTF-8.
fn put_bad_bytes(effects: &[Effect], body: &mut Vec<u8>) {
    if !effects.iter().any(|effect| matches!(effect, Effect::BadRow { kind: BadRow::BadByte, .. })) {
        return;
    }
    let mark = BAD_BYTE.as_bytes();
    while let Some(at) = body.windows(mark.len()).position(|window| window == mark) {
        body.splice(at..at + mark.len(), [0xe9]);
    }
}

fn bad_row(kind: BadRow, row: &str) -> String {
    let mut row: Value = serde_json::from_str(row).unwrap_or_default();
    let mut set = |names: &[&str], value: &Value| names.iter().for_each(|&name| row[name] = value.clone());
    let times = &["receivedAt", "ingestedAt", "createdAt", "updatedAt", "rentedAt"][..];
    match kind {
        BadRow::NullId => set(&["id"], &Value::Null),
        BadRow::NumericId => set(&["id"], &json!(17)),
        BadRow::EmptyId => set(&["id"], &json!("")),
        BadRow::NullTime => set(times, &Value::Null),
        BadRow::UnreadableTime => set(times, &json!("the day before yesterday")),
        BadRow::NumericTime => set(times, &json!(1_750_000_000_000_i64)),
        BadRow::WrongFields => set(&["body", "from"], &json!({"text": 1})),
        BadRow::WithoutId => row = without(row, &["id"]),
        BadRow::WithoutTime => row = without(row, times),
        BadRow::Text => row = json!("not an object"),
        BadRow::Null => row = Value::Null,
        BadRow::List => row = json!([row]),
        // `spoiled_row` makes rows of these kinds.
        BadRow::RawControl
        | BadRow::BadByte
        | BadRow::BadEscape
        | BadRow::HalfCharacter
        | BadRow::NotANumber
        | BadRow::LeadingZero
        | BadRow::TrailingComma
        | BadRow::OpenQuote
        | BadRow::CutOff => {}
    }
    row.to_string()
}

fn without(mut row: Value, names: &[&str]) -> Value {
    if let Some(fields) = row.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    row
}

fn wrong_type(wrong: WrongType, page: &Page, switches: &Switches) -> Value {
    let mut fields = Value::Object(page.fields(switches));
    match wrong {
        WrongType::Page => fields = fields["data"].take(),
        WrongType::Data => fields["data"] = json!({"rows": fields["data"].take()}),
        WrongType::DataNull => fields["data"] = Value::Null,
        WrongType::DataMissing => fields = without(fields, &["data"]),
        WrongType::Meta => fields["meta"] = json!("none"),
        WrongType::MetaMissing => fields = without(fields, &["meta"]),
        WrongType::HasMore => fields["meta"]["hasMore"] = json!(page.meta.has_more.to_string()),
        WrongType::NextCursor => fields["meta"]["nextCursor"] = json!(42),
        WrongType::Counts => {
            fields["meta"]["total"] = json!("many");
            fields["meta"]["limit"] = json!("ten");
        }
    }
    fields
}

/// Damages a body that should have been JSON.
pub(crate) fn malform(effects: &[Effect], body: &mut Vec<u8>) {
    put_bad_bytes(effects, body);
    for effect in effects {
        match effect {
            Effect::Malformed(Malformed::Half) => body.truncate(body.len() / 2),
            Effect::Malformed(Malformed::Trailing) => body.extend_from_slice(b"}<!-- served in 12 ms -->"),
            Effect::Malformed(Malformed::NotUtf8) => {
                // The bytes are put inside the last text of the body, so that only the encoding is wrong.
                let place = body.iter().rposition(|&byte| byte == b'"').unwrap_or(body.len());
                body.splice(place..place, [0xff, 0xfe]);
            }
            Effect::Malformed(Malformed::Empty) => body.clear(),
            _ => {}
        }
    }
}

/// Changes headers. Their names are in lower case.
pub(crate) fn change_headers(effects: &[Effect], headers: &mut Vec<(String, String)>, now: Now) {
    let mut set = |name: &str, value: Option<String>| {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.extend(value.map(|value| (name.to_owned(), value)));
    };
    for effect in effects {
        match effect {
            Effect::RateHeaders(kind) => {
                let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
                let values = match kind {
                    RateHeaders::Missing => [None; 3],
                    RateHeaders::Garbage => [Some("lots"), Some("some"), Some("soon")],
                    RateHeaders::Fractional => [Some("120.0"), Some("7.5"), Some("41.25")],
                    RateHeaders::Zero => [Some("0"); 3],
                    RateHeaders::Negative => [Some("-1"); 3],
                    RateHeaders::Enormous => [Some("99999999999999999999999"); 3],
                    RateHeaders::Epoch => {
                        set(names[2], Some((now.wall.as_second() + 60).to_string()));
                        continue;
                    }
                };
                for (name, value) in names.into_iter().zip(values) {
                    set(name, value.map(str::to_owned));
                }
            }
            Effect::RetryAfter(value) => set("retry-after", Some(value.clone())),
            Effect::Header { name, value } => set(name, value.clone()),
            _ => {}
        }
    }
}
