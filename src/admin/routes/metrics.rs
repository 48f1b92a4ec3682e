//! `/metrics`: the metrics in the text format of Prometheus.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::super::gauges::gauges;
use super::super::problem_document::ProblemDocument;
use super::super::state::AdminState;
use crate::metrics;

pub(in crate::admin) async fn answer(State(state): State<AdminState>) -> Result<Response, ProblemDocument> {
    let unavailable = |error: String| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let reading = state.status.read().await.map_err(|error| unavailable(error.to_string()))?;
    let text = state.metrics.text(&gauges(&reading)).map_err(|error| unavailable(error.to_string()))?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], text).into_response())
}
