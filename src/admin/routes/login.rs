//! `/login` and `/logout`: exchange the token for the cookie of a session, and remove the cookie.

use axum::extract::State;
use axum::http::header::{ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::super::parameters::Parameters;
use super::super::request_parts::WholeBody;
use super::super::settings::Options;
use super::super::state::Endpoint;
use super::super::{guard, page, session};
use super::{html, see_other};

pub(in crate::admin) async fn show(State(endpoint): State<Endpoint>) -> Response {
    html(page::login(&endpoint.options, None))
}

pub(in crate::admin) async fn begin(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Response {
    let options = &endpoint.options;
    let parameters = Parameters::of_form(&body);
    let shown = parameters.get("token").unwrap_or_default().trim();
    match &options.token {
        Some(token) if guard::is_token(shown, token) => {
            let value = session::begin(token, endpoint.state.access.clock().relay_time());
            with_cookie(see_other(&format!("{}/", options.base_path)), options, &headers, &value, "")
        }
        _ => {
            let mut answer = html(page::login(options, Some("This is not the token of the configuration.")));
            if answer.status() == StatusCode::OK {
                *answer.status_mut() = StatusCode::UNAUTHORIZED;
            }
            answer
        }
    }
}

pub(in crate::admin) async fn end(State(endpoint): State<Endpoint>, headers: HeaderMap) -> Response {
    let options = &endpoint.options;
    with_cookie(see_other(&format!("{}/login", options.base_path)), options, &headers, "", "; Max-Age=0")
}

/// Adds the cookie of the session. Scripts cannot read the cookie, and browsers do not send it with requests that come
/// from other sites.
fn with_cookie(mut answer: Response, options: &Options, headers: &HeaderMap, value: &str, ends: &str) -> Response {
    let is_https =
        |name: &str, scheme: &[u8]| headers.get(name).is_some_and(|text| text.as_bytes().starts_with(scheme));
    let secure = is_https(ORIGIN.as_str(), b"https://") || is_https("x-forwarded-proto", b"https");
    let (path, secure) = (&options.base_path, if secure { "; Secure" } else { "" });
    let cookie = format!("{}={value}; Path={path}/; HttpOnly; SameSite=Strict{secure}{ends}", session::COOKIE);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}
