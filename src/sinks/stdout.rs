//! Standard output, or any other stream of lines.
//!
//! Invariants:
//! - Lines leave whole and in the order in which they were begun, each in one write where the system takes it in one.
//! - Delivered means that the write returned. A reader that does not read is waited for; nothing is dropped.
//! - A terminal gets nothing that would act on it: a message is JSON, which can spell every character as `\u001b`.
//!   Anything but a terminal gets the bytes as they are.
//! - A line of which only a part left (the disk is full) is completed before anything else is written, so that the stream
//!   never holds a broken one.
//! - What an earlier process left torn in a file when it died gets an end first: it is a line of its own, no JSON, and
//!   nothing of ours is glued to it. Its message comes again, whole. The rest of the file is left alone: it may be shared.
//! - Where standard output was closed when the process began nothing is written and everything is kept: what stands in its
//!   place swallows all that it gets.
//!
//! Writes happen on a thread of their own: they block for as long as the reader pleases, and a runtime that is shut down
//! waits for its own blocking threads, but not for this one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::sync::oneshot;

use super::{Attempt, Attempting, Outgoing, Sink};
use crate::domain::Shown;

/// Writes lines to one stream.
#[derive(Debug)]
pub struct LineSink {
    lines: Sender<Line>,
    is_terminal: bool,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    done: oneshot::Sender<Attempt>,
}

impl LineSink {
    /// Standard output. It is written without Rust's own buffer, which would hold lines back and flush parts of them.
    ///
    /// # Errors
    /// Where the process may open no further file or start no thread.
    pub fn stdout() -> io::Result<Self> {
        let stream = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        append_only(&stream);
        let closed = stands_in_for_a_closed_one(&stream);
        if closed {
            tracing::warn!(
                hint = "give it a reader; `> /dev/null` throws messages away",
                "standard output is closed: its messages are kept"
            );
        }
        let unfinished = ends_within_a_line(&stream);
        if unfinished == Some(true) {
            tracing::info!(
                "standard output ends in the middle of a line, as a process left it that died: it gets an end, and its \
                 message comes again"
            );
        }
        // Where nobody can tell, an empty line does less harm than a mixture of two messages.
        let is_terminal = stream.is_terminal();
        Ok(Self { is_terminal, ..Self::start(stream, unfinished.unwrap_or(true), closed)? })
    }

    /// Any stream that is not buffered.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn new(stream: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start(stream, false, false)
    }

    fn start(stream: impl Write + Send + 'static, unfinished: bool, closed: bool) -> io::Result<Self> {
        let (lines, inbox) = channel();
        let writer = LineWriter { stream, unfinished, torn: None, completed: Vec::new(), closed };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || write_all(writer, &inbox))?;
        Ok(Self { lines, is_terminal: false })
    }
}

/// Makes a file one that is appended to, if it is not: one that was opened with `>` and is cut off by somebody, as
/// logrotate's `copytruncate` does, would otherwise get a hole as long as what was there. Only the status flag of the open
/// file changes. Others who share it write at its end as well, as they did before.
pub fn append_only(stream: &File) {
    if stream.metadata().is_ok_and(|found| found.is_file())
        && let Ok(flags) = fcntl_getfl(stream)
    {
        // What does not let this be changed is written to as it is.
        fcntl_setfl(stream, flags | OFlags::APPEND).ok();
    }
}

/// Rust opens the null device where a process began without a standard stream: for reading and writing, as hardly anybody
/// does who throws an output away.
fn stands_in_for_a_closed_one(stream: &File) -> bool {
    let is_null = || {
        let (ours, null) = (stream.metadata().ok()?, fs::metadata("/dev/null").ok()?);
        Some(ours.file_type().is_char_device() && ours.rdev() == null.rdev())
    };
    fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR) && is_null() == Some(true)
}

/// Whether a file ends otherwise than with the end of a line; `None` if it cannot be read. Whatever is no file, or is
/// empty, ends with none.
fn ends_within_a_line(stream: &File) -> Option<bool> {
    let found = stream.metadata().ok()?;
    if !found.is_file() || found.len() == 0 {
        return Some(false);
    }
    // Our own descriptor can only be written to.
    let readable = File::open(format!("/dev/fd/{}", stream.as_raw_fd())).ok()?;
    let mut last = [0];
    readable.read_exact_at(&mut last, found.len() - 1).ok()?;
    Some(last != *b"\n")
}

impl Sink for LineSink {
    fn takes_lines(&self) -> bool {
        true
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let mut bytes = if self.is_terminal { for_terminal(&outgoing.body) } else { outgoing.body };
        bytes.push(b'\n');
        let (done, ended) = oneshot::channel();
        // The queue is as long as the sink's concurrency at most. Nobody receives only if the thread panicked.
        let queued = self.lines.send(Line { bytes, done });
        Box::pin(async move {
            match queued {
                Ok(()) => ended.await.unwrap_or(Attempt::Closed),
                Err(_) => Attempt::Closed,
            }
        })
    }
}

/// What acts is spelled as JSON does: in a message it stands within strings only.
fn for_terminal(line: &[u8]) -> Vec<u8> {
    Shown::line(&String::from_utf8_lossy(line)).to_string().into_bytes()
}

fn write_all(mut writer: LineWriter<impl Write>, inbox: &Receiver<Line>) {
    while let Ok(Line { bytes, done }) = inbox.recv() {
        // Given up before its turn came: it will be tried again.
        if !done.is_closed() {
            let attempt = writer.deliver(bytes);
            // Given up while it was written; it will be written again.
            drop(done.send(attempt));
        }
    }
}

struct LineWriter<W> {
    stream: W,
    /// It ends in the middle of a line that is not ours.
    unfinished: bool,
    torn: Option<Torn>,
    /// Lines that failed when they were torn and were completed since, for the sake of another: when they are tried
    /// again they are there already.
    completed: Vec<Vec<u8>>,
    closed: bool,
}

/// A line of which the first `written` bytes have left.
struct Torn {
    bytes: Vec<u8>,
    written: usize,
}

impl<W: Write> LineWriter<W> {
    fn deliver(&mut self, bytes: Vec<u8>) -> Attempt {
        if self.closed {
            return Attempt::Closed;
        }
        match self.try_deliver(bytes) {
            Ok(()) => Attempt::Accepted { status: None },
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.closed = true;
                Attempt::Closed
            }
            Err(error) => {
                Attempt::Failed { status: None, retry_after: None, answer: format!("cannot write the line: {error}") }
            }
        }
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

    /// Writes what is left of a line; returns the whole of it.
    fn write_rest(&mut self, mut line: Torn) -> io::Result<Vec<u8>> {
        let mut pause = Duration::from_millis(1);
        while line.written < line.bytes.len() {
            let error = match self.stream.write(&line.bytes[line.written..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(written) => {
                    line.written += written;
                    pause = Duration::from_millis(1);
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                // Whoever shares the stream with us made it non-blocking; that is no reason to lose a line.
                ErrorKind::WouldBlock => {
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                _ => {
                    if line.written > 0 {
                        self.torn = Some(line);
                    }
                    return Err(error);
                }
            }
        }
        Ok(line.bytes)
    }
}
