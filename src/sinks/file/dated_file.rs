//! Writes each line to the file whose name belongs to the present moment.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::files;
use crate::sinks::lines::{LineStart, LineStream};
use crate::sinks::regular_file::{RegularFile, ends_within_a_line};

/// A stream of lines. Each line goes to the file whose name belongs to the present moment.
pub(super) struct DatedFile<N> {
    /// Returns the path of the file for the present moment.
    name: N,
    mode: u32,
    open: Option<OpenFile>,
    /// The files that were open earlier and still have to be flushed. They get no more lines.
    left: Vec<RegularFile>,
}

struct OpenFile {
    path: PathBuf,
    file: RegularFile,
    /// The length that the file has if nobody else has truncated it or written to it.
    length: u64,
}

impl<N: Fn() -> PathBuf> DatedFile<N> {
    /// Makes a stream that opens no file yet. `mode`: the permissions of new files.
    pub(super) fn new(name: N, mode: u32) -> Self {
        Self { name, mode, open: None, left: Vec::new() }
    }
}

impl<N: Fn() -> PathBuf + Send + 'static> LineStream for DatedFile<N> {
    fn begin_line(&mut self) -> io::Result<LineStart> {
        let path = (self.name)();
        if let Some(open) = &mut self.open
            && open.path == path
            && files::is_at(open.file.file(), &path)?
        {
            let length = open.file.file().metadata()?.len();
            let was_changed = length != open.length;
            open.length = length;
            return Ok(match was_changed {
                true => LineStart::Elsewhere { is_unfinished: is_unfinished(&open.file) },
                false => LineStart::AfterLast,
            });
        }
        if let Some(open) = self.open.take() {
            // This file gets no more lines. So if it ends in the middle of a line, it gets a line break now. If a full
            // disk refuses this byte, nothing can be done.
            if is_unfinished(&open.file) {
                open.file.file().write_all(b"\n").ok();
            }
            self.left.push(open.file);
        }
        let file = RegularFile::new(files::make_or_append(&path, self.mode)?);
        let (is_unfinished, length) = (is_unfinished(&file), file.file().metadata()?.len());
        if is_unfinished {
            tracing::info!(
                "the file of a sink ends in the middle of a line, because a process died: the line gets an end, and \
                 its message is written again"
            );
        }
        self.open = Some(OpenFile { path, file, length });
        Ok(LineStart::Elsewhere { is_unfinished })
    }
}

/// Whether a file ends in the middle of a line. A file that cannot be read counts as unfinished: an empty line does
/// less harm than a mixture of two messages.
fn is_unfinished(file: &RegularFile) -> bool {
    ends_within_a_line(file.file()).unwrap_or(true)
}

impl<N> Write for DatedFile<N> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let written = open.file.file().write(bytes)?;
        open.length += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let left = std::mem::take(&mut self.left);
        for mut file in left {
            file.flush()?.ok();
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.file.flush()? {
            tracing::info!(%error, "the file of a sink cannot be flushed: a power cut may take its last lines");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::{Arc, Mutex};

    use super::*;

    const AFTER_LAST: LineStart = LineStart::AfterLast;
    const FINISHED: LineStart = LineStart::Elsewhere { is_unfinished: false };
    const UNFINISHED: LineStart = LineStart::Elsewhere { is_unfinished: true };

    fn append(path: &PathBuf, text: &str) {
        File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn each_line_goes_to_the_file_that_has_the_present_name() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second, moved) = (dir.path().join("1/a"), dir.path().join("2/a"), dir.path().join("moved"));
        let name = Arc::new(Mutex::new(first.clone()));
        let current = Arc::clone(&name);
        let mut file = DatedFile::new(move || current.lock().unwrap().clone(), 0o600);
        let mut line = |bytes: &str, expected: LineStart| {
            assert_eq!(file.begin_line().unwrap(), expected, "{bytes}");
            file.write_all(bytes.as_bytes()).unwrap();
        };
        line("a\n", FINISHED);
        line("b\n", AFTER_LAST);
        *name.lock().unwrap() = second.clone();
        line("c\n", FINISHED);
        *name.lock().unwrap() = first.clone();
        line("torn", FINISHED);
        line("e\n", AFTER_LAST);
        fs::write(&second, "c").unwrap();
        line("torn", AFTER_LAST);
        *name.lock().unwrap() = second.clone();
        line("f\n", UNFINISHED);
        assert_eq!(fs::read_to_string(&first).unwrap(), "a\nb\ntorne\ntorn\n", "the torn line got its line break");
        fs::rename(&second, &moved).unwrap();
        line("g\n", FINISHED);
        fs::write(&second, "").unwrap();
        line("h\n", FINISHED);
        fs::remove_file(&second).unwrap();
        line("i\n", FINISHED);
        fs::write(&second, "").unwrap();
        line("j\n", FINISHED);
        line("k\n", AFTER_LAST);
        append(&second, "by another program\n");
        line("m\n", FINISHED);
        append(&second, "torn by another program");
        line("n\n", UNFINISHED);
        fs::write(&second, "x").unwrap();
        line("l\n", UNFINISHED);
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "cf\n");
        assert_eq!(fs::read_to_string(&second).unwrap(), "xl\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocked/a");
        fs::write(dir.path().join("blocked"), "").unwrap();
        let named = path.clone();
        let mut file = DatedFile::new(move || named.clone(), 0o600);
        file.begin_line().unwrap_err();
        file.flush().unwrap();
        fs::remove_file(dir.path().join("blocked")).unwrap();
        assert_eq!(file.begin_line().unwrap(), FINISHED);
        assert!(path.is_file());
    }
}
