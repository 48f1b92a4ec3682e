//! Sends messages to standard output.
//!
//! Invariants, in addition to those of `super::lines`:
//!
//! - If the stream is a regular file, a line is delivered when it was flushed to the disk.
//! - On a terminal, characters that would act on it are replaced by escapes of JSON, such as `\u001b`. A file or a pipe
//!   gets the bytes unchanged.
//! - If standard output was closed when the process began, Rust has opened the null device in its place, and everything
//!   that is written to it is lost. So nothing is written, and every message is kept.
//! - A terminal that was closed counts like a pipe whose other end was closed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::lines::{LineSink, LineStream, StreamState};
use super::regular_file::{RegularFile, ends_within_a_line};
use super::{OnlineCheck, Outgoing, Preview, ReadContext, Sink, SinkBuildError, SinkType, Target};
use crate::domain::Finding;
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

    fn read(&self, _: &mut Reader<'_>, _: ReadContext<'_>) -> Option<Arc<dyn Target>> {
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
        Ok(Arc::new(sink().map_err(SinkBuildError::Stdout)?))
    }
}

/// Makes a sink for standard output. It does not use Rust's own buffer, which would hold lines back and write parts of
/// lines.
///
/// # Errors
/// An error if the process can open no further file, or can start no thread.
fn sink() -> io::Result<LineSink> {
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
            "standard output ends in the middle of a line, because a process died: the line gets an end, and its \
             message is written again"
        );
    }
    let is_terminal = file.is_terminal();
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let state = StreamState {
        is_flushed_together: is_file,
        // If the file cannot be read, it counts as unfinished: an empty line does less harm than a mixture of two
        // messages.
        is_unfinished: unfinished.unwrap_or(true),
        is_closed: closed,
        is_terminal,
    };
    let stream = StandardOutput {
        stream: if is_file { Stream::File(RegularFile::new(file)) } else { Stream::Other(file) },
        is_terminal,
    };
    LineSink::new(stream, state, "stdout")
}

/// The standard output of the process.
struct StandardOutput {
    stream: Stream,
    /// Whether standard output was a terminal at the start.
    is_terminal: bool,
}

enum Stream {
    File(RegularFile),
    Other(File),
}

impl StandardOutput {
    fn file(&self) -> &File {
        match &self.stream {
            Stream::File(file) => file.file(),
            Stream::Other(file) => file,
        }
    }
}

impl LineStream for StandardOutput {}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // After a terminal was closed, writes fail with EIO, and the file is no terminal any more.
        let gone = |_: &io::Error| self.is_terminal && !self.file().is_terminal();
        let written = self.file().write(bytes);
        if written.as_ref().is_err_and(gone) { Err(ErrorKind::BrokenPipe.into()) } else { written }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Stream::File(file) = &mut self.stream else { return Ok(()) };
        if let Err(error) = file.flush()? {
            tracing::info!(%error, "standard output is a file that cannot be flushed: a power cut may take its last lines");
        }
        Ok(())
    }
}

/// Makes a stream append to its file. Otherwise a stream that was opened with `>` goes on at its old position after
/// somebody has truncated the file (as logrotate's `copytruncate` does), and the file then begins with NUL bytes in the
/// place of its old content. The flag also applies to other processes that share the open file. It does them no harm:
/// they share the position, too, and so write at the end in any case.
pub fn append_only(stream: &File) {
    if stream.metadata().is_ok_and(|found| found.is_file())
        && let Ok(flags) = fcntl_getfl(stream)
    {
        // If the flag cannot be changed, the stream is used as it is.
        fcntl_setfl(stream, flags | OFlags::APPEND).ok();
    }
}

/// Whether the stream is the null device that Rust has opened because the process began without this stream. Rust opens
/// the device for reading and writing. If a user chose the device (`> /dev/null`), it is usually open for writing only.
pub fn stands_in_for_a_closed_one(stream: &File) -> bool {
    let is_null = || {
        let (ours, null) = (stream.metadata().ok()?, fs::metadata("/dev/null").ok()?);
        Some(ours.file_type().is_char_device() && ours.rdev() == null.rdev())
    };
    fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR) && is_null() == Some(true)
}
