//! Notifications of the server (`NOTIFY`), which a connection turns into hints.
//!
//! The channel has the name of the schema. The transactions of commands notify it, and so do the transactions that give
//! the lease back.
//!
//! Only a session that asked for notifications (`LISTEN`) gets them. A pooler in transaction mode uses each session for
//! many clients, so a client must not ask for notifications there. To find out whether there is such a pooler, each
//! connection begins by asking for a session with a *mark*: a parameter with a value that no other session has. Such a
//! pooler refuses the parameter, or does not pass it on to the server. In both cases the connection does not ask for
//! notifications.

use std::future::poll_fn;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error};

use crate::store::change_hints::ChangeHints;

/// The name of the parameter that marks a session.
const MARK: &str = "joltsms_relay.session";

/// The shortest time between two hints, however often the server notifies.
const HINT_INTERVAL: Duration = Duration::from_millis(100);

/// Classes of error codes (SQLSTATE) that have nothing to do with the mark: the server refuses the user (28), has no
/// connection left (53), or is starting or stopping (57).
const UNRELATED: [&str; 3] = ["28", "53", "57"];

/// Returns the statement that notifies the channel of a schema when the transaction is committed.
pub(super) fn notify(namespace: &str) -> String {
    format!("NOTIFY \"{namespace}\"")
}

/// A parameter with a value that no other session has.
pub(super) struct SessionMark(String);

impl SessionMark {
    pub(super) fn new() -> Self {
        Self(format!("{:016x}", RandomState::new().build_hasher().finish()))
    }

    /// Makes a configuration that asks the server for a session with this mark.
    pub(super) fn put_on(&self, config: &Config) -> Config {
        let mark = format!("-c {MARK}={}", self.0);
        let options = config.get_options().map_or_else(|| mark.clone(), |others| format!("{others} {mark}"));
        let mut marked = config.clone();
        marked.options(options);
        marked
    }

    /// Returns whether a connection that asked for the mark may have failed because of the mark.
    pub(super) fn may_be_refused_by(error: &Error) -> bool {
        error.code().is_some_and(|code| !UNRELATED.iter().any(|class| code.code().starts_with(class)))
    }

    /// Asks for the notifications of the schema's channel, if the session of this connection has the mark. Returns
    /// whether the session has the mark.
    pub(super) async fn listen(&self, client: &Client, namespace: &str) -> Result<bool, Error> {
        let rows = client.query_typed("SELECT current_setting($1, TRUE)", &[(&MARK, Type::TEXT)]).await?;
        let found: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        let is_own = found.as_ref() == Some(&self.0);
        if is_own {
            client.batch_execute(&format!("LISTEN \"{namespace}\"")).await?;
        }
        Ok(is_own)
    }
}

/// Passes data between the client and the server until the connection ends. A notification of the server becomes a
/// hint.
pub(super) async fn drive<S, T>(mut connection: Connection<S, T>, hints: Option<ChangeHints>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let notified = Notify::new();
    let moving = poll_fn(|context| {
        loop {
            match ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
                Some(Ok(_)) => {}
                // A method that waits for an answer gets the error from the client.
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    });
    let hinting = async {
        loop {
            notified.notified().await;
            if let Some(hints) = &hints {
                hints.give();
            }
            sleep(HINT_INTERVAL).await;
        }
    };
    tokio::select! {
        () = moving => {}
        () = hinting => {}
    }
}
