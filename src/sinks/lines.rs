//! Writes lines to a stream.
//!
//! Invariants:
//!
//! - Lines are written whole, in the order in which their attempts began. Each line is written with one write if the
//!   system accepts the whole line at once.
//! - A line is delivered when its write has returned and the stream was flushed. One flush serves all lines that were
//!   written since the last flush. If the program at the other end reads slowly, the sink waits; it drops nothing.
//! - If only a part of a line could be written (for example because the disk is full), the rest of the line is written
//!   before anything else. Otherwise the next line would follow in the middle of the broken one. If a flush fails before
//!   that, the part is treated as in the next rule.
//! - If an earlier process left a part of a line at the end of a file, a line break is written before the next line. So
//!   the part becomes a line of its own (usually no valid JSON). Its message is written again, as a whole line. The
//!   part is not removed, because other programs may use the file at the same time.
//!
//! Writes happen on a thread of their own, because they block for as long as the program at the other end does not
//! read. When Tokio's runtime shuts down, it waits for its own blocking threads, but not for this thread.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;

use super::{Attempt, Attempting, Outgoing, Sink};
use crate::domain::Sanitized;
use crate::files;

/// A stream of lines.
pub(super) trait LineStream: Write + Send + 'static {
    /// Makes the stream ready for the next line, and says where this line will begin.
    ///
    /// # Errors
    /// An error if the line cannot be written anywhere.
    fn begin_line(&mut self) -> io::Result<LineStart> {
        Ok(LineStart::AfterLast)
    }
}

/// Where a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineStart {
    /// The line follows the last line that was written.
    AfterLast,
    /// The line goes to another file than the last line, or to the same file after somebody else has truncated it or
    /// written to it.
    Elsewhere {
        /// Whether this file ends in the middle of a line.
        is_unfinished: bool,
    },
}

/// What is known about a stream when it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamState {
    /// Whether all lines that wait are written first, and then flushed together. Otherwise each line is flushed alone.
    pub(super) is_flushed_together: bool,
    /// Whether the stream ends in the middle of a line of an earlier process.
    pub(super) is_unfinished: bool,
    /// Whether nothing can be written to the stream.
    pub(super) is_closed: bool,
    /// Whether the stream is a terminal, on which control characters would act.
    pub(super) is_terminal: bool,
}

/// A sink that writes lines to one stream.
#[derive(Debug)]
pub(super) struct LineSink {
    lines: Sender<Line>,
    is_terminal: bool,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    done: oneshot::Sender<Attempt>,
}

impl LineSink {
    /// Makes a sink for an unbuffered stream. The thread that writes gets the name `thread`.
    ///
    /// # Errors
    /// An error if no thread can be started.
    pub(super) fn new(stream: impl LineStream, state: StreamState, thread: &str) -> io::Result<Self> {
        let (lines, inbox) = channel();
        let writer = LineWriter::new(stream, state);
        thread::Builder::new().name(thread.to_owned()).spawn(move || write_all(writer, &inbox))?;
        Ok(Self { lines, is_terminal: state.is_terminal })
    }
}

impl Sink for LineSink {
    fn takes_lines(&self) -> bool {
        true
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let mut bytes = if self.is_terminal { for_terminal(&outgoing.body) } else { outgoing.body };
        bytes.push(b'\n');
        let (done, ended) = oneshot::channel();
        // The queue needs no limit, because delivery makes no more attempts at the same time than the sink's
        // concurrency. Sending fails only if the thread that writes has panicked.
        let queued = self.lines.send(Line { bytes, done });
        Box::pin(async move {
            match queued {
                Ok(()) => ended.await.unwrap_or(Attempt::Closed),
                Err(_) => Attempt::Closed,
            }
        })
    }
}

/// Replaces characters that would act on a terminal by the escapes of JSON, such as `\u001b`. JSON stays the same JSON,
/// because in valid JSON such characters occur only within strings.
fn for_terminal(line: &[u8]) -> Vec<u8> {
    Sanitized::line(&String::from_utf8_lossy(line)).to_string().into_bytes()
}

