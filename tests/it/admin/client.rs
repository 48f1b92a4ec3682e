//! A client whose requests the test writes itself, so that it can send any header.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use joltsms_relay::daemon::log_sentences::ADMIN_LISTENS;
use serde_json::Value;

use crate::support::relay::{Relay, Setup};
use crate::support::waiting::{DEADLINE, wait_until};

/// The token of every relay that has one.
pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An answer of the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is an error as RFC 9457 describes errors.
    pub(super) fn assert_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {self:?}");
        }
        problem
    }
}

/// Adds an admin endpoint on a free port.
pub(super) fn with_endpoint(setup: Setup) -> Setup {
    setup.set("ADMIN__LISTEN", "127.0.0.1:0")
}

/// Adds an admin endpoint on a free port, with a token.
pub(super) fn with_token(setup: Setup) -> Setup {
    with_endpoint(setup).set("ADMIN__TOKEN", TOKEN)
}

/// Waits until the endpoint listens. Returns its address, which the log names.
pub(crate) fn address(relay: &Relay) -> SocketAddr {
    let mut found = None;
    let find = |log: &str| {
        let line = log.lines().find(|line| line.contains(ADMIN_LISTENS))?.to_owned();
        let (_, after) = line.split_once("address=")?;
        after.split_whitespace().next()?.trim_matches('"').parse().ok()
    };
    wait_until(
        "the address of the endpoint",
        || {
            found = find(&relay.log());
            found.is_some()
        },
        || relay.log(),
    );
    found.unwrap()
}

/// Sends these bytes, and reads until the endpoint closes the connection.
pub(super) fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The endpoint may answer and close before everything was sent.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(2 * DEADLINE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request with these headers beside `Connection`.
pub(super) fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    parsed(&raw(address, (text + "\r\n").as_bytes()))
}

pub(super) fn parsed(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Asks for a path as curl does.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[("Host", &address.to_string())])
}

/// Asks for a path with the token.
pub(super) fn get_with_token(address: SocketAddr, path: &str) -> Answer {
    let (host, bearer) = (address.to_string(), format!("Bearer {TOKEN}"));
    request(address, "GET", path, &[("Host", &host), ("Authorization", &bearer)])
}

/// Waits until the answer for a path fulfils the condition. Returns that answer.
pub(super) fn wait_for(
    relay: &Relay,
    address: SocketAddr,
    path: &str,
    what: &str,
    mut condition: impl FnMut(&Answer) -> bool,
) -> Answer {
    let mut last = None;
    let is_so = || {
        let answer = get(address, path);
        let is_so = condition(&answer);
        last = Some(answer);
        is_so
    };
    wait_until(what, is_so, || relay.log());
    last.unwrap()
}
