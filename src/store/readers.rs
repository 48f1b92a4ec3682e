//! The readers of a state: commands that wait for messages beside the relay (`wait`, `tail`).
//!
//! A reader registers itself by a file in the directory `readers` of the state. The file is locked as long as the
//! reader runs, so the registration of a killed reader ends with its process. The relay looks at the directory often.
//! While a reader waits, the relay polls faster. A relay with `keep_delivered = "0s"` usually erases a text as soon as
//! every sink has the message. While a reader is registered, such a relay keeps each text for some seconds longer, so
//! that the reader can read it.
//!
//! Format of a file: one line with the number of milliseconds for which the reader wants fast polls. The relay adds one
//! byte when it has noticed the reader.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;

/// The directory of the readers' files, inside the state directory.
const DIRECTORY: &str = "readers";

/// At most this many bytes of a file are read.
const MAX_BYTES: u64 = 64;

/// The registration of this process as a reader. Dropping this value ends the registration.
#[derive(Debug)]
pub struct ReaderRegistration {
    file: File,
    path: PathBuf,
    /// The length of the file as this process wrote it, in bytes. If the file is longer, the relay has noticed the
    /// reader.
    length: u64,
}

/// A registered reader that is still running.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisteredReader {
    /// The name of the reader's file.
    pub name: String,
    /// How long the reader wants fast polls, counted from its registration.
    pub fast_for: Duration,
}

impl ReaderRegistration {
    /// Registers a reader of the state in `dir` that wants fast polls for the time `fast_for`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn make(dir: &Path, fast_for: Duration) -> io::Result<Self> {
        let readers = make_readers_directory(dir)?;
        let random = RandomState::new().build_hasher().finish();
        let path = readers.join(format!("{}-{random:016x}", std::process::id()));
        let mut file = files::make(&path)?;
        // The relay removes the file of a reader if the file is not locked, unless the file is empty. So the file is
        // locked before anything is written.
        file.lock()?;
        let line = format!("{}\n", fast_for.as_millis());
        file.write_all(line.as_bytes())?;
        Ok(Self { file, path, length: u64::try_from(line.len()).unwrap_or(u64::MAX) })
    }

    /// Returns whether the relay has noticed this reader.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn is_noticed(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() > self.length)
    }
}

impl Drop for ReaderRegistration {
    fn drop(&mut self) {
        files::remove(&self.path).ok();
    }
}

/// Makes the directory of the readers, for its owner only, if it is missing. Returns its path.
///
/// # Errors
/// Errors of the file system.
pub fn make_readers_directory(dir: &Path) -> io::Result<PathBuf> {
    let readers = dir.join(DIRECTORY);
    DirBuilder::new().recursive(true).mode(0o700).create(&readers)?;
    Ok(readers)
}

/// Returns the readers of the state in `dir` that are still running, in the order of their names. Removes the files of
/// readers that were killed.
///
/// # Errors
/// Errors of the file system.
pub fn registered_readers(dir: &Path) -> io::Result<Vec<RegisteredReader>> {
    let entries = match fs::read_dir(dir.join(DIRECTORY)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        found.extend(look_at(&entry.path())?.map(|fast_for| RegisteredReader { name, fast_for }));
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns how long the reader with this file wants fast polls; `None` if the reader is not running.
fn look_at(path: &Path) -> io::Result<Option<Duration>> {
    let file = match files::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    (&file).take(MAX_BYTES).read_to_string(&mut text)?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let milliseconds = text.lines().next().and_then(|line| line.parse().ok());
            Ok(milliseconds.map(Duration::from_millis))
        }
        // The reader has made its file, but has not locked it yet.
        Ok(()) if text.is_empty() => Ok(None),
        Ok(()) => {
            files::remove(path)?;
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Tells the reader with this name that the relay has noticed it. Does nothing if the reader has ended.
///
/// # Errors
/// Errors of the file system.
pub fn acknowledge_reader(dir: &Path, name: &str) -> io::Result<()> {
    let opened = files::open_to_append(&dir.join(DIRECTORY).join(name));
    match opened.and_then(|mut file| file.write_all(b"\n")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_registered_as_long_as_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(registered_readers(dir.path()).unwrap(), []);
        let first = ReaderRegistration::make(dir.path(), Duration::from_secs(60)).unwrap();
        let second = ReaderRegistration::make(dir.path(), Duration::ZERO).unwrap();
        let found = registered_readers(dir.path()).unwrap();
        let mut fast: Vec<Duration> = found.iter().map(|reader| reader.fast_for).collect();
        fast.sort_unstable();
        assert_eq!(fast, [Duration::ZERO, Duration::from_secs(60)]);
        assert!(!first.is_noticed().unwrap());
        for reader in &found {
            acknowledge_reader(dir.path(), &reader.name).unwrap();
        }
        assert!(first.is_noticed().unwrap() && second.is_noticed().unwrap());
        assert_eq!(registered_readers(dir.path()).unwrap(), found, "a reader that was noticed is still registered");
        drop(first);
        assert_eq!(registered_readers(dir.path()).unwrap().len(), 1);
        acknowledge_reader(dir.path(), "gone").unwrap();
    }

    #[test]
    fn the_file_of_a_killed_reader_is_removed_and_one_that_is_being_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let readers = make_readers_directory(dir.path()).unwrap();
        fs::write(readers.join("killed"), "60000\n").unwrap();
        fs::write(readers.join("young"), "").unwrap();
        assert_eq!(registered_readers(dir.path()).unwrap(), []);
        assert!(!readers.join("killed").exists() && readers.join("young").exists());
    }
}
