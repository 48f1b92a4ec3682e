//! Counts how often a relay flushes and how much it writes, with strace.

use std::path::Path;
use std::process::{Command, Stdio};

/// The counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// The number of calls of `fsync` and `fdatasync`.
    pub(crate) flushes: u64,
    /// The number of bytes written to SQLite's write-ahead log.
    pub(crate) log_bytes: u64,
    /// The number of bytes written to the database itself, by checkpoints.
    pub(crate) database_bytes: u64,
}

/// Checks that strace is installed and may trace. Returns the reason if it cannot be used.
pub(crate) fn available() -> Result<(), String> {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("strace may not trace here".to_owned()),
        Err(error) => Err(format!("strace: {error}")),
    }
}

/// Returns the command that runs `program` and writes its calls to `file`.
pub(crate) fn tracing(file: &Path, program: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-y", "-s", "0", "-e", "signal=none", "-e", "trace=fsync,fdatasync,pwrite64"]);
    command.arg("-o").arg(file).arg(program);
    command
}

/// Counts the calls that the command of [`tracing`] wrote to `file`.
pub(crate) fn read(file: &Path) -> Calls {
    let mut calls = Calls::default();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        if line.contains("sync(") {
            calls.flushes += 1;
        } else if line.contains("pwrite64(") {
            let bytes = line.rsplit("= ").next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
            if line.contains("state.db-wal>") {
                calls.log_bytes += bytes;
            } else if line.contains("state.db>") {
                calls.database_bytes += bytes;
            }
        }
    }
    calls
}
