//! Flushes regular files to the disk, and finds out whether they end in the middle of a line.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

/// A regular file whose content is flushed to the disk.
#[derive(Debug)]
pub(super) struct RegularFile {
    file: File,
    /// Whether the file system can flush files, as far as this is known.
    can_flush: bool,
    /// The directory of the file; `None` after it was flushed once. If the directory of a new file was not flushed, a
    /// power cut can remove the file.
    directory: Option<File>,
}

impl RegularFile {
    pub(super) fn new(file: File) -> Self {
        let directory = directory_of(&file);
        Self { file, can_flush: true, directory }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the content of the file to the disk. If the file system cannot flush files, the first call returns
    /// `Ok(Err(_))`, and every later call does nothing.
    ///
    /// # Errors
    /// The errors of the disk. After such an error it is not known whether the lines that were written since the last
    /// successful flush are on the disk.
    pub(super) fn flush(&mut self) -> io::Result<Result<(), io::Error>> {
        if !self.can_flush {
            return Ok(Ok(()));
        }
        let flushed = match self.file.sync_data() {
            Err(error) if cannot_flush(&error) => {
                self.can_flush = false;
                Err(error)
            }
            flushed => Ok(flushed?),
        };
        if let Some(directory) = self.directory.take() {
            // Not every file system can flush a directory, and most file systems need no such flush.
            directory.sync_all().ok();
        }
        Ok(flushed)
    }
}

/// Whether the error means that the file system cannot flush files. This is no failure of the disk.
fn cannot_flush(error: &io::Error) -> bool {
    let unknown = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|errno| unknown.contains(&errno))
}

/// Returns the directory of an open file, if the system knows it.
fn directory_of(file: &File) -> Option<File> {
    let path = fs::read_link(format!("/dev/fd/{}", file.as_raw_fd())).ok()?;
    File::open(path.parent()?).ok()
}

/// Whether a file ends in the middle of a line; `None` if the file cannot be read. The result is `false` for an empty
/// file, and for a stream that is no file.
pub(super) fn ends_within_a_line(stream: &File) -> Option<bool> {
    let found = stream.metadata().ok()?;
    if !found.is_file() || found.len() == 0 {
        return Some(false);
    }
    // The process's own descriptor may be open for writing only, so the file is opened once more, for reading.
    let readable = File::open(format!("/dev/fd/{}", stream.as_raw_fd())).ok()?;
    let mut last = [0];
    readable.read_exact_at(&mut last, found.len() - 1).ok()?;
    Some(last != *b"\n")
}
