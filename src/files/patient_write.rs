//! Writes to a stream, however long this takes.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

/// The first and the longest wait between two tries while a stream takes no bytes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Writes the rest of `bytes`: the first `written` bytes were written before. Keeps `written` up to date. The function
/// blocks until the stream has taken all bytes, even if another process that shares the stream has made it
/// non-blocking.
///
/// # Errors
/// The errors of the stream. `written` then says how many bytes were written. If a write returns 0, the error is
/// [`ErrorKind::WriteZero`].
pub fn write_rest(stream: &mut impl Write, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    while *written < bytes.len() {
        match stream.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => {
                *written += taken;
                pause = FIRST_PAUSE;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::park_timeout(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A stream that answers each write with the next of `answers`. After the last answer it takes all bytes.
    struct Stream {
        answers: VecDeque<Result<usize, ErrorKind>>,
        taken: Vec<u8>,
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.answers.pop_front().unwrap_or(Ok(bytes.len()))?;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_byte_is_written_once() {
        use ErrorKind::{Interrupted, StorageFull, WouldBlock, WriteZero};
        type Case = (&'static [Result<usize, ErrorKind>], usize, Option<ErrorKind>, &'static [u8]);
        let cases: [Case; 6] = [
            (&[], 0, None, b"abcdef"),
            (&[], 4, None, b"ef"),
            (&[], 6, None, b""),
            (&[Err(WouldBlock), Ok(2), Err(Interrupted), Err(WouldBlock), Err(WouldBlock), Ok(1)], 0, None, b"abcdef"),
            (&[Ok(2), Err(StorageFull)], 1, Some(StorageFull), b"bc"),
            (&[Ok(2), Ok(0)], 0, Some(WriteZero), b"ab"),
        ];
        for (answers, before, error, expected) in cases {
            let mut stream = Stream { answers: answers.iter().copied().collect(), taken: Vec::new() };
            let mut written = before;
            let done = write_rest(&mut stream, b"abcdef", &mut written);
            assert_eq!(done.err().map(|error| error.kind()), error, "{answers:?}");
            assert_eq!((stream.taken.as_slice(), written), (expected, before + expected.len()), "{answers:?}");
        }
    }
}
