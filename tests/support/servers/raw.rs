//! A server whose bytes the test chooses exactly, including cuts, resets, hangs and endless bodies.
//!
//! The unit tests in `src/` use this file, too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// A server on a port of its own. It ends when it is dropped.
pub(crate) struct RawServer {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// The tasks that accept and serve connections. They end when the server is dropped.
    _accepting: JoinSet<()>,
    _runtime: Option<BackgroundRuntime>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How many requests arrived at the server before this one.
    pub(crate) number: usize,
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns the values of all headers with this name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// The answer to a request.
pub(crate) struct RawAnswer {
    bytes: Vec<u8>,
    closes: bool,
}

impl RawAnswer {
    /// Makes an answer of these bytes; the connection stays open.
    pub(crate) fn keep(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), closes: false }
    }

    /// Makes an answer of these bytes, after which the connection is closed.
    pub(crate) fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), closes: true }
    }

    /// Makes an answer with this status, such as `200 OK`, and a JSON body; the connection stays open.
    pub(crate) fn json(status: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        Self::keep([head.as_bytes(), body].concat())
    }
}

/// One connection to the server.
pub(crate) struct Conversation {
    socket: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

impl RawServer {
    /// Starts a server on the runtime of the test. `serve` gets each connection as it is accepted.
    pub(crate) async fn start<Served>(serve: impl Fn(Conversation) -> Served + Send + Sync + 'static) -> Self
    where
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                drop(socket.set_nodelay(true));
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(Conversation { socket, seen: Arc::clone(&shared) }));
            }
        });
        Self { address, seen, _accepting: accepting, _runtime: None }
    }

    /// Starts a server that answers every request with these bytes and keeps the connection open.
    pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut conversation| {
            let bytes = bytes.clone();
            async move {
                while conversation.read_request().await.is_some() {
                    conversation.say(&bytes).await;
                }
            }
        })
        .await
    }

    /// Starts a server for a test that is not asynchronous. `serve` gets each connection as it is accepted.
    pub(crate) fn in_background<Served>(serve: impl Fn(Conversation) -> Served + Send + Sync + 'static) -> Self
    where
        Served: Future<Output = ()> + Send + 'static,
    {
        let runtime = BackgroundRuntime::new();
        let server = runtime.block_on(Self::start(serve));
        Self { _runtime: Some(runtime), ..server }
    }

    /// Starts a server for a test that is not asynchronous. `answer` returns the answer to each request.
    pub(crate) fn answering_each(answer: impl Fn(&Request) -> RawAnswer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::in_background(move |mut conversation| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = conversation.read_request().await {
                    let RawAnswer { bytes, closes } = answer(&request);
                    if !conversation.say(&bytes).await || closes {
                        return;
                    }
                }
            }
        })
    }

    /// Returns the address at which the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path. The path begins with `/`.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// Returns how many connections the server has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }
}

impl Conversation {
    /// Reads the head of a request; `None` if the other side sends none.
    pub(crate) async fn read_head(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.socket.read_u8().await.ok()?);
        }
        Some(head)
    }

    /// Reads a whole request; `None` if the other side sends none.
    pub(crate) async fn read_request(&mut self) -> Option<Request> {
        let head = String::from_utf8(self.read_head().await?).unwrap();
        let mut request = Request { number: 0, head, body: Vec::new() };
        let length = request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        self.socket.read_exact(&mut request.body).await.ok()?;
        let requests = &mut self.seen.lock().unwrap().requests;
        request.number = requests.len();
        requests.push(request.clone());
        Some(request)
    }

    /// Writes bytes. Returns false if the other side has closed the connection.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Sends nothing more, and waits until the other side closes the connection.
    pub(crate) async fn hang(mut self) {
        let mut ignored = [0; 1024];
        while self.socket.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    }

    /// Closes the sending side, and keeps the connection until this value is dropped.
    pub(crate) async fn finish(&mut self) {
        drop(self.socket.shutdown().await);
    }

    /// Ends the connection with a reset instead of a close.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }
}

/// A runtime with a thread of its own, for servers in tests that are not asynchronous. The tasks on the runtime end
/// when it is dropped.
pub(crate) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().unwrap()))
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.as_ref().unwrap().block_on(future)
    }

    /// Runs a future beside the test.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.as_ref().unwrap().spawn(future);
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
