//! The paths of the endpoint, one file for each.

pub(super) mod healthz;
pub(super) mod metrics;
pub(super) mod readyz;
pub(super) mod status;
pub(super) mod wait;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

/// Makes an answer of a JSON text.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
