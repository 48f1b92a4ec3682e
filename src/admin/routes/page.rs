//! `/`: the status page.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::super::message_list::{MessageQuery, messages};
use super::super::page::{self, PageInput, PageQuery};
use super::super::parameters::Parameters;
use super::super::problem_document::ProblemDocument;
use super::super::state::Endpoint;
use super::action::ActionFailure;
use super::html;
use crate::operator::dead_letter_selection;

/// The most dead letters that the page lists.
const MOST_DEAD_LETTERS: usize = 20;

pub(in crate::admin) async fn answer(State(endpoint): State<Endpoint>, uri: Uri) -> Result<Response, ProblemDocument> {
    let unavailable = |error: String| ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let clock = endpoint.state.access.clock();
    let parameters = Parameters::of_form(uri.query().unwrap_or_default().as_bytes());
    let query = PageQuery::of(parameters);
    let reading = endpoint.state.status.read().await.map_err(|error| unavailable(error.to_string()))?;
    // If a filter has a mistake, the page names the mistake, and shows the messages without a filter.
    let (selected, mistake) = match MessageQuery::read(&query.filters(), clock.likely_message_time()) {
        Ok(selected) => (selected, None),
        Err(refusal) => {
            let all = MessageQuery::read(&Parameters::default(), clock.likely_message_time());
            (all.map_err(ActionFailure::from)?, Some(refusal.to_string()))
        }
    };
    let dead_sink = query.dead_sink().map(str::to_owned);
    let codes = endpoint.state.arrivals.codes.borrow().clone();
    let read = endpoint.state.access.read(move |spool| {
        // The URL may name a sink that is gone. Then the page lists the dead letters of all sinks.
        let selection = dead_letter_selection(spool, dead_sink.as_deref(), None).unwrap_or_default();
        let letters = spool.dead_letters(&selection, None, MOST_DEAD_LETTERS)?;
        Ok::<_, ActionFailure>((messages(spool, &selected, &codes)?, letters))
    });
    let (messages, dead_letters) = read.await?;
    let notice = query.notice().and_then(|id| endpoint.notices.find(id));
    Ok(html(page::status(&PageInput {
        options: &endpoint.options,
        reading: &reading,
        now: clock.relay_time(),
        query: &query,
        mistake,
        notice,
        messages: &messages,
        dead_letters: &dead_letters,
        minutes: &endpoint.minutes(),
    })))
}
