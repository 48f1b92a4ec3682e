//! A receiver that fails in every way, one after the other, and accepts every fourth message, until the test lets it
//! recover.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::raw::{Conversation, RawServer};

/// The number of ways in which the receiver fails.
const WAYS: usize = 14;

/// A receiver that fails in one way after the other. It ends when it is dropped.
pub(crate) struct FaultyReceiver {
    server: RawServer,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    faults: AtomicUsize,
    is_well: AtomicBool,
    /// How often each `webhook-id` was accepted.
    taken: Mutex<HashMap<String, usize>>,
}

impl FaultyReceiver {
    /// Starts a receiver on loopback.
    pub(crate) fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        let server = RawServer::in_background(move |conversation| serve(conversation, Arc::clone(&state)));
        Self { server, shared }
    }

    /// Returns the address at which the receiver listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns how often the receiver failed.
    pub(crate) fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// Makes the receiver accept every message from now on.
    pub(crate) fn recover(&self) {
        self.shared.is_well.store(true, Ordering::Relaxed);
    }

    /// Returns how often each message was accepted.
    pub(crate) fn taken(&self) -> HashMap<String, usize> {
        self.shared.taken.lock().unwrap().clone()
    }
}

async fn serve(mut conversation: Conversation, shared: Arc<Shared>) {
    while let Some(request) = conversation.read_request().await {
        if !shared.is_well.load(Ordering::Relaxed) && request.number % 4 != 3 {
            shared.faults.fetch_add(1, Ordering::Relaxed);
            match fail(conversation, (request.number - request.number / 4) % WAYS).await {
                Some(goes_on) => conversation = goes_on,
                None => return,
            }
            continue;
        }
        let id = request.header("webhook-id")[0].to_owned();
        *shared.taken.lock().unwrap().entry(id).or_default() += 1;
        if !conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await {
            return;
        }
    }
}

/// Fails in one way. Returns the connection if it can be used further.
async fn fail(mut conversation: Conversation, way: usize) -> Option<Conversation> {
    let last_words = match way {
        0 => {
            conversation.reset();
            return None;
        }
        1 => String::new(),
        2 => "HTTP/1.1 500 Inter".to_owned(),
        3 => "HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\n012".to_owned(),
        4 => "\u{7f}\u{1}\u{2} not http at all\r\n\r\n".to_owned(),
        5 | 6 => {
            let status = if way == 5 { "500 No" } else { "503 No\r\nretry-after: 0" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            return conversation.say(answer.as_bytes()).await.then_some(conversation);
        }
        7 => format!("HTTP/1.1 500 No\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1 << 20)),
        8 => "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(200),
        9 => {
            conversation.hang().await;
            return None;
        }
        10 => "HTTP/1.1 502 No\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n".to_owned(),
        11 => {
            let mut drip = "HTTP/1.1 500 No\r\nx: ".to_owned();
            while conversation.say(drip.as_bytes()).await {
                drip = "y".to_owned();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return None;
        }
        12 => {
            // The body has no end.
            conversation.say(b"HTTP/1.1 404 No\r\nconnection: close\r\n\r\n").await;
            while conversation.say(&[b'x'; 65_536]).await {}
            return None;
        }
        _ => "HTTP/1.1 500 No\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc".to_owned(),
    };
    conversation.say(last_words.as_bytes()).await;
    conversation.finish().await;
    None
}
