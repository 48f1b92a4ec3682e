//! Makes faults in the machine below the relay.
//!
//! All faults need root and programs of the system. If these are not available, the test reports that and ends; in CI
//! it fails.

pub(crate) mod disk;
pub(crate) mod network_namespace;
pub(crate) mod system_calls;
pub(crate) mod wrong_clock;

use std::process::{Command, Stdio};

use super::prerequisites::skip;

/// Runs a command to its end. If the command fails, reports that `what` is not available.
fn run_or_skip(command: &mut Command, what: &str) -> Option<()> {
    let output = command.stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) if output.status.success() => return Some(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skip(&format!("{what} cannot be had here: {why}"));
    None
}

/// Returns the words that, before a program, run it as another user; `None` if that is not possible.
pub(crate) fn as_nobody() -> Option<Vec<String>> {
    words_that_run(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
}

/// Returns the words of a command that runs another program in changed circumstances; `None` if that is not possible.
pub(crate) fn words_that_run(words: &[&str]) -> Option<Vec<String>> {
    run_or_skip(Command::new(words[0]).args(&words[1..]).arg("true"), words[0])?;
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}
