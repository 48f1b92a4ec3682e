//! `/healthz`: whether the process is alive. 200 while all loops go round, 503 if one is stuck. A failure of the API or
//! of a receiver changes nothing. So a 503 means that a restart may help.

use axum::extract::State;
use axum::response::Response;

use super::super::problem_document::ProblemDocument;
use super::super::state::AdminState;
use super::json;
use crate::status::{HealthProblem, ProblemKind};

pub(in crate::admin) async fn answer(State(state): State<AdminState>) -> Result<Response, ProblemDocument> {
    match state.progress.standstill() {
        None => Ok(json("{\"healthy\":true}\n".to_owned())),
        Some(still) => {
            let detail = format!("a loop of the relay has stood still for {} s", still.as_secs());
            Err(ProblemDocument::unavailable(vec![HealthProblem::new(ProblemKind::StandsStill, detail)]))
        }
    }
}
