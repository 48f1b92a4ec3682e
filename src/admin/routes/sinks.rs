//! `POST /api/v1/sinks/NAME/pause`, `resume` and `test`.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::request_parts::NameInPath;
use super::super::state::Endpoint;
use super::action::{ActionFailure, ActionRequest, ActionResult};
use crate::operator::{OperatorRefusal, pause_sink, resume_sink, sink_named};

pub(in crate::admin) async fn pause(NameInPath(name): NameInPath, request: ActionRequest) -> Response {
    respond(&request, pause_named(&request.endpoint, name)).await
}

pub(in crate::admin) async fn resume(NameInPath(name): NameInPath, request: ActionRequest) -> Response {
    respond(&request, resume_named(&request.endpoint, name)).await
}

pub(in crate::admin) async fn test(NameInPath(name): NameInPath, request: ActionRequest) -> Response {
    respond(&request, test_named(&request.endpoint, name)).await
}

/// Does the work if the request has no parameters, and answers.
async fn respond(request: &ActionRequest, work: impl Future<Output = Result<ActionResult, ActionFailure>>) -> Response {
    let result = match request.parameters(&[]) {
        Ok(_) => work.await,
        Err(refusal) => Err(refusal),
    };
    request.answer(result)
}

async fn pause_named(endpoint: &Endpoint, name: String) -> Result<ActionResult, ActionFailure> {
    let now = endpoint.state.access.clock().relay_time();
    let change = endpoint.state.access.change(move |spool| {
        let id = sink_named(spool, &name)?;
        let (message, is_changed) = pause_sink(spool, id, &name, now)?;
        Ok::<_, ActionFailure>(ActionResult { message, changed: is_changed.into() })
    });
    change.await
}

async fn resume_named(endpoint: &Endpoint, name: String) -> Result<ActionResult, ActionFailure> {
    let reading = endpoint.state.status.read().await;
    let sinks = reading.iter().flat_map(|reading| &reading.status.sinks);
    let live = sinks.filter(|sink| sink.stored.view.name == name).find_map(|sink| sink.live.clone());
    let now = endpoint.state.access.clock().relay_time();
    let change = endpoint.state.access.change(move |spool| {
        let id = sink_named(spool, &name)?;
        let was_paused = spool.pause_of(id)?.is_some();
        let message = resume_sink(spool, id, &name, live.as_ref(), now)?;
        let is_paused = spool.pause_of(id)?.is_some();
        Ok::<_, ActionFailure>(ActionResult { message, changed: (was_paused && !is_paused).into() })
    });
    change.await
}

async fn test_named(endpoint: &Endpoint, name: String) -> Result<ActionResult, ActionFailure> {
    let sinks = endpoint.state.sinks.all();
    let Some(sink) = sinks.iter().find(|sink| sink.name == name) else {
        let known: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        let said = format!("no sink named {name:?} is configured; configured are {}", known.join(", "));
        return Err(OperatorRefusal::UnknownSink(said).into());
    };
    match sink.send_test_message(endpoint.state.access.clock()).await {
        Ok(message) => Ok(ActionResult { message, changed: 0 }),
        Err(why) => Err(ActionFailure::new(StatusCode::BAD_GATEWAY, why)),
    }
}
