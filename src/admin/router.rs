//! All paths of the endpoint, and the checks that every request passes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use super::guard::{self, RequestRefusal};
use super::problem_document::ProblemDocument;
use super::request_parts::{LARGEST_BODY, too_large};
use super::routes::{
    assets, dead_letters, events, healthz, login, messages, metrics, openapi, page, readyz, replay, see_other, sinks,
    status, wait, wants_page,
};
use super::session;
use super::settings::Options;
use super::state::{ArrivedAt, Endpoint};

/// The longest time until an answer begins, for paths that answer at once.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The longest time until the answer to an action begins. An action may concern every stored message.
const ACTION_TIME: Duration = Duration::from_secs(60);

/// A page of the endpoint may load only files of the endpoint, and pages of other hosts may not show it in a frame.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                              img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers that every answer has.
const HEADERS: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    // With "no-referrer" a browser would send forms of the page with `Origin: null`, and they would be refused.
    (REFERRER_POLICY, "same-origin"),
];

/// The paths that need no token.
fn open_routes(base: &str) -> Router<Endpoint> {
    Router::new()
        .route(&format!("{base}/healthz"), get(healthz::answer))
        .route(&format!("{base}/readyz"), get(readyz::answer))
        .route(&format!("{base}/metrics"), get(metrics::answer))
}

/// The paths for logging in. Everybody may use them, but they exist only if a token is configured.
fn login_routes(base: &str) -> Router<Endpoint> {
    Router::new()
        .route(&format!("{base}/login"), get(login::show).post(login::begin))
        .route(&format!("{base}/logout"), post(login::end))
        .route(&format!("{base}/assets/page.css"), get(assets::styles))
        .route(&format!("{base}/assets/page.js"), get(assets::script))
        .route(&format!("{base}/assets/icon.svg"), get(assets::icon))
}

/// The paths that need the token and answer at once.
fn routes_with_token(base: &str) -> Router<Endpoint> {
    Router::new()
        .route(&format!("{base}/"), get(page::answer))
        .route(&format!("{base}/api/v1/status"), get(status::answer))
        .route(&format!("{base}/api/v1/messages"), get(messages::answer))
        .route(&format!("{base}/api/v1/openapi.json"), get(openapi::answer))
}

/// The paths that need the token and change something.
fn actions(base: &str) -> Router<Endpoint> {
    Router::new()
        .route(&format!("{base}/api/v1/sinks/{{name}}/pause"), post(sinks::pause))
        .route(&format!("{base}/api/v1/sinks/{{name}}/resume"), post(sinks::resume))
        .route(&format!("{base}/api/v1/sinks/{{name}}/test"), post(sinks::test))
        .route(&format!("{base}/api/v1/dead-letters/retry"), post(dead_letters::retry))
        .route(&format!("{base}/api/v1/dead-letters/drop"), post(dead_letters::give_up))
        .route(&format!("{base}/api/v1/replay"), post(replay::answer))
}

/// The paths that need the token and do not answer at once. A request to `wait` has a time limit of its own; a stream
/// of events has none.
fn late_routes(base: &str) -> Router<Endpoint> {
    Router::new()
        .route(&format!("{base}/api/v1/events"), get(events::answer))
        .route(&format!("{base}/api/v1/wait"), get(wait::answer))
}

/// Makes the router: all paths, with the checks.
pub(super) fn router(endpoint: &Endpoint) -> Router {
    let options = &endpoint.options;
    let mut routes = paths("", endpoint);
    if !options.base_path.is_empty() {
        routes = routes.merge(paths(&options.base_path, endpoint));
    }
    routes
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(endpoint.clone())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(check_size))
        .layer(from_fn_with_state(Arc::clone(options), check_host))
        .layer(from_fn(add_headers))
}

/// Returns all paths, each with `base` before it.
fn paths(base: &str, endpoint: &Endpoint) -> Router<Endpoint> {
    let mut routes = open_routes(base);
    if endpoint.options.token.is_none() {
        return routes.route_layer(from_fn(limit_time));
    }
    let mut protected = routes_with_token(base).route_layer(from_fn(limit_time));
    protected = protected.merge(actions(base).route_layer(from_fn(limit_action_time)));
    protected = protected.merge(late_routes(base));
    routes = routes.merge(login_routes(base)).route_layer(from_fn(limit_time));
    routes.merge(protected.route_layer(from_fn_with_state(endpoint.clone(), check_token)))
}

async fn no_such_path() -> ProblemDocument {
    ProblemDocument::new(StatusCode::NOT_FOUND, "there is nothing at this path")
}

async fn no_such_method() -> ProblemDocument {
    ProblemDocument::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}

/// Refuses requests that have neither the token nor a session. Refuses changes that have only a session and do not come
/// from a page of the endpoint. Refuses all changes if `admin.read_only` is set.
async fn check_token(State(endpoint): State<Endpoint>, request: Request, next: Next) -> Response {
    let (headers, options) = (request.headers(), &endpoint.options);
    let Some(token) = &options.token else { return no_such_path().await.into_response() };
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !guard::shows_token(headers, token) {
        let now = endpoint.state.access.clock().relay_time();
        let mut cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        if !cookies
            .any(|cookies| session::in_cookies(cookies).is_some_and(|value| session::is_valid(value, token, now)))
        {
            return unauthorized(&request, options);
        }
        if !only_reads && !guard::comes_from_own_page(headers) {
            let detail = "a change with the cookie of the page must come from the page itself (Origin)";
            return ProblemDocument::new(StatusCode::FORBIDDEN, detail).into_response();
        }
    }
    if options.read_only && !only_reads {
        let detail = "nothing can be changed here: admin.read_only is set in the configuration";
        return ProblemDocument::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    next.run(request).await
}

/// Leads a browser to the login, and refuses other clients.
fn unauthorized(request: &Request, options: &Options) -> Response {
    if wants_page(request.headers()) {
        return see_other(&format!("{}/login", options.base_path));
    }
    let detail = "this path needs the token of the configuration: Authorization: Bearer TOKEN";
    ProblemDocument::new(StatusCode::UNAUTHORIZED, detail).with_header(WWW_AUTHENTICATE, "Bearer").into_response()
}

/// Refuses requests for other hosts, and changes that pages of other hosts ask for.
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
        return too_large().into_response();
    }
    next.run(request).await
}

async fn limit_time(request: Request, next: Next) -> Response {
    answer_within(ANSWER_TIME, request, next).await
}

async fn limit_action_time(request: Request, next: Next) -> Response {
    answer_within(ACTION_TIME, request, next).await
}

/// Gives up an answer that does not come in time, for example because the disk hangs.
async fn answer_within(limit: Duration, request: Request, next: Next) -> Response {
    let Ok(answer) = timeout(limit, next.run(request)).await else {
        let detail = format!("there was no answer within {} s; is the disk stuck?", limit.as_secs());
        return ProblemDocument::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    answer
}

/// Adds the headers that every answer has. Only the files of the page may be cached.
async fn add_headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
