//! An HTTP receiver on loopback that remembers the requests, and gives the answers that the test chooses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::raw::BackgroundRuntime;
use crate::support::relay::Relay;
use crate::support::waiting::wait_until;

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// When the body of the request was complete.
    pub(crate) at: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The status with which the request was answered.
    pub(crate) status: u16,
}

impl Received {
    /// Returns the `webhook-id` of the request.
    pub(crate) fn webhook_id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    /// Returns the `id` of the message in the body.
    pub(crate) fn message_id(&self) -> String {
        let message: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        message["id"].as_str().unwrap().to_owned()
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// How long after the request the answer is sent.
    pub(crate) delay: Duration,
}

impl Reply {
    /// Makes an answer without headers and body, which is sent at once.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO }
    }

    /// Makes an answer that is never sent.
    pub(crate) fn never() -> Self {
        Self { delay: Duration::from_secs(3600), ..Self::status(200) }
    }

    /// Adds a header to the answer.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Chooses the answer to a request, by the number of the request (from 0) and its headers.
type Answer = dyn Fn(usize, &HeaderMap) -> Reply + Send + Sync;

/// A receiver. It ends when its last clone is dropped, or with the runtime on which it was started.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Option<Arc<BackgroundRuntime>>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Arc<Answer>>,
    keeps: bool,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
}

/// A connection that is open.
struct Connected(Arc<Shared>);

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.send_modify(|count| *count -= 1);
    }
}

impl Receiver {
    /// Starts a receiver that answers 200 at once.
    pub(crate) async fn start() -> Self {
        Self::with(true).await
    }

    /// Starts a receiver that only counts requests, for measurements with many messages.
    pub(crate) async fn counting() -> Self {
        Self::with(false).await
    }

    /// Starts a receiver that answers 200 at once, for tests that are not asynchronous.
    pub(crate) fn in_background() -> Self {
        Self::in_background_on("127.0.0.1:0".parse().unwrap())
    }

    /// Starts a receiver at this address, for tests that are not asynchronous.
    pub(crate) fn in_background_on(address: SocketAddr) -> Self {
        let runtime = BackgroundRuntime::new();
        let receiver = runtime.block_on(Self::on(address, true));
        Self { _runtime: Some(Arc::new(runtime)), ..receiver }
    }

    async fn with(keeps: bool) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), keeps).await
    }

    async fn on(address: SocketAddr, keeps: bool) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answer: Mutex::new(Arc::new(|_, _| Reply::status(200))),
            keeps,
            count: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let state = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                let connected = Connected::new(&state);
                let state = Arc::clone(&state);
                let service = service_fn(move |request| take(Arc::clone(&state), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // A client may go away in the middle of a request, which is no error of the test.
                    drop(connection.await);
                    drop(connected);
                });
            }
        });
        Self { address, shared, _runtime: None }
    }

    /// Returns the URL of the receiver.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Returns the address of the receiver, without the path.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the receiver answer with the status and after the delay that `answer` returns, from now on.
    pub(crate) fn answer(&self, answer: impl Fn(usize) -> (u16, Duration) + Send + Sync + 'static) {
        self.reply(move |place| {
            let (status, delay) = answer(place);
            Reply { delay, ..Reply::status(status) }
        });
    }

    /// Makes the receiver answer with this status, from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.reply(move |_| Reply::status(status));
    }

    /// Makes the receiver give the answers that `answer` returns, from now on.
    pub(crate) fn reply(&self, answer: impl Fn(usize) -> Reply + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Arc::new(move |place, _: &HeaderMap| answer(place));
    }

    /// Makes the answer to a request depend on its `webhook-id`, from now on.
    pub(crate) fn reply_to(&self, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        let by_id = move |_, headers: &HeaderMap| answer(headers["webhook-id"].to_str().unwrap());
        *self.shared.answer.lock().unwrap() = Arc::new(by_id);
    }

    /// Waits until no connection is open, so that every request has been handled; for tests that are not asynchronous.
    pub(crate) fn wait_for_silence(&self) {
        let open = || *self.shared.connections.borrow();
        wait_until("the end of all connections", || open() == 0, || format!("{} are open", open()));
    }

    /// Returns the requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns how many requests there were.
    pub(crate) fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Waits until this many requests have arrived in all; for tests that are not asynchronous.
    pub(crate) fn wait(&self, count: usize, relay: &Relay) {
        wait_until(&format!("request {count} at the receiver"), || self.count() >= count, || relay.log());
    }

    /// Returns the `webhook-id` of every request so far.
    pub(crate) fn webhook_ids(&self) -> Vec<String> {
        self.received().iter().map(|request| request.webhook_id().to_owned()).collect()
    }

    /// Waits until this many requests have arrived in all.
    pub(crate) async fn wait_for(&self, count: usize, limit: Duration) {
        let mut counts = self.shared.count.subscribe();
        let arrived = tokio::time::timeout(limit, counts.wait_for(|seen| *seen >= count)).await;
        assert!(arrived.is_ok(), "{} of {count} requests within {limit:?}", self.count());
    }
}

async fn take(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = request.headers().clone();
    let Ok(body) = request.into_body().collect().await.map(http_body_util::Collected::to_bytes) else {
        // The sender died in the middle of the request, so nobody receives this answer.
        return Ok(Response::new(Full::default()));
    };
    let answer = Arc::clone(&shared.answer.lock().unwrap());
    let place = *shared.count.borrow();
    let Reply { status, headers: told, body: content, delay } = answer(place, &headers);
    if shared.keeps {
        #[expect(clippy::disallowed_methods, reason = "a measurement, not a decision")]
        let at = Instant::now();
        shared.received.lock().unwrap().push(Received { at, headers, body, status });
    }
    shared.count.send_modify(|count| *count += 1);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::builder().status(status);
    for (name, value) in told {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(content)).unwrap())
}
