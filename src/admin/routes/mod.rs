//! The paths of the endpoint, one file for each.

mod action;
pub(super) mod assets;
pub(super) mod dead_letters;
pub(super) mod events;
pub(super) mod healthz;
pub(super) mod login;
pub(super) mod messages;
pub(super) mod metrics;
pub(super) mod openapi;
pub(super) mod page;
pub(super) mod readyz;
pub(super) mod replay;
pub(super) mod sinks;
pub(super) mod status;
pub(super) mod wait;

use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};

use super::page::UnrenderablePage;
use super::problem_document::ProblemDocument;

/// Makes an answer of a JSON text.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// Makes an answer of a page.
fn html(page: Result<String, UnrenderablePage>) -> Response {
    match page {
        Ok(text) => Html(text).into_response(),
        Err(error) => ProblemDocument::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the client is a browser that shows a page to a person.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok()).is_some_and(|types| types.contains("text/html"))
}

/// Leads a browser to another page of the endpoint.
pub(super) fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(place) => (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response(),
        Err(_) => ProblemDocument::new(StatusCode::BAD_REQUEST, "the path of the page cannot be sent in a header")
            .into_response(),
    }
}
