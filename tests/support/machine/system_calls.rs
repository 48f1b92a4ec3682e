//! Makes system calls of a relay fail or hang, by strace.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::run_or_skip;
use crate::support::relay::Relay;
use crate::support::waiting::wait_until;

/// System calls of a relay that fail for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Faults {
    strace: Child,
}

impl Faults {
    /// Makes these calls of the relay, on these files, fail with this error, such as `EIO`, from now on.
    pub(crate) fn begin(relay: &Relay, calls: &str, files: &[PathBuf], error: &str) -> Option<Self> {
        Self::inject(relay, calls, files, &format!("error={error}"))
    }

    /// Makes these calls of the relay, on these files, hang for ten minutes, from now on.
    pub(crate) fn hang(relay: &Relay, calls: &str, files: &[PathBuf]) -> Option<Self> {
        Self::inject(relay, calls, files, "delay_enter=600000000")
    }

    fn inject(relay: &Relay, calls: &str, files: &[PathBuf], fault: &str) -> Option<Self> {
        if !has_strace() {
            return None;
        }
        let id = relay.id();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{fault}"), "-p", &id.to_string()]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let faults = Self { strace };
        let traced = || {
            let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
            let mut statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
            statuses.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
        };
        wait_until("strace", traced, || relay.log());
        Some(faults)
    }

    /// Ends the faults, so that the relay goes on undisturbed.
    pub(crate) fn end(mut self) {
        let asked = Command::new("kill").args(["-s", "INT", &self.strace.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

/// Returns the words that, before a program, let its calls on these files fail; `None` without strace.
pub(crate) fn failing(calls: &str, files: &[PathBuf], error: &str) -> Option<Vec<String>> {
    if !has_strace() {
        return None;
    }
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned).to_vec();
    words.extend(["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:error={error}")]);
    for file in files {
        words.extend(["-P".to_owned(), file.display().to_string()]);
    }
    Some(words)
}

fn has_strace() -> bool {
    run_or_skip(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]), "strace").is_some()
}
