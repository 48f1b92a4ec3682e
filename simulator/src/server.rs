//! The HTTP server on loopback: accepts connections, reads requests, and sends the answers that were decided.
//!
//! Invariants: nothing listens beyond 127.0.0.1. All tasks end with the task that accepts connections, so aborting that
//! task ends everything. The lock of the state is never held across a wait.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::account::shared::Shared;
use crate::api::exchange::{Conduct, Reply, decide};
use crate::control::handle::Handle;
use crate::control::routes;
use crate::faults::wire::{Planner, Wire};
use crate::http::body::ReplyBody;
use crate::http::request::Request;
use crate::page;

/// The longest body of a request, in bytes: enough for a few hundred thousand messages to the control API.
const LONGEST_REQUEST: usize = 256 << 20;

pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// The port. The port is kept during an outage too, so that no other program can take it and answer instead.
enum Door {
    Open(TcpListener),
    /// The port is bound but not listening: connections are refused.
    Shut(TcpSocket),
    /// The port was lost while it changed between open and shut.
    Lost,
}

impl Door {
    fn shut(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        });
        socket.map_or(Self::Lost, Self::Shut)
    }

    fn open(self, address: SocketAddr) -> Self {
        let listener = match self {
            Self::Open(listener) => return Self::Open(listener),
            Self::Shut(socket) => socket.listen(1024).ok(),
            Self::Lost => match Self::shut(address) {
                Self::Shut(socket) => socket.listen(1024).ok(),
                _ => None,
            },
        };
        listener.map_or(Self::Lost, Self::Open)
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Shut(_) | Self::Lost => std::future::pending().await,
        }
    }
}

/// Serves until the future is dropped. During an outage connections are refused, and open connections are closed.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut door = Door::Open(listener);
    let mut connections = JoinSet::new();
    let mut outage = shared.outage();
    loop {
        let (down, until) = outage.borrow_and_update().at(shared.timer.now().elapsed);
        door = match door {
            Door::Open(listener) if down => {
                drop(listener);
                connections.shutdown().await;
                Door::shut(address)
            }
            Door::Lost if down => Door::shut(address),
            door if down => door,
            door => door.open(address),
        };
        let lost = matches!(door, Door::Lost);
        tokio::select! {
            changed = outage.changed() => if changed.is_err() { return },
            () = shared.timer.sleep_until(until) => {}
            () = tokio::time::sleep(RETRY), if lost => {}
            accepted = door.accept() => if let Ok(stream) = accepted {
                connections.spawn(converse(stream, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The pause between two attempts to get a lost port back.
const RETRY: Duration = Duration::from_millis(20);

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers must not wait for each other. If this option cannot be set, answers are only slower.
    drop(stream.set_nodelay(true));
    let planner = Planner::default();
    let wire = Wire::new(stream, planner.clone());
    let service = service_fn(|request| {
        let (shared, planner) = (Arc::clone(&shared), planner.clone());
        async move { Ok::<_, Infallible>(respond(&shared, &planner, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.auto_date_header(false).max_buf_size(1 << 20);
    // Many tests are about connections that end in an error. Nobody needs a report of the error.
    drop(http.serve_connection(TokioIo::new(wire), service).await);
}

async fn respond(
    shared: &Arc<Shared>,
    planner: &Planner,
    request: hyper::Request<Incoming>,
) -> hyper::Response<ReplyBody> {
    planner.set(None);
    let (head, body) = request.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let body = match Limited::new(body, LONGEST_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return plain(413, "the request's body is too long or was cut off"),
    };
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorization: text(AUTHORIZATION),
        cookie: text(COOKIE),
        idempotency_key: text(HeaderName::from_static("x-idempotency-key")),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
        body,
    };
    if let Some(reply) = page::reply(&Handle::new(Arc::clone(shared)), &request) {
        return write(reply);
    }
    if let Some(route) = routes::route(&request.path) {
        let answer = routes::answer(&Handle::new(Arc::clone(shared)), &request, route);
        return write(Reply::plain(answer));
    }
    let outcome = shared.with(|state, now| decide(state, now, &request));
    shared.timer.sleep_until(outcome.begins).await;
    match outcome.conduct {
        Conduct::Answer => {}
        Conduct::Spoil(plan) => planner.set(Some(plan)),
        Conduct::Hang => std::future::pending().await,
    }
    write(outcome.reply)
}

fn write(reply: Reply) -> hyper::Response<ReplyBody> {
    let mut response = hyper::Response::new(reply.body);
    *response.status_mut() = status(reply.status);
    for (name, value) in &reply.headers {
        // A script may ask for a header that HTTP cannot carry; such a header is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn plain(code: u16, text: impl Into<bytes::Bytes>) -> hyper::Response<ReplyBody> {
    let mut response = hyper::Response::new(ReplyBody::text(text));
    *response.status_mut() = status(code);
    response
}

/// Returns the status of an answer. A script may ask for a status that HTTP does not have, or for an informational one;
/// these become 500.
fn status(code: u16) -> StatusCode {
    let status = StatusCode::from_u16(code).ok().filter(|status| !status.is_informational());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
