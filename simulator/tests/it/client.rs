//! A client that shows everything: the bytes as they came, and how the connection ended.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use joltsms_simulator::{Clock, Handle, NewMessage, Options, Simulator, Switches};
use serde_json::Value;

/// The longest wait for a byte. It is long enough for a loaded machine, and no successful request waits that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The start of the tests' manual clock.
pub(crate) const START: &str = "2025-06-15T12:00:00.000Z";

pub(crate) fn start() -> Simulator {
    with(Switches::default())
}

pub(crate) fn with(switches: Switches) -> Simulator {
    let clock = Clock::Manual(START.parse().unwrap());
    Simulator::start_in_background(Options { switches, clock, ..Options::default() }).unwrap()
}

/// Returns the time this many milliseconds after the start of the tests' clock.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(START.parse::<Timestamp>().unwrap().as_millisecond() + ms).unwrap()
}

/// Adds messages `m0`, `m1` and so on, received a second apart. The message with the highest number is the newest.
pub(crate) fn fill(handle: &Handle, count: usize) {
    handle.add_many((0..count).map(|index| {
        let time = at(i64::try_from(index).unwrap() * 1000);
        NewMessage::new().id(format!("m{index}")).received_at(time).ingested_at(time)
    }));
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Returns the ids on a page.
    pub(crate) fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        let page = self.json();
        page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn next_cursor(&self) -> Option<String> {
        self.json()["meta"]["nextCursor"].as_str().map(str::to_owned)
    }
}

/// How an exchange failed, with the bytes that came before the failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection was closed before the answer was complete.
    Cut(Vec<u8>),
    /// The connection was reset.
    Reset(Vec<u8>),
    /// No further byte came.
    Silent(Vec<u8>),
    /// The answer was not HTTP.
    NotHttp(Vec<u8>),
    /// Nothing listens at the address.
    Refused,
}

pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: &'a str,
    pub(crate) patience: Duration,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, headers: Vec::new(), body: "", patience: DEADLINE }
    }

    pub(crate) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn bearer(self, token: impl std::fmt::Display) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(self, body: &'a str) -> Self {
        Self { body, ..self }
    }

    /// Sets how long the client waits for each byte.
    pub(crate) fn patience(self, ms: u64) -> Self {
        Self { patience: Duration::from_millis(ms), ..self }
    }

    /// Sends the request on a connection of its own.
    pub(crate) fn try_send(&self, simulator: &Simulator) -> Result<Response, Broken> {
        let address = simulator.url().strip_prefix("http://").unwrap().to_owned();
        let mut stream = match TcpStream::connect(&address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(Broken::Refused),
            // The listener was closed while the connection waited to be taken.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Broken::Reset(Vec::new())),
            Err(error) => panic!("{error}"),
        };
        stream.set_read_timeout(Some(self.patience)).unwrap();
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        if let Err(error) = stream.write_all(text.as_bytes()) {
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            return Err(Broken::Reset(Vec::new()));
        }
        let mut received = Vec::new();
        match stream.read_to_end(&mut received) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Broken::Reset(received)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Broken::Silent(received));
            }
            Err(error) => panic!("{error}"),
        }
        parse(received)
    }

    pub(crate) fn send(&self, simulator: &Simulator) -> Response {
        self.try_send(simulator).unwrap_or_else(|broken| panic!("{} {}: {broken:?}", self.method, self.target))
    }
}

fn parse(received: Vec<u8>) -> Result<Response, Broken> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        let start = &b"HTTP/1.1 "[..received.len().min(9)];
        return Err(if received.starts_with(start) { Broken::Cut(received) } else { Broken::NotHttp(received) });
    };
    let head = std::str::from_utf8(&received[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let response = Response { status, headers, body: received[end + 4..].to_vec() };
    let announced = response.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
    if response.body.len() < announced { Err(Broken::Cut(received)) } else { Ok(response) }
}

/// Sends a GET request with the key that was made at the start. The request must succeed.
pub(crate) fn get(simulator: &Simulator, target: &str) -> Response {
    Request::new("GET", target).bearer(simulator.key()).send(simulator)
}

/// Sends a GET request as [`get`] does, but the request may fail.
pub(crate) fn try_get(simulator: &Simulator, target: &str) -> Result<Response, Broken> {
    Request::new("GET", target).bearer(simulator.key()).try_send(simulator)
}

/// Checks a condition again and again until it is true, for changes that a task makes and that cannot be observed
/// otherwise.
#[expect(clippy::disallowed_methods, reason = "a wait needs a deadline")]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "it did not come true in time");
    }
}

/// Sends a request of a browser session.
pub(crate) fn session(simulator: &Simulator, method: &str, target: &str, body: &str) -> Response {
    Request::new(method, target).bearer(simulator.session()).body(body).send(simulator)
}

/// Returns the target with a percent-encoded cursor.
pub(crate) fn after(target: &str, cursor: &str) -> String {
    let cursor: String = cursor.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}cursor={cursor}")
}

/// Returns the ids of all pages from the first, following the cursors.
pub(crate) fn walk(simulator: &Simulator, target: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut page = get(simulator, target);
    for _ in 0..1000 {
        ids.extend(page.ids());
        let Some(cursor) = page.next_cursor() else { return ids };
        assert_eq!(page.json()["meta"]["hasMore"], true);
        page = get(simulator, &after(target, &cursor));
    }
    panic!("{target} has no end");
}
