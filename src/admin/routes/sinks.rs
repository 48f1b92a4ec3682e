//! `POST /api/v1/sinks/NAME/pause`, `resume` and `test`.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::super::state::Endpoint;
use super::action::{self, ActionFailure, ActionResult, BACK};
use crate::operator::{OperatorRefusal, pause_sink, resume_sink, sink_named};

pub(in crate::admin) async fn pause(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let now = endpoint.state.access.clock().relay_time();
    let work = endpoint.state.access.change(move |spool| {
        let id = sink_named(spool, &name)?;
        let (message, is_changed) = pause_sink(spool, id, &name, now)?;
        Ok::<_, ActionFailure>(ActionResult { message, changed: is_changed.into() })
    });
    respond(&endpoint, &uri, &headers, &body, work).await
}

pub(in crate::admin) async fn resume(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
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
    };
    respond(&endpoint, &uri, &headers, &body, work).await
}

pub(in crate::admin) async fn test(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        let targets = endpoint.state.targets.all();
        let Some(target) = targets.iter().find(|target| target.name == name) else {
            let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            let said = format!("no sink named {name:?} is configured; configured are {}", known.join(", "));
            return Err(OperatorRefusal::UnknownSink(said).into());
        };
        match target.send(endpoint.state.access.clock()).await {
            Ok(message) => Ok(ActionResult { message, changed: 0 }),
            Err(why) => Err(ActionFailure::new(StatusCode::BAD_GATEWAY, why)),
        }
    };
    respond(&endpoint, &uri, &headers, &body, work).await
}

/// Does the work if no parameter is wrong, and answers.
async fn respond(
    endpoint: &Endpoint,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    work: impl Future<Output = Result<ActionResult, ActionFailure>>,
) -> Response {
    let parameters = action::parameters(uri, headers, body, &[]);
    let (back, result) = match parameters {
        Ok(parameters) => (parameters.get(BACK).map(str::to_owned), work.await),
        Err(refusal) => (None, Err(refusal)),
    };
    action::answer(endpoint, headers, back.as_deref(), result)
}
