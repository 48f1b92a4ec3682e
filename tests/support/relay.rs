//! The real binary, as a child process that ends with the test.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use joltsms_simulator::Simulator;

use super::DEADLINE;
use super::namespace::Namespace;

/// How to start a relay. The environment is empty but for what is set here.
#[derive(Debug)]
pub(crate) struct Setup {
    command: Command,
    state: PathBuf,
}

/// A relay that runs.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    lines: Option<Receiver<String>>,
    log: Arc<Mutex<String>>,
    /// Reads the log to its end.
    reader: Option<JoinHandle<()>>,
}

impl Setup {
    /// A relay on this simulator with its state in `dir/state`.
    pub(crate) fn new(simulator: &Simulator, dir: &Path) -> Self {
        Self::bare(dir).env("JOLTSMS_API_URL", &simulator.url()).env("JOLTSMS_API_KEY", &simulator.key())
    }

    /// A relay that knows no API.
    pub(crate) fn bare(dir: &Path) -> Self {
        Self::by(Command::new(env!("CARGO_BIN_EXE_joltsms-relay")), dir)
    }

    /// The same within a network namespace.
    pub(crate) fn within(namespace: &Namespace, dir: &Path) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace.name(), env!("CARGO_BIN_EXE_joltsms-relay")]);
        Self::by(command, dir).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// One that this command starts.
    pub(crate) fn by(mut command: Command, dir: &Path) -> Self {
        let state = dir.join("state");
        command.env_clear().env("HOME", dir).env("JOLTSMS_RELAY_STATE__DIR", &state).stdin(Stdio::null());
        Self { command, state }
    }

    /// Where its state lies.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets `JOLTSMS_RELAY_` and the rest of a variable's name, such as `POLL__START`.
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        let name = format!("JOLTSMS_RELAY_{key}");
        self.env(&name, value)
    }

    /// An http sink named `crm`.
    pub(crate) fn sink(self, url: &str) -> Self {
        self.set("SINKS__CRM__TYPE", "http").set("SINKS__CRM__URL", url)
    }

    /// Another copy of the program; before anything else is set.
    pub(crate) fn program(self, path: &Path) -> Self {
        self.wrapped(&[path.display().to_string()])
    }

    /// The program as the argument of another, such as strace.
    pub(crate) fn under(self, wrapper: &[String]) -> Self {
        let program = self.command.get_program().to_string_lossy().into_owned();
        self.wrapped(&[wrapper, &[program]].concat())
    }

    fn wrapped(self, words: &[String]) -> Self {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(self.command.get_args()).env_clear().stdin(Stdio::null());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, state: self.state }
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// The same behind a shell that does something first; in it, `"$0" "$@"` is the relay.
    pub(crate) fn behind(&self, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(self.command.get_program()).args(self.command.get_args());
        command.env_clear().stdin(Stdio::null());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, state: self.state.clone() }
    }

    /// What is started.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Starts it; its stdout and its log are read all the time.
    pub(crate) fn start(&mut self) -> Relay {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let (log, reader) = gather(child.stderr.take().unwrap());
        Relay { log, reader: Some(reader), child, lines: Some(lines) }
    }

    /// Starts it with a stdout of the caller's.
    pub(crate) fn start_with_stdout(&mut self, stdout: impl Into<Stdio>) -> Relay {
        let mut child = self.command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let (log, reader) = gather(child.stderr.take().unwrap());
        Relay { log, reader: Some(reader), child, lines: None }
    }

    /// Starts it with a stderr of the caller's; what it writes to stdout is thrown away.
    pub(crate) fn start_with_stderr(&mut self, stderr: impl Into<Stdio>) -> Relay {
        let child = self.command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        // Or our own copy of the stream would keep it open.
        self.command.stderr(Stdio::null());
        Relay { log: Arc::default(), reader: None, child, lines: None }
    }

    /// Runs it to its end; exit code, stdout, stderr.
    pub(crate) fn output(&mut self) -> (i32, String, String) {
        let mut relay = self.start();
        let status = relay.wait();
        let lines = relay.rest();
        (status.code().unwrap_or(-1), lines.join("\n"), relay.log())
    }
}

/// The `id` of a message.
pub(crate) fn id_of(line: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    message["id"].as_str().unwrap().to_owned()
}

/// Gathers what comes out of a pipe, until its end.
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
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout.
    pub(crate) fn line(&self) -> String {
        let lines = self.lines.as_ref().unwrap();
        lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line on stdout; the log:\n{}", self.log()))
    }

    /// The ids of the next messages on its stdout.
    pub(crate) fn ids(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| id_of(&self.line())).collect()
    }

    /// The lines of its stdout that nobody took yet, once it has ended.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.lines.as_ref().unwrap().iter().collect()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("`{text}` in the log"), || self.log().contains(text), || self.log());
    }

    /// Waits until the log has this text so many times.
    pub(crate) fn wait_for_log_times(&self, text: &str, times: usize) {
        wait_until(&format!("`{text}` {times} times"), || self.log().matches(text).count() >= times, || self.log());
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        let log = Arc::clone(&self.log);
        let child = &mut self.child;
        wait_until(
            "the end of the relay",
            || {
                ended = child.try_wait().unwrap();
                ended.is_some()
            },
            || log.lock().unwrap().clone(),
        );
        // What it wrote last may still be on its way to us.
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

/// Looks again and again until a condition holds.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool, log: impl Fn() -> String) {
    wait_within(DEADLINE, what, condition, log);
}

/// The same for what takes longer by its nature. Returns how long it took.
pub(crate) fn wait_within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
    log: impl Fn() -> String,
) -> Duration {
    let began = now();
    let deadline = began + limit;
    while !condition() {
        assert!(now() < deadline, "{what} did not come; the log:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    now() - began
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
fn now() -> Instant {
    Instant::now()
}
