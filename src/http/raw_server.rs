//! A server for tests that says exactly what it is told, byte for byte: cuts, resets, hangs and endless bodies included.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens on a port of its own until it is dropped.
pub(crate) struct RawServer {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The values of all headers of that name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// One connection on which a request has been read.
pub(crate) struct Conversation {
    socket: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

impl RawServer {
    /// `serve` gets every connection as it is accepted.
    pub(crate) async fn start<Served>(serve: impl Fn(Conversation) -> Served + Send + Sync + 'static) -> Self
    where
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(Conversation { socket, seen: Arc::clone(&shared) }));
            }
        });
        Self { address, seen, accepting }
    }

    /// Answers every request with these bytes and keeps the connection.
    pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut conversation| {
            let bytes = bytes.clone();
            async move {
                while conversation.read_request().await {
                    conversation.say(&bytes).await;
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Conversation {
    /// Reads the head of a request, if the other side sends one.
    pub(crate) async fn read_head(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.socket.read_u8().await.ok()?);
        }
        Some(head)
    }

    /// Reads a whole request. Returns false where the other side sends none any more.
    pub(crate) async fn read_request(&mut self) -> bool {
        let Some(head) = self.read_head().await else { return false };
        let mut request = Request { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        let length = request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        if self.socket.read_exact(&mut request.body).await.is_err() {
            return false;
        }
        self.seen.lock().unwrap().requests.push(request);
        true
    }

    /// Writes. Returns false where nobody listens any more.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Says nothing more, and waits until the other side is tired of it.
    pub(crate) async fn hang(mut self) {
        let mut ignored = [0; 1024];
        while self.socket.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    }

    /// Ends the connection with a reset instead of a close.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }
}
