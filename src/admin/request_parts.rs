//! Extractors for parts of a request. Their errors are JSON, like all other errors of the endpoint.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::problem_document::ProblemDocument;

/// The most bytes of a request's body.
pub(super) const LARGEST_BODY: usize = 64 * 1024;

/// The error for a body that is too large.
pub(super) fn too_large() -> ProblemDocument {
    ProblemDocument::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {LARGEST_BODY} bytes"))
}

/// The whole body of a request.
pub(super) struct WholeBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for WholeBody {
    type Rejection = ProblemDocument;

    async fn from_request(request: Request, state: &S) -> Result<Self, ProblemDocument> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => ProblemDocument::new(StatusCode::BAD_REQUEST, "the body of the request broke off"),
        })
    }
}

/// The name in a path, for example the name of a sink.
pub(super) struct NameInPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for NameInPath {
    type Rejection = ProblemDocument;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemDocument> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let not_text = |_| ProblemDocument::new(StatusCode::BAD_REQUEST, "the name in the path is not UTF-8");
        name.map(|Path(name)| Self(name)).map_err(not_text)
    }
}
