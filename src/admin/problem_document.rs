//! Errors as `application/problem+json` (RFC 9457).

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::status::HealthProblem;

/// An error as the body of an answer.
#[derive(Debug, Serialize)]
pub(super) struct ProblemDocument {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// One entry for each reason why the relay is not ready or not healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<HealthProblem>,
    #[serde(skip)]
    headers: HeaderMap,
}

impl ProblemDocument {
    /// Makes an error with this HTTP status. `detail` is a sentence for people.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
            reasons: Vec::new(),
            headers: HeaderMap::new(),
        }
    }

    /// Makes a 503 with the reasons why the relay is not ready or not healthy.
    pub(super) fn unavailable(reasons: Vec<HealthProblem>) -> Self {
        let details: Vec<&str> = reasons.iter().map(|reason| reason.detail.as_str()).collect();
        let detail = details.join("; ");
        Self { reasons, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Adds a header to the answer.
    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

impl IntoResponse for ProblemDocument {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A struct of texts and numbers can always be written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let media_type = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        (status, self.headers, media_type, body).into_response()
    }
}
