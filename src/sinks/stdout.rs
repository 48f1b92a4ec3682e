//! Sends messages to standard output, or to any other stream of lines.
//!
//! Invariants:
//!
//! - Lines leave whole and in the order in which they were begun. Each line leaves in one write if the system accepts
//!   it in one.
//! - A line is delivered when its write has returned and, if the stream is a file, the line was flushed to the disk.
//!   One flush serves all lines that were written since the last flush. The sink waits for a slow reader; it drops
//!   nothing.
//! - On a terminal, characters that would act on the terminal are escaped: a message is JSON, which can write every
//!   character as `\u001b`. Any other output gets the bytes unchanged.
//! - A line of which only a part has left (because the disk is full) is completed before anything else is written, so
//!   that the stream never contains a broken line.
//! - If an earlier process left a part of a line at the end of a file, this part gets a line break first. The part is
//!   then a line of its own, which is no JSON, and no new line is glued to it. The message of the part comes again,
//!   whole. The rest of the file is left alone, since the file may be shared.
//! - If standard output was closed when the process began, nothing is written and every message is kept, because the
//!   device in its place swallows everything.
//! - A terminal that is gone counts as a reader that is gone.
//!
//! Writes happen on a thread of their own, because they block for as long as the reader does not read. A runtime that
//! shuts down waits for its own blocking threads, but not for this thread.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::{Attempt, Attempting, OnlineCheck, Outgoing, Preview, Sink, SinkBuildError, SinkType, Target};
use crate::domain::{Finding, Sanitized};
use crate::files;
use crate::settings::Reader;
use crate::time::Clock;

/// The type `stdout`. The type has no keys of its own.
#[derive(Debug)]
pub struct Stdout;

impl SinkType for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn lacks(&self) -> &'static [&'static str] {
        &["concurrency", "requests_per_minute"]
    }

    fn is_single(&self) -> bool {
        true
    }

    fn read(&self, _: &mut Reader<'_>, _: bool) -> Option<Arc<dyn Target>> {
        Some(Arc::new(Self))
    }
}

impl Target for Stdout {
    fn takes_lines(&self) -> bool {
        true
    }

    fn is_stdout(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "standard output".to_owned()
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        Ok(Preview { head: String::new(), body: outgoing.body })
    }

    fn check_online<'t>(&'t self, name: &'t str, _: &'t Clock) -> OnlineCheck<'t> {
        let finding = Finding::not_tried(name, "standard output of the relay: there is nothing to try here");
        Box::pin(std::future::ready(vec![finding]))
    }

    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(LineSink::stdout().map_err(SinkBuildError::Stdout)?))
    }
}

/// A sink that writes lines to one stream.
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
    /// Makes a sink for standard output. Rust's own buffer is not used, because it would hold lines back and flush
    /// parts of lines.
    ///
    /// # Errors
    /// An error if the process can open no further file or start no thread.
    pub fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        append_only(&file);
        let closed = stands_in_for_a_closed_one(&file);
        if closed {
            tracing::warn!(
                hint = "give it a reader; `> /dev/null` throws messages away",
                "standard output is closed: its messages are kept"
            );
        }
        let unfinished = ends_within_a_line(&file);
        if unfinished == Some(true) {
            tracing::info!(
                "standard output ends in the middle of a line, as a process left it that died: it gets an end, and its \
                 message comes again"
            );
        }
        let is_terminal = file.is_terminal();
        let is_file = file.metadata().is_ok_and(|found| found.is_file());
        let directory = if is_file { directory_of(&file) } else { None };
        let stream = StandardOutput { file, is_terminal, is_flushed: is_file, directory };
        // If the file cannot be read, it counts as unfinished: an empty line does less harm than a mixture of two
        // messages.
        let writer = LineWriter { closed, unfinished: unfinished.unwrap_or(true), ..LineWriter::new(stream, is_file) };
        Self::start(writer, is_terminal)
    }

    /// Makes a sink for any unbuffered stream. The stream is flushed after each line.
    ///
    /// # Errors
    /// An error if no thread can be started.
    pub fn new(stream: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start(LineWriter::new(stream, false), false)
    }

    /// Makes a sink for a stream that is flushed once for all waiting lines.
    ///
    /// # Errors
    /// An error if no thread can be started.
    #[cfg(test)]
    pub(super) fn flushed_together(stream: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start(LineWriter::new(stream, true), false)
    }

    fn start(writer: LineWriter<impl Write + Send + 'static>, is_terminal: bool) -> io::Result<Self> {
        let (lines, inbox) = channel();
        thread::Builder::new().name("stdout".to_owned()).spawn(move || write_all(writer, &inbox))?;
        Ok(Self { lines, is_terminal })
    }
}

