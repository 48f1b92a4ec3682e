//! A connection to a server. A caller sends a request, and waits until the server has answered it.
//!
//! A task owns the stream. It writes the requests, reads the answers, and sends pings at intervals, so that a dead
//! connection is noticed. If the connection ends, every caller that waits for an answer gets the reason.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Reusable, ServerStream, words};

/// If the relay has sent this many pings in a row, and the server has sent nothing at all when the next ping is due,
/// the connection ends.
const LONGEST_SILENCE: u32 = 2;

/// The channel for the answer to a request. Sending fails if the caller does not wait for the answer any more.
pub(in crate::sinks) type Reply<A> = oneshot::Sender<A>;

/// A protocol on an open connection, after the login. If a method fails, the connection ends. The error is the reason
/// in words.
pub(in crate::sinks) trait RequestProtocol: Send + 'static {
    /// A request to the server.
    type Request: Send;
    /// The server's answer to a request.
    type Answer: Send;

    /// Writes a request. `reply` gets the answer.
    fn write(&mut self, request: Self::Request, reply: Reply<Self::Answer>, out: &mut BytesMut) -> Result<(), String>;

    /// Takes the next packet from `read`. If the packet needs a reply at once, writes the reply to `out`. Returns
    /// whether there was a whole packet.
    fn read(&mut self, read: &mut BytesMut, out: &mut BytesMut) -> Result<bool, String>;

    /// Writes a ping. Most servers answer it. An AMQP broker does not, but sends pings of its own.
    fn ping(&mut self, out: &mut BytesMut) -> Result<(), String>;

    /// Writes the packet that ends the connection in good order.
    fn farewell(&mut self, out: &mut BytesMut) -> Result<(), String>;
}

/// The handle of a connection. The connection is closed when the handle is dropped.
pub(in crate::sinks) struct Conversation<D: RequestProtocol> {
    requests: mpsc::UnboundedSender<(D::Request, Reply<D::Answer>)>,
    is_given_up: AtomicBool,
    end: SharedEnd,
}

/// The reason why the connection has ended; `None` until then.
type SharedEnd = Arc<Mutex<Option<String>>>;

