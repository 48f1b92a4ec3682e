//! What a command answers, on stdout.

use std::io::Write as _;

use super::exit::Exit;
use super::relay::complain;

/// Writes an answer. A reader who has enough of it is no failure.
pub(super) fn answer(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => complain(Exit::Failure, &error),
        _ => Exit::Done,
    }
}
