//! Prepares and starts a relay.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use joltsms_simulator::Simulator;

use super::process::Relay;
use crate::support::machine::network_namespace::NetworkNamespace;
use crate::support::waiting::DEADLINE;

/// Returns the path of the program: the one of this build, or the one that `JOLTSMS_RELAY_BINARY` names.
pub(crate) fn program() -> OsString {
    std::env::var_os("JOLTSMS_RELAY_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_joltsms-relay").into())
}

/// The preparation of a relay's start. The relay's environment contains only what is set here.
#[derive(Debug)]
pub(crate) struct Setup {
    command: Command,
    state: PathBuf,
}

impl Setup {
    /// Prepares a relay on this simulator with its state in `dir/state`.
    pub(crate) fn new(simulator: &Simulator, dir: &Path) -> Self {
        Self::bare(dir).env("JOLTSMS_API_URL", &simulator.url()).env("JOLTSMS_API_KEY", &simulator.key())
    }

    /// Prepares a relay that knows no API.
    pub(crate) fn bare(dir: &Path) -> Self {
        Self::by(Command::new(program()), dir)
    }

    /// Prepares a relay that knows no API and runs within a network namespace.
    pub(crate) fn within(namespace: &NetworkNamespace, dir: &Path) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace.name(), env!("CARGO_BIN_EXE_joltsms-relay")]);
        Self::by(command, dir).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// Prepares a relay that this command starts.
    pub(crate) fn by(mut command: Command, dir: &Path) -> Self {
        let state = dir.join("state");
        command.env_clear().env("HOME", dir).env("JOLTSMS_RELAY_STATE__DIR", &state).stdin(Stdio::null());
        Self { command, state }
    }

    /// Returns the directory of the relay's state.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the variable whose name is `JOLTSMS_RELAY_` and `key`, such as `POLL__START`.
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        let name = format!("JOLTSMS_RELAY_{key}");
        self.env(&name, value)
    }

    /// Adds an http sink named `crm`.
    pub(crate) fn sink(self, url: &str) -> Self {
        self.set("SINKS__CRM__TYPE", "http").set("SINKS__CRM__URL", url)
    }

    /// Uses another copy of the program. Call this before anything else is set.
    pub(crate) fn program(self, path: &Path) -> Self {
        self.wrapped(&[path.display().to_string()])
    }

    /// Runs the program as the argument of another program, such as strace.
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

    /// Adds arguments of the command line.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs the program from a shell script, in which `"$0" "$@"` is the relay.
    pub(crate) fn behind(&self, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(self.command.get_program()).args(self.command.get_args());
        command.env_clear().stdin(Stdio::null());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, state: self.state.clone() }
    }

    /// Returns the command that would be started.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Starts the relay. Its stdout and its log are read all the time.
    pub(crate) fn start(&mut self) -> Relay {
        Relay::attach(self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Starts the relay with a stdout that the caller gives.
    pub(crate) fn start_with_stdout(&mut self, stdout: impl Into<Stdio>) -> Relay {
        Relay::attach(self.command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Starts the relay with a stderr that the caller gives. The relay's stdout is thrown away.
    pub(crate) fn start_with_stderr(&mut self, stderr: impl Into<Stdio>) -> Relay {
        let relay = Relay::attach(self.command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap());
        // The command would keep its own copy of the stream open, so the stream is replaced.
        self.command.stderr(Stdio::null());
        relay
    }

    /// Runs the relay to its end. Returns exit code, stdout, stderr.
    pub(crate) fn output(&mut self) -> (i32, String, String) {
        self.output_within(DEADLINE)
    }

    /// Does what [`Self::output`] does, with a limit of its own.
    pub(crate) fn output_within(&mut self, limit: Duration) -> (i32, String, String) {
        let mut relay = self.start();
        let status = relay.wait_for_end(limit);
        let lines = relay.rest();
        (status.code().unwrap_or(-1), lines.join("\n"), relay.log())
    }
}
