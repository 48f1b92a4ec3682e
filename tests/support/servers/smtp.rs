//! A mail server: Debian's aiosmtpd, which writes down what it gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::{ServerProgram, free_address};
use crate::support::prerequisites::all_there;

/// Debian's Python, for which the server is installed.
const PYTHON: &str = "/usr/bin/python3";

/// A mail server.
pub(crate) struct MailServer {
    server: ServerProgram,
    received: PathBuf,
}

impl MailServer {
    /// Whether the server is installed. If not, the test is reported as skipped.
    pub(crate) fn is_installed() -> bool {
        let tried = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        let missing = if tried.is_ok_and(|status| status.success()) { vec![] } else { vec!["aiosmtpd".to_owned()] };
        all_there(&missing)
    }

    /// Starts a server with further arguments.
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Self {
        let address = free_address();
        let received = dir.join("mails");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/smtp_server.py");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let file = received.clone();
        let server = ServerProgram::start(dir, address, move || {
            let mut command = Command::new(PYTHON);
            command.arg(&script).arg(address.port().to_string()).arg(&file).args(&arguments);
            command
        });
        Self { server, received }
    }

    /// Returns the address without its scheme.
    pub(crate) fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Returns the e-mails that were accepted.
    pub(crate) fn received(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.received).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the server again.
    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
    }
}
