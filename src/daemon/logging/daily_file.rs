//! Writes the log to one file a day (in UTC).
//!
//! The file appender of `tracing-appender` is not used, for two reasons. At a start it counts today's file twice if the
//! file exists already, and so removes one file too many. And it goes on writing to a file that was removed.
//!
//! Invariants:
//! - Each line goes to the file that has today's name. A file that was removed or renamed gets no further line, and a
//!   directory that was removed is made again.
//! - Of the files with a date in their name, only the newest `keep_files` stay. Today's file always stays, even if the
//!   clock went back. Files without a date in their name are never removed.
//! - When the file cannot be opened, stderr gets one line with the reason. There is no further line on stderr until the
//!   file was opened again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::PREFIX;
use crate::files;

/// Writes lines to the file of the day. `D` returns the date of today, such as `2026-01-31`.
pub(super) struct DailyFile<D> {
    dir: PathBuf,
    /// How many files with a date in their name stay, today's included.
    keep_files: usize,
    today: D,
    open: Option<FileOfDay>,
    /// Whether stderr already has the line that says why the file cannot be opened.
    is_failure_reported: bool,
}

struct FileOfDay {
    path: PathBuf,
    file: File,
}

impl<D: Fn() -> String> DailyFile<D> {
    /// Opens the file of today, and removes old files.
    ///
    /// # Errors
    /// The errors of the file system, and an error if there is a link or anything else than a regular file at the path.
    pub(super) fn open(dir: &Path, keep_files: usize, today: D) -> io::Result<Self> {
        let mut opened = Self { dir: dir.to_owned(), keep_files, today, open: None, is_failure_reported: false };
        opened.file()?;
        Ok(opened)
    }

    /// Returns the file of today.
    fn file(&mut self) -> io::Result<&mut File> {
        let path = self.dir.join(name_of((self.today)().as_str()));
        let open = match self.open.take() {
            Some(open) if open.path == path && files::is_at(&open.file, &path).unwrap_or(false) => open,
            _ => {
                let file = files::make_or_append(&path, 0o600)?;
                remove_old_files(&self.dir, &path, self.keep_files);
                FileOfDay { path, file }
            }
        };
        Ok(&mut self.open.insert(open).file)
    }
}

impl<D: Fn() -> String> Write for DailyFile<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file() {
            Ok(file) => {
                let written = file.write(bytes);
                self.is_failure_reported = false;
                written
            }
            Err(error) => {
                if !self.is_failure_reported {
                    let dir = self.dir.display();
                    // stderr may be closed, and then nobody sees the line.
                    writeln!(io::stderr(), "joltsms-relay: cannot write the log to {dir}: {error}").ok();
                    self.is_failure_reported = true;
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn name_of(date: &str) -> String {
    format!("{PREFIX}.{date}.log")
}

/// Removes the oldest files of other days, so that `keep_files` files stay, `today` included. If a file cannot be
/// removed, the relay tries again on the next day.
fn remove_old_files(dir: &Path, today: &Path, keep_files: usize) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let others = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && entry.path() != today);
    let mut names: Vec<String> = others.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| is_of_a_day(name));
    // Names sort like their dates. The newest comes first.
    names.sort_unstable_by(|one, other| other.cmp(one));
    for name in names.into_iter().skip(keep_files.saturating_sub(1)) {
        files::remove(&dir.join(name)).ok();
    }
}

/// Whether a file of this name is the log of a day.
fn is_of_a_day(name: &str) -> bool {
    let date = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".log"));
    date.is_some_and(|date| date.len() == "2026-01-31".len() && date.parse::<jiff::civil::Date>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_newest_files_stay_and_each_start_adds_to_the_file_of_today() {
        for keep_files in 1..=4 {
            let dir = tempfile::tempdir().unwrap();
            for day in 1..=5 {
                fs::write(dir.path().join(name_of(&format!("2026-01-0{day}"))), "").unwrap();
            }
            fs::write(dir.path().join("joltsms-relay.notes.log"), "").unwrap();
            for start in ["first\n", "second\n", "third\n"] {
                let mut file = DailyFile::open(dir.path(), keep_files, || "2026-01-06".to_owned()).unwrap();
                file.write_all(start.as_bytes()).unwrap();
            }
            let today = dir.path().join(name_of("2026-01-06"));
            assert_eq!(fs::read_to_string(today).unwrap(), "first\nsecond\nthird\n", "{keep_files}");
            let mut expected: Vec<String> =
                (7 - keep_files..=6).map(|day| name_of(&format!("2026-01-0{day}"))).collect();
            expected.push("joltsms-relay.notes.log".to_owned());
            assert_eq!(names(dir.path()), expected, "{keep_files}");
        }
    }

    #[test]
    fn the_file_of_today_stays_although_the_clock_went_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name_of("2026-01-07")), "").unwrap();
        let mut file = DailyFile::open(dir.path(), 1, || "2026-01-06".to_owned()).unwrap();
        file.write_all(b"a\n").unwrap();
        assert_eq!(names(dir.path()), [name_of("2026-01-06")]);
    }

    #[test]
    fn each_day_has_a_file_and_a_removed_file_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("logs");
        let date = RefCell::new("2026-01-06".to_owned());
        let mut file = DailyFile::open(&dir, 2, || date.borrow().clone()).unwrap();
        let content = |date: &str| fs::read_to_string(dir.join(name_of(date))).unwrap();
        file.write_all(b"a\n").unwrap();
        fs::remove_dir_all(&dir).unwrap();
        file.write_all(b"b\n").unwrap();
        assert_eq!(content("2026-01-06"), "b\n");
        fs::rename(dir.join(name_of("2026-01-06")), dir.join("moved")).unwrap();
        file.write_all(b"c\n").unwrap();
        assert_eq!(content("2026-01-06"), "c\n");
        for day in ["2026-01-07", "2026-01-08"] {
            day.clone_into(&mut date.borrow_mut());
            file.write_all(b"d\n").unwrap();
        }
        assert_eq!(names(&dir), [name_of("2026-01-07"), name_of("2026-01-08"), "moved".to_owned()]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_tried_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("logs");
        let mut file = DailyFile::open(&dir, 2, || "2026-01-06".to_owned()).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        fs::write(&dir, "").unwrap();
        file.write_all(b"a\n").unwrap_err();
        assert!(file.is_failure_reported);
        fs::remove_file(&dir).unwrap();
        file.write_all(b"b\n").unwrap();
        assert!(!file.is_failure_reported);
        assert_eq!(fs::read_to_string(dir.join(name_of("2026-01-06"))).unwrap(), "b\n");
    }
}
