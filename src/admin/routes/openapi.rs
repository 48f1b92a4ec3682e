//! `/api/v1/openapi.json`: the description of the API.

use axum::response::Response;

use super::json;

/// The description. A test compares its paths with the router.
const DOCUMENT: &str = include_str!("openapi.json");

pub(in crate::admin) async fn answer() -> Response {
    json(DOCUMENT.to_owned())
}
