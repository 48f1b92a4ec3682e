//! The common parts of all actions: how their parameters are read, and how they answer a program and a browser.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::super::notices::ActionNotice;
use super::super::page;
use super::super::parameters::{ParameterRefusal, Parameters};
use super::super::problem_document::ProblemDocument;
use super::super::request_parts::WholeBody;
use super::super::state::Endpoint;
use super::super::state_access::StateUnusable;
use super::{json, see_other, wants_page};
use crate::operator::OperatorRefusal;
use crate::store::Error;

/// The parameter with the query of the page to which the browser returns.
const BACK: &str = "back";

/// The result of an action.
#[derive(Debug, Serialize)]
pub(super) struct ActionResult {
    /// Sentences for people, one in each line.
    pub(super) message: String,
    /// How many sinks or deliveries were changed.
    pub(super) changed: u64,
}

/// Why an action was refused, or has failed.
#[derive(Clone, Debug)]
pub(super) struct ActionFailure(StatusCode, String);

impl ActionFailure {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(status, detail.into())
    }
}

impl From<ParameterRefusal> for ActionFailure {
    fn from(refusal: ParameterRefusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refusal.to_string())
    }
}

impl From<OperatorRefusal> for ActionFailure {
    fn from(refusal: OperatorRefusal) -> Self {
        let status = match refusal {
            OperatorRefusal::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            OperatorRefusal::UnknownSink(_) => StatusCode::NOT_FOUND,
            OperatorRefusal::NotConfigured(_) => StatusCode::CONFLICT,
            OperatorRefusal::InvalidPattern(..) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<StateUnusable> for ActionFailure {
    fn from(error: StateUnusable) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<Error> for ActionFailure {
    fn from(error: Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<ActionFailure> for ProblemDocument {
    fn from(ActionFailure(status, detail): ActionFailure) -> Self {
        Self::new(status, detail)
    }
}

/// A request for an action.
pub(in crate::admin) struct ActionRequest {
    pub(super) endpoint: Endpoint,
    headers: HeaderMap,
    /// The parameters of the query and of the body.
    parameters: Result<Parameters, ActionFailure>,
}

impl FromRequest<Endpoint> for ActionRequest {
    type Rejection = ProblemDocument;

    async fn from_request(request: Request, endpoint: &Endpoint) -> Result<Self, Self::Rejection> {
        let (uri, headers) = (request.uri().clone(), request.headers().clone());
        let WholeBody(body) = WholeBody::from_request(request, endpoint).await?;
        let parameters = parameters(&uri, &headers, &body);
        Ok(Self { endpoint: endpoint.clone(), headers, parameters })
    }
}

impl ActionRequest {
    /// Returns the parameters of the action. Parameters with other names than `names` and [`BACK`] are refused.
    pub(super) fn parameters(&self, names: &[&str]) -> Result<Parameters, ActionFailure> {
        let parameters = self.parameters.clone()?;
        parameters.without(BACK).only(names)?;
        Ok(parameters)
    }

    /// Answers a program with JSON. Leads a browser back to the page, which then shows the result.
    pub(super) fn answer(&self, result: Result<ActionResult, ActionFailure>) -> Response {
        if !wants_page(&self.headers) {
            return match result {
                Ok(result) => json(serde_json::to_string(&result).unwrap_or_default() + "\n"),
                Err(failure) => ProblemDocument::from(failure).into_response(),
            };
        }
        let notice = match result {
            Ok(result) => ActionNotice { text: result.message, is_refusal: false },
            Err(ActionFailure(_, detail)) => ActionNotice { text: detail, is_refusal: true },
        };
        // Only the known parameters of the page are copied from `back`, so the browser cannot be led to another page.
        let back = self.parameters.as_ref().ok().and_then(|parameters| parameters.get(BACK)).unwrap_or_default();
        let query = Parameters::of_form(back.as_bytes()).query(&page::NAMES);
        let id = self.endpoint.notices.keep(notice);
        let separator = if query.is_empty() { "" } else { "&" };
        see_other(&format!("{}/?{query}{separator}{}={id}#notice", self.endpoint.options.base_path, page::NOTICE))
    }
}

/// Whether a media type is JSON, such as `application/json; charset=utf-8`, `text/json` or `application/problem+json`.
fn is_json(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    matches!(essence.as_slice(), b"application/json" | b"text/json") || essence.ends_with(b"+json")
}

/// Reads the parameters of the query and of the body, which is a form or a JSON object.
fn parameters(uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Result<Parameters, ActionFailure> {
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes()));
    let in_query = Parameters::of_form(uri.query().unwrap_or_default().as_bytes());
    let in_body = if is_json && !body.is_empty() { Parameters::of_json(body)? } else { Parameters::of_form(body) };
    Ok(in_query.and(in_body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_several_media_types() {
        for kind in
            ["application/json", "Application/JSON;charset=utf-8", " text/json ; a=b", "application/merge-patch+json"]
        {
            assert!(is_json(kind.as_bytes()), "{kind}");
        }
        for kind in ["", "application/x-www-form-urlencoded", "text/plain; a=application/json", "application/jsonp"] {
            assert!(!is_json(kind.as_bytes()), "{kind}");
        }
    }
}
