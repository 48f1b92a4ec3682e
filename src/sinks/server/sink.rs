//! A sink whose attempts share one kept connection to a server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{KeptConnection, Reusable, failed};
use crate::sinks::{Attempt, Attempting, Outgoing, Sink};

/// The client for one type of server. It connects, converts messages into the form in which they are sent, and sends
/// them.
pub(in crate::sinks) trait ServerClient: Send + Sync + 'static {
    /// A connection after the login.
    type Connection: Reusable + 'static;
    /// A message in the form in which it is sent.
    type Message: Send;

    /// The word for the server's answer to a message that it has accepted, such as `acknowledgement`.
    const ANSWER: &'static str;

    /// Returns the longest time for one attempt.
    fn patience(&self) -> Duration;

    /// Converts a message into the form in which it is sent.
    ///
    /// # Errors
    /// The reason why this message can never be sent, in words.
    fn message(&self, outgoing: Outgoing) -> Result<Self::Message, String>;

    /// Connects and logs in.
    ///
    /// # Errors
    /// The failed attempt.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Attempt>> + Send;

    /// Sends a message, and waits for the answer.
    fn send(&self, message: Self::Message, connection: &Self::Connection) -> impl Future<Output = Attempt> + Send;

    /// Returns the result of an attempt that got no answer because the server has said that it accepts no messages at
    /// the moment; `None` if the server has not said this. The server may have got the message before it said so.
    fn refusal(&self, _: &Self::Connection) -> Option<Attempt> {
        None
    }

    /// Returns the result of an attempt whose message was not answered in time. Gives the connection up, because it may
    /// be dead, so that the next attempt makes another one. A connection is kept if the server has said over it that it
    /// accepts no messages at the moment ([`ServerClient::refusal`]).
    fn unanswered(&self, connection: &Self::Connection) -> Attempt {
        self.refusal(connection).unwrap_or_else(|| {
            connection.give_up();
            failed(format!("no {} within {:?}", Self::ANSWER, self.patience()))
        })
    }
}

/// A sink that sends its messages with a [`ServerClient`].
pub(in crate::sinks) struct ServerSink<C: ServerClient>(Arc<SharedClient<C>>);

/// The client and the connection, which the attempts of a sink share.
struct SharedClient<C: ServerClient> {
    client: C,
    connection: KeptConnection<C::Connection>,
}

impl<C: ServerClient> ServerSink<C> {
    /// Makes the sink. Nothing is connected yet.
    pub(in crate::sinks) fn new(client: C) -> Self {
        Self(Arc::new(SharedClient { client, connection: KeptConnection::new() }))
    }
}

impl<C: ServerClient> Sink for ServerSink<C> {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let patience = shared.client.patience();
            let mut used = None;
            match (timeout(patience, shared.attempt(outgoing, &mut used)).await, used) {
                (Ok(Ok(attempt) | Err(attempt)), _) => attempt,
                (Err(_), None) => failed(format!("no connection within {patience:?}")),
                (Err(_), Some(connection)) => shared.client.unanswered(&connection),
            }
        })
    }
}

impl<C: ServerClient> SharedClient<C> {
    /// Sends a message. Writes the connection that it uses to `used`.
    async fn attempt(&self, outgoing: Outgoing, used: &mut Option<Arc<C::Connection>>) -> Result<Attempt, Attempt> {
        let message = self.client.message(outgoing).map_err(|answer| Attempt::Rejected { status: None, answer })?;
        let connection = used.insert(self.connection.get(self.client.connect()).await?);
        Ok(self.client.send(message, connection).await)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct FakeConnection(AtomicBool);

    impl Reusable for FakeConnection {
        fn is_open(&self) -> bool {
            !self.0.load(Ordering::Relaxed)
        }

        fn give_up(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// The form in which a message is sent is its id. The id `silent` gets no answer, and `unsendable` cannot be sent.
    /// The field counts the tries to connect. The first try never ends.
    #[derive(Default)]
    struct FakeClient(AtomicUsize);

    impl ServerClient for FakeClient {
        type Connection = FakeConnection;
        type Message = String;

        const ANSWER: &'static str = "nod";

        fn patience(&self) -> Duration {
            Duration::from_secs(20)
        }

        fn message(&self, outgoing: Outgoing) -> Result<String, String> {
            if outgoing.id == "unsendable" { Err("it is too long".to_owned()) } else { Ok(outgoing.id) }
        }

        async fn connect(&self) -> Result<FakeConnection, Attempt> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 { pending().await } else { Ok(FakeConnection::default()) }
        }

        async fn send(&self, message: String, _: &FakeConnection) -> Attempt {
            if message == "silent" { pending().await } else { Attempt::Accepted { status: None } }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_in_time_and_a_silent_connection_is_not_used_again() {
        let sink = ServerSink::new(FakeClient::default());
        let attempt = |id: &str| {
            let outgoing =
                Outgoing { id: id.into(), content_type: "x/y".into(), body: Vec::new(), message: "{}".into() };
            sink.begin(outgoing)
        };
        let connects = || sink.0.client.0.load(Ordering::Relaxed);
        let rejected = Attempt::Rejected { status: None, answer: "it is too long".to_owned() };
        assert_eq!((attempt("unsendable").await, connects()), (rejected, 0), "no connection is made for it");
        assert_eq!(attempt("m1").await, failed("no connection within 20s"));
        for _ in 0..2 {
            assert_eq!((attempt("m1").await, connects()), (Attempt::Accepted { status: None }, 2));
        }
        assert_eq!((attempt("silent").await, connects()), (failed("no nod within 20s"), 2));
        assert_eq!((attempt("m1").await, connects()), (Attempt::Accepted { status: None }, 3));
    }
}
