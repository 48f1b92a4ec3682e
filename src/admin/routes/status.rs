//! `/api/v1/status`: what `joltsms-relay status --json` prints.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::problem_document::ProblemDocument;
use super::super::state::AdminState;
use super::json;

pub(in crate::admin) async fn answer(State(state): State<AdminState>) -> Result<Response, ProblemDocument> {
    let unavailable = |error: String| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let reading = state.status.read().await.map_err(|error| unavailable(error.to_string()))?;
    let text = serde_json::to_string_pretty(&reading.status).map_err(|error| unavailable(error.to_string()))?;
    Ok(json(text + "\n"))
}
