//! The real program as a child process that ends with the test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::waiting::{DEADLINE, wait_until, wait_within};

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    lines: Option<Receiver<String>>,
    log: Arc<Mutex<String>>,
    /// The thread that reads the log to its end.
    reader: Option<JoinHandle<()>>,
}

/// Returns the `id` of a message.
pub(crate) fn id_of(line: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    message["id"].as_str().unwrap().to_owned()
}

/// Collects the text that comes out of a pipe, until the end of the pipe.
pub(crate) fn gather(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let log = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&log);
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            written.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    });
    (log, reader)
}

impl Relay {
    /// Reads those streams of the process that are pipes.
    pub(super) fn attach(mut child: Child) -> Self {
        let (log, reader) = child.stderr.take().map(gather).unzip();
        Self { lines: child.stdout.take().map(lines), log: log.unwrap_or_default(), reader, child }
    }

    /// Returns the process id of the relay.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line of the relay's stdout.
    pub(crate) fn line(&self) -> String {
        let lines = self.lines.as_ref().unwrap();
        lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line on stdout; the log:\n{}", self.log()))
    }

    /// Returns the ids of the next messages on the relay's stdout.
    pub(crate) fn ids(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| id_of(&self.line())).collect()
    }

    /// Returns the remaining lines of the relay's stdout. The relay must have ended.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.lines.as_ref().unwrap().iter().collect()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log contains this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("`{text}` in the log"), || self.log().contains(text), || self.log());
    }

    /// Waits until the log contains this text this many times.
    pub(crate) fn wait_for_log_times(&self, text: &str, times: usize) {
        wait_until(&format!("`{text}` {times} times"), || self.log().matches(text).count() >= times, || self.log());
    }

    /// Sends a signal, given by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGKILL, and waits for the end of the process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and waits for the end of the process.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_for_end(DEADLINE)
    }

    /// Waits for the end of the process, with a limit of its own.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let mut ended = None;
        let log = Arc::clone(&self.log);
        let child = &mut self.child;
        wait_within(
            limit,
            "the end of the relay",
            || {
                ended = child.try_wait().unwrap();
                ended.is_some()
            },
            || log.lock().unwrap().clone(),
        );
        // The last lines may still be in the pipe.
        self.reader.take().map(JoinHandle::join);
        ended.unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the lines that come out of a pipe, until the end of the pipe.
fn lines(pipe: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
