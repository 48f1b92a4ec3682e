//! The API itself: the answer for each path, with the documented errors, cursors and page sizes.
//!
//! Invariant: this module knows no faults and counts no requests. An answer depends only on the state, the clock, the
//! request and the caller.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::account::keys::Caller;
use crate::account::state::State;
use crate::api::billing::{auto_renew, rent, subscriptions};
use crate::api::edits::{mark_all_read, mark_read, update_number};
use crate::api::lists::{messages, number_json, numbers};
use crate::api::refusals::{Refusal, session_required, unauthorized};
use crate::clock::Now;
use crate::http::answer::{Answer, Content};
use crate::http::request::Request;

/// Finds the caller of a request.
pub(crate) fn identify(state: &mut State, now: Now, request: &Request) -> Caller {
    let bearer = request.authorization.as_deref().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let cookies = request.cookie.as_deref().unwrap_or_default();
    let cookie = cookies.split(';').find_map(|pair| pair.trim().strip_prefix("session="));
    if bearer.or(cookie).is_some_and(|token| token == state.session) {
        return Caller::Session;
    }
    let State { keys, switches, .. } = state;
    match bearer.and_then(|secret| keys.accept(secret, now, switches)) {
        Some(id) => Caller::Key(id.to_owned()),
        None => Caller::Nobody,
    }
}

/// Returns the API's answer to a request that is within the limit.
pub(crate) fn answer(state: &mut State, now: Now, request: &Request, caller: &Caller) -> Answer {
    let pretty = state.switches.pretty;
    let path = request.path.as_str();
    if *caller == Caller::Nobody {
        return unauthorized(pretty);
    }
    let account = path.strip_prefix("/v1").unwrap_or(path);
    let keys = account.strip_prefix("/api-keys");
    let settings = account == "/auth/change-password" || account.starts_with("/auth/two-factor/");
    if (keys.is_some() || settings) && *caller != Caller::Session {
        return session_required(pretty);
    }
    let cap = match caller {
        Caller::Session => state.switches.session_page_cap,
        _ => state.switches.page_cap,
    };
    let method = request.method.as_str();
    let refused = |refusal: Refusal| refusal.answer(pretty);
    if let ("PUT", Some(id)) = (method, between(path, "/v1/messages/", "/read")) {
        return mark_read(state, now, id).unwrap_or_else(refused);
    }
    if let ("POST", Some(id)) = (method, between(path, "/v1/billing/subscriptions/", "/auto-renew")) {
        return auto_renew(state, id, request).unwrap_or_else(refused);
    }
    match (method, path) {
        ("GET", "/v1/messages") => messages(state, now, request, cap).unwrap_or_else(refused),
        ("GET", "/v1/numbers") => numbers(state, now, request, cap).unwrap_or_else(refused),
        ("POST", "/v1/numbers/rent") => rent(state, now, request).unwrap_or_else(refused),
        ("PUT", "/v1/messages/mark-all-read") => mark_all_read(state, request).unwrap_or_else(refused),
        ("GET", "/v1/billing/subscriptions") => subscriptions(state),
        ("PUT", _) if path.starts_with("/v1/numbers/") => {
            update_number(state, now, &path["/v1/numbers/".len()..], request).unwrap_or_else(refused)
        }
        ("GET", _) if path.starts_with("/v1/numbers/") => one_number(state, &path["/v1/numbers/".len()..]),
        ("GET", "/v1/api-keys") => {
            let keys: Vec<_> = state.keys.all().filter(|key| key.revoked_at.is_none()).collect();
            Answer::json(200, &json!({"data": keys}), pretty)
        }
        ("POST", "/v1/api-keys") => create_key(state, now, &request.body),
        ("DELETE", _) if path.starts_with("/v1/api-keys/") => {
            match state.keys.revoke(&path["/v1/api-keys/".len()..], now) {
                true => Answer { status: 204, content: Content::Empty },
                false => Answer::error(404, "NOT_FOUND", "API key not found", pretty),
            }
        }
        ("POST", _) if settings => Answer::json(200, &json!({"success": true}), pretty),
        _ => Answer::error(404, "NOT_FOUND", "Not found", pretty),
    }
}

/// Returns the part of the path between these two texts.
fn between<'a>(path: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    path.strip_prefix(before)?.strip_suffix(behind)
}

fn one_number(state: &State, id: &str) -> Answer {
    match state.listed_number(id) {
        Some(index) => {
            let row = number_json(state, index);
            Answer { status: 200, content: Content::Json(format!("{{\"data\":{row}}}")) }
        }
        None => Refusal::Number.answer(state.switches.pretty),
    }
}

fn create_key(state: &mut State, now: Now, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        name: String,
        #[serde(default)]
        expires_at: Option<Timestamp>,
    }
    let State { keys, switches, random, .. } = state;
    let pretty = switches.pretty;
    let Ok(wanted) = serde_json::from_slice::<Wanted>(body) else {
        return Answer::error(400, "VALIDATION_ERROR", "A name is required; expiresAt is an ISO 8601 time", pretty);
    };
    match keys.create(&wanted.name, wanted.expires_at, now, switches, random) {
        Ok(created) => {
            let Some(key) = keys.find(&created.id) else {
                return Answer::error(500, "INTERNAL_ERROR", "The key was lost", pretty);
            };
            let mut shown = json!(key);
            shown["key"] = json!(created.secret);
            Answer::json(201, &shown, pretty)
        }
        Err(too_many) => {
            let message = format!("Maximum of {} active API keys reached", too_many.allowed);
            Answer::error(400, "API_KEY_LIMIT_REACHED", &message, pretty)
        }
    }
}
