//! Peers that are reached over HTTP: a stub that answers as the service does. A kill of the stub closes its connections,
//! also those on which an answer is owed.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Peer, try_kills};
use crate::support::prerequisites::has_type;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_until;

/// The time that the stub takes for an answer, so that messages are in flight whenever something is killed.
const DELAY: Duration = Duration::from_millis(20);

/// A stub of a service.
struct HttpStub {
    kind: &'static str,
    keys: &'static str,
    answer: &'static str,
    ids: Arc<Mutex<Vec<String>>>,
    receiver: Option<Receiver>,
}

impl HttpStub {
    /// Makes the stub for sinks of the type `kind`. `keys` are the keys of the sink, in which `URL` stands for the
    /// address of the stub. `answer` is the body of each answer, whose status is 200.
    fn new(kind: &'static str, keys: &'static str, answer: &'static str) -> Self {
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

#[test]
fn http() {
    try_kills("http", 200, &mut HttpStub::new("http", "url = \"URL\"", "ok"));
}

#[test]
fn telegram() {
    if !has_type("telegram") {
        return;
    }
    let keys = "url = \"URL\"\ntoken = { env = \"TRIAL_TOKEN\" }\nchat = \"-100123\"";
    try_kills("telegram", 200, &mut HttpStub::new("telegram", keys, r#"{"ok":true,"result":{}}"#));
}

#[test]
fn apprise() {
    if !has_type("apprise") {
        return;
    }
    try_kills("apprise", 200, &mut HttpStub::new("apprise", "url = \"URL/notify/sms\"", r#"{"error":null}"#));
}

#[test]
fn ntfy() {
    if !has_type("ntfy") {
        return;
    }
    let keys = "url = \"URL\"\ntopic = \"sms\"";
    try_kills("ntfy", 200, &mut HttpStub::new("ntfy", keys, r#"{"id":"x"}"#));
}
