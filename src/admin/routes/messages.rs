//! `/api/v1/messages`: stored messages with their deliveries, the oldest first.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::super::message_list::{MessageQuery, NAMES, messages};
use super::super::parameters::Parameters;
use super::super::problem_document::ProblemDocument;
use super::super::state::Endpoint;
use super::action::ActionFailure;
use super::json;

pub(in crate::admin) async fn answer(State(endpoint): State<Endpoint>, uri: Uri) -> Result<Response, ProblemDocument> {
    let now = endpoint.state.access.clock().likely_message_time();
    let parameters = Parameters::of_form(uri.query().unwrap_or_default().as_bytes());
    let query = parameters.only(&NAMES).and_then(|()| MessageQuery::read(&parameters, now));
    let query = query.map_err(ActionFailure::from)?;
    let codes = endpoint.state.arrivals.codes.borrow().clone();
    let read = endpoint.state.access.read(move |spool| Ok::<_, ActionFailure>(messages(spool, &query, &codes)?));
    let text = serde_json::to_string(&read.await?)
        .map_err(|error| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(json(text + "\n"))
}
