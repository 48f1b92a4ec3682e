//! Answers requests that change a number or mark messages as read.
//!
//! Invariant: paths and fields are those of the vendor's client. A request that is not understood changes nothing.

use serde::Deserialize;
use serde_json::json;

use crate::account::state::State;
use crate::api::lists::number_json;
use crate::api::refusals::Refusal;
use crate::clock::Now;
use crate::http::answer::{Answer, Content};
use crate::http::request::Request;

/// Answers `PUT /v1/numbers/ID`. A field that the request leaves out stays as it is.
pub(crate) fn update_number(state: &mut State, now: Now, id: &str, request: &Request) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Changes {
        service_name: Option<String>,
        tags: Option<Vec<String>>,
        notes: Option<String>,
    }
    let index = state.listed_number(id).ok_or(Refusal::Number)?;
    let changes: Changes =
        serde_json::from_slice(&request.body).map_err(|_| Refusal::Body("serviceName, tags or notes are required"))?;
    let fits = |text: &String, most: usize| text.chars().count() <= most;
    if !changes.service_name.as_ref().is_none_or(|name| fits(name, 100)) {
        return Err(Refusal::Body("serviceName has at most 100 characters"));
    }
    if !changes.tags.as_ref().is_none_or(|tags| tags.len() <= 20 && tags.iter().all(|tag| fits(tag, 50))) {
        return Err(Refusal::Body("tags are at most 20 texts of at most 50 characters"));
    }
    if !changes.notes.as_ref().is_none_or(|notes| fits(notes, 1000)) {
        return Err(Refusal::Body("notes have at most 1000 characters"));
    }
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let number = state.numbers.get_mut(index);
    if let Some(name) = changes.service_name {
        number.details.service_name = filled(name);
    }
    if let Some(tags) = changes.tags {
        number.details.tags = tags;
    }
    if let Some(notes) = changes.notes {
        number.details.notes = filled(notes);
    }
    number.updated_ms = Some(now.wall.as_millisecond());
    Ok(Answer { status: 200, content: Content::Json(number_json(state, index)) })
}

/// Answers `PUT /v1/messages/ID/read`.
pub(crate) fn mark_read(state: &mut State, now: Now, id: &str) -> Result<Answer, Refusal> {
    if state.feed.mark_read(id).is_none() {
        return Err(Refusal::Message);
    }
    let answer = json!({"success": true, "messageId": id, "readAt": format!("{:.3}", now.wall)});
    Ok(Answer::json(200, &answer, state.switches.pretty))
}

/// Answers `PUT /v1/messages/mark-all-read`, for all numbers or for the number of the parameter `numberId`.
pub(crate) fn mark_all_read(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let number = match request.parameter("numberId") {
        None => None,
        Some(id) => Some(state.listed_number(&id).ok_or(Refusal::Number)?),
    };
    let count = state.feed.mark_all_read(number);
    let message = format!("{count} messages are now read");
    Ok(Answer::json(200, &json!({"success": true, "count": count, "message": message}), state.switches.pretty))
}
