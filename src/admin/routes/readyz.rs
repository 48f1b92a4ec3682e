//! `/readyz`: whether the relay does its work. If it does, the answer is 200. If not, the answer is 503, and `reasons`
//! has one entry for each reason. For example, polling fails, the relay has paused a sink by itself, a loop stands
//! still, or the relay is stopping. A relay that stands by does not poll, but counts as ready; the answer says that it
//! stands by.

use axum::extract::State;
use axum::response::Response;

use super::super::problem_document::ProblemDocument;
use super::super::state::AdminState;
use super::json;
use crate::status::{HealthProblem, ProblemKind, readiness_problems, stands_by};

pub(in crate::admin) async fn answer(State(state): State<AdminState>) -> Result<Response, ProblemDocument> {
    let (mut reasons, stands_by) = match state.status.read().await {
        Ok(reading) => (readiness_problems(&reading.status), stands_by(&reading.status)),
        Err(error) => (vec![HealthProblem::new(ProblemKind::Unreadable, error.to_string())], false),
    };
    if state.progress.is_stopping() {
        reasons.insert(0, HealthProblem::new(ProblemKind::Stopping, "the relay is stopping"));
    }
    if reasons.is_empty() && stands_by {
        return Ok(json("{\"ready\":true,\"stands_by\":true,\"reasons\":[]}\n".to_owned()));
    }
    if reasons.is_empty() {
        return Ok(json("{\"ready\":true,\"reasons\":[]}\n".to_owned()));
    }
    Err(ProblemDocument::unavailable(reasons))
}