/// The standard output of the process.
struct StandardOutput {
    file: File,
    /// Whether standard output was a terminal at the start.
    is_terminal: bool,
    /// Whether standard output is a file on a file system that can flush files.
    is_flushed: bool,
    /// The directory of the file, until the directory was flushed once. Without this flush, a power cut can remove a
    /// new file.
    directory: Option<File>,
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // After a terminal was closed, writes fail with EIO, and the file is no terminal any more.
        let gone = |_: &io::Error| self.is_terminal && !self.file.is_terminal();
        let written = (&self.file).write(bytes);
        if written.as_ref().is_err_and(gone) { Err(ErrorKind::BrokenPipe.into()) } else { written }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_flushed {
            return Ok(());
        }
        match self.file.sync_data() {
            Err(error) if cannot_flush(&error) => {
                tracing::info!(%error, "standard output is a file that cannot be flushed: a power cut may take its last lines");
                self.is_flushed = false;
            }
            flushed => flushed?,
        }
        if let Some(directory) = self.directory.take() {
            // Not every file system can flush a directory, and most file systems need no such flush.
            directory.sync_all().ok();
        }
        Ok(())
    }
}

/// Whether the error means that the file system cannot flush, which is no failure of the disk.
fn cannot_flush(error: &io::Error) -> bool {
    let unknown = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|errno| unknown.contains(&errno))
}

/// Returns the directory of an open file, if the system can tell it.
fn directory_of(file: &File) -> Option<File> {
    let path = fs::read_link(format!("/dev/fd/{}", file.as_raw_fd())).ok()?;
    File::open(path.parent()?).ok()
}

/// Makes a stream append to its file. Without this, a file that was opened with `>` and is then cut off by somebody, as
/// logrotate's `copytruncate` does, would get a hole as long as its old content. Only the status flag of the open file
/// changes. Other processes that share the open file also write at the end of the file, as they did before.
pub fn append_only(stream: &File) {
    if stream.metadata().is_ok_and(|found| found.is_file())
        && let Ok(flags) = fcntl_getfl(stream)
    {
        // If the flag cannot be changed, the stream is used as it is.
        fcntl_setfl(stream, flags | OFlags::APPEND).ok();
    }
}

/// Whether the stream is the null device that Rust opens if a process began without a standard stream. This device is
/// open for reading and writing, which is rare for a null device that a user chose.
fn stands_in_for_a_closed_one(stream: &File) -> bool {
    let is_null = || {
        let (ours, null) = (stream.metadata().ok()?, fs::metadata("/dev/null").ok()?);
        Some(ours.file_type().is_char_device() && ours.rdev() == null.rdev())
    };
    fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR) && is_null() == Some(true)
}

/// Whether a file ends in the middle of a line; `None` if the file cannot be read. The result is `false` for an empty
/// file, and for a stream that is no file.
fn ends_within_a_line(stream: &File) -> Option<bool> {
    let found = stream.metadata().ok()?;
    if !found.is_file() || found.len() == 0 {
        return Some(false);
    }
    // The process's own descriptor may be open for writing only.
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
        // The queue never holds more lines than the sink's concurrency. Sending fails only if the thread panicked.
        let queued = self.lines.send(Line { bytes, done });
        Box::pin(async move {
            match queued {
                Ok(()) => ended.await.unwrap_or(Attempt::Closed),
                Err(_) => Attempt::Closed,
            }
        })
    }
}

/// Escapes characters that act on a terminal, as JSON does. In a message such characters stand only within strings.
fn for_terminal(line: &[u8]) -> Vec<u8> {
    Sanitized::line(&String::from_utf8_lossy(line)).to_string().into_bytes()
}

fn write_all(mut writer: LineWriter<impl Write>, inbox: &Receiver<Line>) {
    while let Ok(first) = inbox.recv() {
        // No more lines than the sink's concurrency are under way at once.
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
    /// Whether several lines are written before one flush serves all of them.
    together: bool,
    /// Whether the stream ends in the middle of a line of an earlier process.
    unfinished: bool,
    torn: Option<Torn>,
    /// Torn lines whose attempts failed, and which were completed later, so that another line could follow. The next
    /// attempts of these lines find the lines written.
    completed: Vec<Vec<u8>>,
    closed: bool,
}

/// A line of which the first `written` bytes have left.
struct Torn {
    bytes: Vec<u8>,
    written: usize,
}

impl<W: Write> LineWriter<W> {
    fn new(stream: W, together: bool) -> Self {
        Self { stream, together, unfinished: false, torn: None, completed: Vec::new(), closed: false }
    }

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
            Err(error) => failed("write the line", &error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // After a failed flush it is not known which of the last lines are on the disk. All these lines are written
        // again, including torn lines.
        self.stream.flush().inspect_err(|_| self.completed.clear())
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
