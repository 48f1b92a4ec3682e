//! Peers that are reached over HTTP: a stub that answers as the service does. A kill of the stub closes its connections,
//! also those on which an answer is owed.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Peer;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

/// The time that the stub takes for an answer, so that messages are in flight whenever something is killed.
const DELAY: Duration = Duration::from_millis(20);

/// A stub of a service.
pub(super) struct HttpStub {
    kind: &'static str,
    keys: &'static str,
    answer: &'static str,
    ids: Arc<Mutex<Vec<String>>>,
    receiver: Option<Receiver>,
}

impl HttpStub {
    /// Makes the stub for sinks of the type `kind`. `keys` are the keys of the sink, in which `URL` stands for the
    /// address of the stub. `answer` is the body of each answer, whose status is 200.
    pub(super) fn new(kind: &'static str, keys: &'static str, answer: &'static str) -> Self {
        let mut stub = Self { kind, keys, answer, ids: Arc::default(), receiver: None };
        stub.serve(Receiver::in_background());
        stub
    }

    fn serve(&mut self, receiver: Receiver) {
        let (ids, answer) = (Arc::clone(&self.ids), self.answer);
        receiver.reply_to(move |id| {
            ids.lock().unwrap().push(id.to_owned());
            Reply { body: answer.into(), delay: DELAY, ..Reply::status(200) }
        });
        self.receiver = Some(receiver);
    }
}

impl Peer for HttpStub {
    fn keys(&mut self, _: &Path) -> String {
        let url = format!("http://{}", self.receiver.as_ref().unwrap().address());
        format!("type = \"{}\"\n{}", self.kind, self.keys.replace("URL", &url))
    }

    fn arrived(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    fn kill_server(&mut self) -> bool {
        let address = self.receiver.as_ref().unwrap().address();
        self.receiver = None;
        let is_free = || TcpListener::bind(address).is_ok();
        wait_until("the end of the stub", is_free, || address.to_string());
        self.serve(Receiver::in_background_on(address));
        true
    }
}