fn write_all(mut writer: LineWriter<impl LineStream>, inbox: &Receiver<Line>) {
    while let Ok(first) = inbox.recv() {
        // With `together`, this takes all lines of the queue. They are few, because each of them belongs to an attempt,
        // and the sink's concurrency limits the number of attempts.
        let others = if writer.together { usize::MAX } else { 0 };
        let mut ended = Vec::new();
        for Line { bytes, done } in std::iter::once(first).chain(inbox.try_iter().take(others)) {
            // An attempt that was given up before its turn will be made again, so its line is not written.
            if !done.is_closed() {
                ended.push((writer.deliver(bytes), done));
            }
        }
        let flushed = writer.flush();
        for (attempt, done) in ended {
            let attempt = match &flushed {
                Err(error) if matches!(attempt, Attempt::Accepted { .. }) => failed("flush the file", error),
                _ => attempt,
            };
            // An attempt that was given up while its line was written will be made again, so an error of this send is
            // ignored.
            drop(done.send(attempt));
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Attempt {
    Attempt::Failed { status: None, retry_after: None, answer: format!("cannot {what}: {error}") }
}

struct LineWriter<W> {
    stream: W,
    /// See [`StreamState::is_flushed_together`].
    together: bool,
    /// Whether the stream ends in the middle of a line that nobody will complete. If so, a line break is written before
    /// the next line.
    unfinished: bool,
    torn: Option<Torn>,
    /// Torn lines whose attempts failed, and which were completed later, so that another line could follow. The next
    /// attempt for such a line writes nothing, because the line is already there.
    completed: Vec<Vec<u8>>,
    closed: bool,
}

/// A line of which only the first `written` bytes were written so far.
struct Torn {
    bytes: Vec<u8>,
    written: usize,
}

impl<W: LineStream> LineWriter<W> {
    fn new(stream: W, state: StreamState) -> Self {
        let StreamState { is_flushed_together, is_unfinished, is_closed, .. } = state;
        Self {
            stream,
            together: is_flushed_together,
            unfinished: is_unfinished,
            torn: None,
            completed: Vec::new(),
            closed: is_closed,
        }
    }

    fn deliver(&mut self, bytes: Vec<u8>) -> Attempt {
        if self.closed {
            return Attempt::Closed;
        }
        match self.stream.begin_line() {
            Ok(LineStart::AfterLast) => {}
            // In another file the rest of a torn line would make no sense, so the rest is dropped. The attempt for the
            // torn line has failed. So delivery makes another attempt, which writes the whole line.
            Ok(LineStart::Elsewhere { is_unfinished }) => (self.torn, self.unfinished) = (None, is_unfinished),
            Err(error) => return failed("open the file", &error),
        }
        match self.try_deliver(bytes) {
            Ok(()) => Attempt::Accepted { status: None },
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.closed = true;
                Attempt::Closed
            }
            Err(error) => failed("write the line", &error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // After a failed flush it is not known which bytes since the last successful flush are on the disk. So all lines
        // that were written since then are written again as whole lines: torn lines that were completed, and a line
        // that is torn now.
        self.stream.flush().inspect_err(|_| {
            self.completed.clear();
            self.unfinished |= self.torn.take().is_some();
        })
    }

    fn try_deliver(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if self.unfinished {
            self.write_rest(Torn { bytes: b"\n".to_vec(), written: 0 })?;
            self.unfinished = false;
        }
        if let Some(torn) = self.torn.take() {
            let line = self.write_rest(torn)?;
            self.completed.push(line);
        }
        if let Some(place) = self.completed.iter().position(|line| *line == bytes) {
            self.completed.swap_remove(place);
            return Ok(());
        }
        self.write_rest(Torn { bytes, written: 0 }).map(drop)
    }

    /// Writes the rest of a line, and returns the whole line.
    fn write_rest(&mut self, mut line: Torn) -> io::Result<Vec<u8>> {
        if let Err(error) = files::write_rest(&mut self.stream, &line.bytes, &mut line.written) {
            if line.written > 0 {
                self.torn = Some(line);
            }
            return Err(error);
        }
        Ok(line.bytes)
    }
}
