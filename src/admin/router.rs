//! All paths of the endpoint, and the checks that every request passes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::time::timeout;

use super::guard::{self, RequestRefusal};
use super::problem_document::ProblemDocument;
use super::routes::{healthz, metrics, readyz, status, wait};
use super::settings::Options;
use super::state::{AdminState, ArrivedAt};

/// The most bytes of a request's body.
const LARGEST_BODY: usize = 64 * 1024;

/// The longest time until an answer begins, for paths that answer at once.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The paths for everybody.
fn open_routes() -> Router<AdminState> {
    Router::new()
        .route("/healthz", get(healthz::answer))
        .route("/readyz", get(readyz::answer))
        .route("/metrics", get(metrics::answer))
}

/// The paths that need the token.
fn routes_with_token() -> Router<AdminState> {
    Router::new().route("/api/v1/status", get(status::answer))
}

/// The paths that need the token and answer later, with a limit of their own.
fn long_polls_with_token() -> Router<AdminState> {
    Router::new().route("/api/v1/wait", get(wait::answer))
}

/// Puts the paths and the checks together.
pub(super) fn router(options: &Options, state: AdminState) -> Router {
    let options = Arc::new(options.clone());
    let protected =
        |routes: Router<AdminState>| routes.route_layer(from_fn_with_state(Arc::clone(&options), check_token));
    let has_token = options.token.is_some();
    let mut routes = open_routes();
    if has_token {
        routes = routes.merge(protected(routes_with_token()));
    }
    // Paths that answer later (long polls, streams of events) are merged below this line, each with a limit of its own.
    routes = routes.route_layer(from_fn(limit_time));
    if has_token {
        routes = routes.merge(protected(long_polls_with_token()));
    }
    routes
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(state)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(check_size))
        .layer(from_fn_with_state(options, check_host))
        .layer(from_fn(add_headers))
}

async fn no_such_path() -> ProblemDocument {
    ProblemDocument::new(StatusCode::NOT_FOUND, "there is nothing at this path")
}

async fn no_such_method() -> ProblemDocument {
    ProblemDocument::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}

/// Refuses requests without the token.
async fn check_token(State(options): State<Arc<Options>>, request: Request, next: Next) -> Response {
    match &options.token {
        Some(token) if guard::shows_token(request.headers(), token) => next.run(request).await,
        _ => {
            let detail = "this path needs the token of the configuration: Authorization: Bearer TOKEN";
            ProblemDocument::new(StatusCode::UNAUTHORIZED, detail)
                .with_header(WWW_AUTHENTICATE, "Bearer")
                .into_response()
        }
    }
}

/// Refuses requests for other hosts, and requests that pages of other hosts make to change something.
async fn check_host(State(options): State<Arc<Options>>, request: Request, next: Next) -> Response {
    let own_address = request.extensions().get::<ArrivedAt>().map_or(options.listen.ip(), |arrived| arrived.0);
    let admitted = guard::admit(request.method(), request.uri(), request.headers(), own_address, &options.hosts);
    let (status, detail) = match admitted {
        Ok(()) => return next.run(request).await,
        Err(RequestRefusal::NoHost) => (StatusCode::BAD_REQUEST, "the request must name one host in its Host header"),
        Err(RequestRefusal::OtherHost) => (
            StatusCode::MISDIRECTED_REQUEST,
            "the relay is not known by the name in the Host header; if it should be, add the name to admin.hosts",
        ),
        Err(RequestRefusal::OtherOrigin) => {
            (StatusCode::FORBIDDEN, "a page of another host (Origin) cannot change anything here")
        }
    };
    ProblemDocument::new(status, detail).into_response()
}

/// Refuses requests that announce a body that is too large.
async fn check_size(headers: HeaderMap, request: Request, next: Next) -> Response {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST_BODY) {
        let detail = format!("a request has at most {LARGEST_BODY} bytes");
        return ProblemDocument::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    next.run(request).await
}

/// Gives up answers that do not come in time, for example because the disk hangs.
async fn limit_time(request: Request, next: Next) -> Response {
    let Ok(answer) = timeout(ANSWER_TIME, next.run(request)).await else {
        let detail = format!("there was no answer within {} s; is the disk stuck?", ANSWER_TIME.as_secs());
        return ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    answer
}

/// Adds the headers that every answer has: nothing is cached, and nothing is taken for another media type.
async fn add_headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
