//! What a command answers, on stdout.

use std::io::{IsTerminal as _, Write as _};

use super::exit::Exit;
use super::relay::complain;
use super::words::harmless;

/// JSON as an answer: over several lines, and so that nothing in it acts on a terminal.
pub(super) fn json(value: &serde_json::Value) -> String {
    let json = format!("{value:#}\n");
    if std::io::stdout().is_terminal() { json.lines().map(|line| harmless(line) + "\n").collect() } else { json }
}

/// Writes an answer. A reader who has enough of it is no failure.
pub(super) fn answer(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => unwritten(&error),
    }
}

/// What was to be written to stdout could not be.
pub(super) fn unwritten(error: &std::io::Error) -> Exit {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Exit::Done,
        _ => complain(Exit::Failure, &format_args!("cannot write to standard output: {error}")),
    }
}
