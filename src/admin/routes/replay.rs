//! `POST /api/v1/replay`, with the selectors of the command: `sink`, `id`, `since`, `until`, `to`, `from`, `failed`, or
//! `all=true` for every stored message.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::message_list::instant;
use super::super::parameters::Parameters;
use super::super::state::Endpoint;
use super::action::{ActionFailure, ActionRequest, ActionResult};
use crate::operator::{ReplayRequest, ReplayTally, choose, count_portion, each_portion, replayed};

const NAMES: [&str; 8] = ["sink", "id", "since", "until", "to", "from", "failed", "all"];

pub(in crate::admin) async fn answer(request: ActionRequest) -> Response {
    let result = match request.parameters(&NAMES) {
        Ok(parameters) => replay(&request.endpoint, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    request.answer(result)
}

async fn replay(endpoint: &Endpoint, parameters: &Parameters) -> Result<ActionResult, ActionFailure> {
    let now = endpoint.state.access.clock().likely_message_time();
    let selectors = ReplayRequest {
        sinks: parameters.all("sink"),
        without_events: Vec::new(),
        ids: parameters.all("id"),
        since: instant(parameters, "since", now)?,
        until: instant(parameters, "until", now)?,
        to: parameters.all("to"),
        from: parameters.all("from"),
        failed: parameters.flag("failed")?,
    };
    if parameters.flag("all")? == (selectors != ReplayRequest::default()) {
        let detail = "say which messages: sink, id, since, until, to, from or failed, or all=true for all of them";
        return Err(ActionFailure::new(StatusCode::BAD_REQUEST, detail));
    }
    let sinks = endpoint.state.sinks.all();
    let without_events = sinks.iter().filter(|sink| !sink.takes_events).map(|sink| sink.name.clone()).collect();
    let request = ReplayRequest { without_events, ..selectors };
    let change = endpoint.state.access.change(move |spool| {
        let (choice, mut tallies) = choose(spool, &request)?;
        let (mut found, mut changed) = (0_usize, 0_usize);
        each_portion(spool, &choice, |spool, portion| {
            count_portion(&mut tallies, portion);
            found += portion.found.len();
            changed += spool.replay(&portion.found)?;
            Ok::<_, ActionFailure>(())
        })?;
        let message = if tallies.iter().all(|tally: &ReplayTally| tally.found() + tally.waiting == 0) {
            if !request.ids.is_empty() {
                let detail = "nothing selected: no stored message has this id";
                return Err(ActionFailure::new(StatusCode::NOT_FOUND, detail));
            }
            "nothing selected: no stored message fits (state.keep_delivered says how long messages are stored)"
                .to_owned()
        } else {
            replayed(&tallies, found - changed, Some(true), &|name| format!("resume {name} to send it"))
        };
        Ok(ActionResult { message, changed: u64::try_from(changed).unwrap_or(0) })
    });
    change.await
}
