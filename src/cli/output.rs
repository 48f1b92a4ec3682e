//! Prints the answers of commands. stdout gets the answer, stderr gets everything else.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde_json::Value;

use super::exit::Exit;
use super::relay::complain;
use crate::humanize::harmless;

/// Formats an answer as JSON over several lines. On a terminal, control characters are escaped.
pub(super) fn json(answer: &impl Serialize) -> String {
    let json = format!("{:#}\n", sorted(answer));
    if std::io::stdout().is_terminal() { json.lines().map(|line| harmless(line) + "\n").collect() } else { json }
}

/// Formats an answer, or an element of an answer, as JSON in one line.
pub(super) fn json_line(answer: &impl Serialize) -> String {
    sorted(answer).to_string()
}

/// Converts an answer to a JSON value whose objects are printed with their keys in alphabetic order.
fn sorted(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// Prints an answer. If the program that reads stdout closes the pipe early, this is not a failure.
pub(super) fn answer(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => unwritten(&error),
    }
}

/// Returns the exit code after a failed write to stdout. The error is reported, unless the program that reads stdout
/// has closed the pipe.
pub(super) fn unwritten(error: &std::io::Error) -> Exit {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Exit::Done,
        _ => complain(Exit::Failure, &format_args!("cannot write to standard output: {error}")),
    }
}

/// Prints the progress of a command on stderr. If nobody reads stderr, nothing is printed and the command goes on.
pub(super) fn progress(so_far: &impl std::fmt::Display) {
    if takes_a_line(&stderr()) {
        complain(Exit::Done, so_far);
    }
}

/// Whether a stream accepts a short line without blocking.
fn takes_a_line(stream: &impl AsFd) -> bool {
    let mut streams = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut streams, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::pipe;

    use super::*;

    #[test]
    fn a_pipe_that_is_full_takes_no_line() {
        let (reader, mut writer) = pipe().unwrap();
        while takes_a_line(&writer) {
            writer.write_all(&[b'x'; 512]).unwrap();
        }
        drop(reader);
        assert!(takes_a_line(&writer), "a write to a pipe without a reader fails at once");
        assert!(takes_a_line(&File::create("/dev/null").unwrap()));
    }
}
