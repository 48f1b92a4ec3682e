//! The API itself: which path gives what, with the documented errors, cursors and page sizes.
//!
//! Invariant: nothing here knows of faults, and nothing here counts requests; an answer depends on the state, the
//! clock, the request and who is asking.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::clock::Now;
use crate::lists::{messages, number_json, numbers};
use crate::page::Page;
use crate::state::State;
use crate::switches::Switches;

/// A request, read to its end.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) body: bytes::Bytes,
}

impl Request {
    /// A parameter of the query, decoded as servers do: `+` is a space.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Whether it asks for a list that has pages.
    pub(crate) fn is_list(&self) -> bool {
        self.method == "GET" && matches!(self.path.as_str(), "/v1/messages" | "/v1/numbers")
    }
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    /// With the id of the key.
    Key(String),
    Session,
}

/// What is answered, before any fault.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Page(Page),
    Json(String),
    Html(String),
    Empty,
}

impl Content {
    /// Its media type, if it has a body, and the body.
    pub(crate) fn text(self, switches: &Switches) -> (&'static str, String) {
        match self {
            Self::Page(page) => (JSON, page.text(switches)),
            Self::Json(text) => (JSON, text),
            Self::Html(text) => ("text/html; charset=UTF-8", text),
            Self::Empty => ("", String::new()),
        }
    }
}

/// The media type of all that is JSON.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

impl Answer {
    pub(crate) fn json(status: u16, value: &serde_json::Value, pretty: bool) -> Self {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        Self { status, content: Content::Json(text) }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str, pretty: bool) -> Self {
        Self::json(status, &json!({"error": code, "message": message}), pretty)
    }

    pub(crate) fn page(page: Page) -> Self {
        Self { status: 200, content: Content::Page(page) }
    }
}

/// Finds out who is asking.
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

/// What the API says to a request that is within the limit.
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
    match (method, path) {
        ("GET", "/v1/messages") => messages(state, now, request, cap).unwrap_or_else(|refusal| refusal.answer(pretty)),
        ("GET", "/v1/numbers") => numbers(state, now, request, cap).unwrap_or_else(|refusal| refusal.answer(pretty)),
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

/// The documented 401.
pub(crate) fn unauthorized(pretty: bool) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "Authentication required", pretty)
}

/// The documented 403.
pub(crate) fn session_required(pretty: bool) -> Answer {
    let message = "This endpoint requires browser session authentication. API keys cannot be used for this operation.";
    Answer::error(403, "SESSION_REQUIRED", message, pretty)
}

/// Why a list is not given.
#[derive(Debug)]
pub(crate) enum Refusal {
    Cursor,
    Parameter(&'static str),
    Number,
}

impl Refusal {
    pub(crate) fn answer(&self, pretty: bool) -> Answer {
        match self {
            Self::Cursor => Answer::error(400, "INVALID_CURSOR", "Invalid or expired cursor", pretty),
            Self::Parameter(name) => {
                Answer::error(400, "VALIDATION_ERROR", &format!("Invalid query parameter: {name}"), pretty)
            }
            Self::Number => Answer::error(404, "NOT_FOUND", "Number not found or you do not have access", pretty),
        }
    }
}

fn one_number(state: &State, id: &str) -> Answer {
    match state.numbers.find_id(id) {
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