impl<D: RequestProtocol> Reusable for Conversation<D> {
    fn is_open(&self) -> bool {
        !self.requests.is_closed() && !self.is_given_up.load(Ordering::Relaxed)
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl<D: RequestProtocol> Conversation<D> {
    /// Starts the task of a connection. `read`: the bytes that were read from the stream and not processed yet. The
    /// task sends a ping every `interval`.
    pub(in crate::sinks) fn start(stream: ServerStream, read: BytesMut, protocol: D, interval: Duration) -> Self {
        let (requests, waiting) = mpsc::unbounded_channel();
        let end = SharedEnd::default();
        let task = ConversationTask { stream, read, protocol, waiting, interval };
        tokio::spawn(task.run(Arc::clone(&end)));
        Self { requests, is_given_up: AtomicBool::new(false), end }
    }

    /// Asks the server to do something, and waits for the answer.
    ///
    /// # Errors
    /// The reason why there will be no answer, in words.
    pub(in crate::sinks) async fn ask(&self, request: D::Request) -> Result<D::Answer, String> {
        let (reply, answered) = oneshot::channel();
        let lost = |()| {
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
            end.unwrap_or_else(|| "connection closed".to_owned())
        };
        self.requests.send((request, reply)).map_err(|_| lost(()))?;
        answered.await.map_err(|_| lost(()))
    }
}

/// The task of a connection.
struct ConversationTask<D: RequestProtocol> {
    stream: ServerStream,
    /// The bytes that were read from the stream, but that `protocol` has not taken yet.
    read: BytesMut,
    protocol: D,
    waiting: mpsc::UnboundedReceiver<(D::Request, Reply<D::Answer>)>,
    interval: Duration,
}

impl<D: RequestProtocol> ConversationTask<D> {
    async fn run(mut self, end: SharedEnd) {
        let why = self.work().await.err().unwrap_or_else(|| "connection given up".to_owned());
        *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        // When this method returns, the protocol and the queue of requests are dropped, and with them all channels for
        // answers. So each caller that waits in `ask` wakes up and returns the reason.
    }

    /// Works until the connection ends. It is no error if the relay itself ends the connection because the handle was
    /// dropped.
    async fn work(&mut self) -> Result<(), String> {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Without this, the first tick would come at once.
        tick.reset();
        let mut silent_ticks = 0;
        let mut out = BytesMut::new();
        loop {
            while self.protocol.read(&mut self.read, &mut out)? {}
            self.send(&out.split()).await?;
            tokio::select! {
                read = self.stream.read_buf(&mut self.read) => {
                    if read.map_err(|error| words(&error))? == 0 {
                        return Err("connection closed by the other side".to_owned());
                    }
                    silent_ticks = 0;
                }
                request = self.waiting.recv() => {
                    let Some((request, reply)) = request else {
                        self.protocol.farewell(&mut out)?;
                        return self.send(&out).await;
                    };
                    self.protocol.write(request, reply, &mut out)?;
                    // Further requests that are in the queue are sent with the same write.
                    while let Ok((request, reply)) = self.waiting.try_recv() {
                        self.protocol.write(request, reply, &mut out)?;
                    }
                }
                _ = tick.tick() => {
                    if silent_ticks == LONGEST_SILENCE {
                        return Err(format!("the server said nothing for {:?}", self.interval * LONGEST_SILENCE));
                    }
                    silent_ticks += 1;
                    self.protocol.ping(&mut out)?;
                }
            }
        }
    }

    async fn send(&mut self, out: &[u8]) -> Result<(), String> {
        if out.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.stream.write_all(out).await?;
            self.stream.flush().await
        };
        match timeout(self.interval, writing).await {
            Ok(sent) => sent.map_err(|error| words(&error)),
            Err(_) => Err(format!("the server took nothing within {:?}", self.interval)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A protocol for tests: the server answers each request with a line. `?` is a ping.
    #[derive(Default)]
    struct Lines(std::collections::VecDeque<Reply<String>>);

    impl RequestProtocol for Lines {
        type Request = &'static str;
        type Answer = String;

        fn write(&mut self, request: &'static str, reply: Reply<String>, out: &mut BytesMut) -> Result<(), String> {
            out.extend_from_slice(request.as_bytes());
            self.0.push_back(reply);
            Ok(())
        }

        fn read(&mut self, read: &mut BytesMut, _: &mut BytesMut) -> Result<bool, String> {
            let Some(end) = read.iter().position(|byte| *byte == b'\n') else { return Ok(false) };
            let line = String::from_utf8_lossy(&read.split_to(end + 1)).trim().to_owned();
            match (line.as_str(), self.0.pop_front()) {
                ("bad", _) => return Err("the server is confused".to_owned()),
                (_, Some(reply)) => drop(reply.send(line)),
                (_, None) => {}
            }
            Ok(true)
        }

        fn ping(&mut self, out: &mut BytesMut) -> Result<(), String> {
            out.extend_from_slice(b"?");
            Ok(())
        }

        fn farewell(&mut self, out: &mut BytesMut) -> Result<(), String> {
            out.extend_from_slice(b"bye");
            Ok(())
        }
    }

    const INTERVAL: Duration = Duration::from_secs(15);

    fn start() -> (Conversation<Lines>, DuplexStream) {
        let (ours, theirs) = duplex(1 << 10);
        (Conversation::start(Box::new(ours), BytesMut::new(), Lines::default(), INTERVAL), theirs)
    }

    async fn hear(server: &mut DuplexStream, expected: &str) {
        let mut heard = vec![0; expected.len()];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_get_their_answers_and_the_end_is_in_good_order() {
        let (conversation, mut server) = start();
        let serving = async {
            hear(&mut server, "ab").await;
            server.write_all(b"1\n2\n").await.unwrap();
        };
        let (first, second, ()) = tokio::join!(conversation.ask("a"), conversation.ask("b"), serving);
        assert_eq!((first, second), (Ok("1".to_owned()), Ok("2".to_owned())));
        assert!(conversation.is_open());
        conversation.give_up();
        assert!(!conversation.is_open());
        drop(conversation);
        hear(&mut server, "bye").await;
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_fail_at_once_when_the_connection_is_lost() {
        for (said, expected) in [("", "connection closed by the other side"), ("bad\n", "the server is confused")] {
            let (conversation, mut server) = start();
            let serving = async move {
                hear(&mut server, "a").await;
                server.write_all(said.as_bytes()).await.unwrap();
                drop(server);
            };
            let both = async { tokio::join!(conversation.ask("a"), serving) };
            let (answer, ()) = timeout(Duration::from_millis(1), both).await.unwrap();
            assert_eq!(answer, Err(expected.to_owned()));
            assert!(!conversation.is_open());
            assert_eq!(conversation.ask("b").await, Err(expected.to_owned()), "a later request gets the reason, too");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up_and_one_that_answers_pings_is_not() {
        let (conversation, mut server) = start();
        let serving = async {
            for _ in 0..10 {
                hear(&mut server, "?").await;
                server.write_all(b"!\n").await.unwrap();
            }
            hear(&mut server, "a").await;
            server.write_all(b"1\n").await.unwrap();
        };
        let asking = async {
            tokio::time::sleep(INTERVAL * 10 + INTERVAL / 2).await;
            conversation.ask("a").await
        };
        let (answer, ()) = tokio::join!(asking, serving);
        assert_eq!(answer, Ok("1".to_owned()));
        let answer = timeout(INTERVAL * 3, conversation.ask("b")).await.unwrap();
        assert_eq!(answer, Err("the server said nothing for 30s".to_owned()));
    }
}
