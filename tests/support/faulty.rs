//! A receiver that fails in every way, one after the other, and takes every fourth message; until it is well again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// In how many ways it fails.
const WAYS: usize = 14;

/// See the module. It ends when it is dropped.
pub(crate) struct FaultyReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    requests: AtomicUsize,
    faults: AtomicUsize,
    is_well: AtomicBool,
    /// How often each `webhook-id` was taken.
    taken: Mutex<HashMap<String, usize>>,
}

impl FaultyReceiver {
    /// On loopback.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                tokio::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it failed.
    pub(crate) fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// From now on it takes everything.
    pub(crate) fn recover(&self) {
        self.shared.is_well.store(true, Ordering::Relaxed);
    }

    /// How often each message was taken.
    pub(crate) fn taken(&self) -> HashMap<String, usize> {
        self.shared.taken.lock().unwrap().clone()
    }
}

impl Drop for FaultyReceiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(id) = read_request(&mut stream).await {
        let place = shared.requests.fetch_add(1, Ordering::Relaxed);
        if shared.is_well.load(Ordering::Relaxed) || place % 4 == 3 {
            *shared.taken.lock().unwrap().entry(id).or_default() += 1;
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
            continue;
        }
        shared.faults.fetch_add(1, Ordering::Relaxed);
        if !fail(&mut stream, (place - place / 4) % WAYS).await {
            return;
        }
    }
}

/// Reads one request; its `webhook-id`.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let mut body = vec![0; header("content-length: ")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    header("webhook-id: ")
}

/// Fails; returns whether the connection can go on.
async fn fail(stream: &mut TcpStream, way: usize) -> bool {
    let cut = match way {
        0 => {
            drop(stream.set_zero_linger());
            return false;
        }
        1 => String::new(),
        2 => "HTTP/1.1 500 Inter".to_owned(),
        3 => "HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\n012".to_owned(),
        4 => "\u{7f}\u{1}\u{2} not http at all\r\n\r\n".to_owned(),
        5 | 6 => {
            let status = if way == 5 { "500 No" } else { "503 No\r\nretry-after: 0" };
            return stream
                .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await
                .is_ok();
        }
        7 => format!("HTTP/1.1 500 No\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1 << 20)),
        8 => "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(200),
        9 => {
            // Silence, until the other side has enough.
            drop(stream.read_u8().await);
            return false;
        }
        10 => "HTTP/1.1 502 No\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n".to_owned(),
        11 => {
            let mut drip = "HTTP/1.1 500 No\r\nx: ".to_owned();
            while stream.write_all(drip.as_bytes()).await.is_ok() {
                drip = "y".to_owned();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return false;
        }
        12 => {
            // A body without an end.
            drop(stream.write_all(b"HTTP/1.1 404 No\r\nconnection: close\r\n\r\n").await);
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
            return false;
        }
        _ => "HTTP/1.1 500 No\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc".to_owned(),
    };
    drop(stream.write_all(cut.as_bytes()).await);
    drop(stream.shutdown().await);
    false
}
