//! The server of NATS with JetStream, and a client that makes streams and reads them.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::program::{ServerProgram, free_address};
use crate::support::prerequisites::{all_there, missing_programs, program};
use crate::support::waiting::wait_for_value;

/// The stream in which the tests look.
pub(crate) const STREAM: &str = "SMS";

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamMessage {
    pub(crate) subject: String,
    pub(crate) header: String,
    pub(crate) body: String,
}

impl StreamMessage {
    /// Returns the value of `Nats-Msg-Id`.
    pub(crate) fn id(&self) -> String {
        let id = self.header.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: "));
        id.unwrap().to_owned()
    }
}

/// A server that keeps its streams over a kill.
pub(crate) struct NatsServer {
    server: ServerProgram,
    /// What stands between `CONNECT` and the end of the line.
    login: String,
    /// The messages that were read so far.
    read: RefCell<Vec<StreamMessage>>,
}

impl NatsServer {
    /// Whether the server is installed. If not, the test is reported as skipped.
    pub(crate) fn is_installed() -> bool {
        all_there(&missing_programs(&["nats-server"]))
    }

    /// Starts a server with JetStream and further lines of its configuration. `login` is the login of the test's own
    /// client, in JSON.
    pub(crate) fn start(dir: &Path, lines: &str, login: &str) -> Self {
        let address = free_address();
        let data = dir.join("nats");
        fs::create_dir_all(&data).unwrap();
        let config = data.join("conf");
        let store = data.join("store");
        let text = format!("listen: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\n{lines}\n", store.display());
        fs::write(&config, text).unwrap();
        let server = ServerProgram::start(dir, address, move || {
            let mut command = Command::new(program("nats-server").unwrap());
            command.arg("-c").arg(&config);
            command
        });
        Self { server, login: login.to_owned(), read: RefCell::default() }
    }

    /// Starts a server that everybody may use, with a stream for all subjects that begin with `sms.`.
    pub(crate) fn start_with_stream(dir: &Path) -> Self {
        let server = Self::start(dir, "", "{\"verbose\":false}");
        server.make_stream(&json!({}));
        server
    }

    /// Makes the stream, with further settings, or changes it.
    pub(crate) fn make_stream(&self, settings: &Value) {
        let mut stream = json!({"name": STREAM, "subjects": ["sms.>"], "storage": "file", "retention": "limits"});
        stream.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let verb = if self.request("STREAM.INFO", "").get("error").is_some() { "CREATE" } else { "UPDATE" };
        let answer = self.request(&format!("STREAM.{verb}"), &stream.to_string());
        assert!(answer.get("error").is_none(), "{answer}");
    }

    /// Returns the address with this scheme, and with what stands before the host.
    pub(crate) fn url(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}localhost:{}", self.server.address().port())
    }

    /// Returns the messages of the stream.
    pub(crate) fn messages(&self) -> Vec<StreamMessage> {
        let mut read = self.read.borrow_mut();
        let last = self.request("STREAM.INFO", "")["state"]["last_seq"].as_u64().unwrap();
        while (read.len() as u64) < last {
            let answer = self.request("STREAM.MSG.GET", &json!({"seq": read.len() + 1}).to_string());
            let text = |key: &str| {
                String::from_utf8(STANDARD.decode(answer["message"][key].as_str().unwrap_or_default()).unwrap())
                    .unwrap()
            };
            let subject = answer["message"]["subject"].as_str().unwrap().to_owned();
            read.push(StreamMessage { subject, header: text("hdrs"), body: text("data") });
        }
        read.clone()
    }

    /// Kills the server and starts it again.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the server again after a kill.
    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
    }

    /// Asks the API of JetStream about the stream. A server that was just started may not answer yet.
    fn request(&self, verb: &str, body: &str) -> Value {
        wait_for_value("an answer of JetStream", || self.try_request(verb, body), || self.server.log())
    }

    fn try_request(&self, verb: &str, body: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.server.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let Self { login, .. } = self;
        let (subject, length) = (format!("$JS.API.{verb}.{STREAM}"), body.len());
        write!(stream, "CONNECT {login}\r\nSUB answer 1\r\nPUB {subject} answer {length}\r\n{body}\r\n").ok()?;
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with("MSG answer") {
                let mut body = vec![0; line.trim().rsplit(' ').next()?.parse().ok()?];
                lines.read_exact(&mut body).ok()?;
                return serde_json::from_slice(&body).ok();
            }
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }
}
