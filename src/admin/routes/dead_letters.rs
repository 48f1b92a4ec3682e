//! `POST /api/v1/dead-letters/retry` and `drop`, with the selectors of the commands: `sink`, `id` or `all=true`.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::parameters::Parameters;
use super::super::state::Endpoint;
use super::action::{ActionFailure, ActionRequest, ActionResult};
use crate::operator::{dead_letter_selection, resolve_dead_letters, resolved};
use crate::store::DeadLetterAction;

pub(in crate::admin) async fn retry(request: ActionRequest) -> Response {
    respond(&request, DeadLetterAction::Retry).await
}

pub(in crate::admin) async fn give_up(request: ActionRequest) -> Response {
    respond(&request, DeadLetterAction::Drop).await
}

async fn respond(request: &ActionRequest, action: DeadLetterAction) -> Response {
    let result = match request.parameters(&["sink", "id", "all"]) {
        Ok(parameters) => resolve(&request.endpoint, &parameters, action).await,
        Err(refusal) => Err(refusal),
    };
    request.answer(result)
}

async fn resolve(
    endpoint: &Endpoint,
    parameters: &Parameters,
    action: DeadLetterAction,
) -> Result<ActionResult, ActionFailure> {
    let [sink, id] = ["sink", "id"].map(|name| parameters.get(name).map(str::to_owned));
    if parameters.flag("all")? == (sink.is_some() || id.is_some()) {
        let detail = "say which dead letters: sink, id or both, or all=true for all of them";
        return Err(ActionFailure::new(StatusCode::BAD_REQUEST, detail));
    }
    let now = endpoint.state.access.clock().relay_time();
    let change = endpoint.state.access.change(move |spool| {
        let selection = dead_letter_selection(spool, sink.as_deref(), id.as_deref())?;
        let settled = resolve_dead_letters(spool, &selection, action, now)?;
        if settled > 0 {
            return Ok(ActionResult { message: resolved(settled, action), changed: settled });
        }
        let of = sink.map(|sink| format!(" of {sink}")).unwrap_or_default();
        match id {
            Some(id) => {
                let detail = format!("nothing selected: {id:?} is no dead letter{of}");
                Err(ActionFailure::new(StatusCode::NOT_FOUND, detail))
            }
            None => {
                let message = format!("nothing selected: there are no dead letters{of}");
                Ok(ActionResult { message, changed: 0 })
            }
        }
    });
    change.await
}
