//! Notices that a file with a secret has changed. Files are looked at every few seconds; only their metadata is read.
//!
//! A change counts only when two looks in a row have found the same metadata, so that a file is not read while somebody
//! writes it. Symbolic links are followed. So it is a change, too, if a link in the path leads to another directory
//! (Kubernetes replaces the link `..data`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// The time between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The metadata that a look has found for each file. Missing files are left out, and so is everything that is not a
/// regular file.
pub(super) type Look = BTreeMap<PathBuf, Stamp>;

/// The metadata by which a changed or replaced file is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The files with secrets of one configuration.
#[derive(Debug, Default)]
pub(super) struct WatchedFiles {
    files: BTreeSet<PathBuf>,
    /// The look that was taken just before the files were last read. `None`: there was no such look, so the files may
    /// have changed since they were read.
    read: Option<Look>,
    last: Option<Look>,
}

/// Looks at the files.
pub(super) fn look(files: &BTreeSet<PathBuf>) -> Look {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some((
            path.clone(),
            Stamp {
                device: found.dev(),
                inode: found.ino(),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            },
        ))
    };
    files.iter().filter_map(stamp).collect()
}

impl WatchedFiles {
    /// Watches these files. `read`: the look that was taken just before they were read; `None`: no look covered all of
    /// them.
    pub(super) fn new(files: BTreeSet<PathBuf>, read: Option<Look>) -> Self {
        Self { files, read, last: None }
    }

    /// Returns the files to look at.
    pub(super) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// Records the result of a look. Returns whether the files are to be read again.
    pub(super) fn notice(&mut self, found: Look) -> bool {
        let is_stable = self.last.as_ref() == Some(&found);
        let is_changed = self.read.as_ref() != Some(&found) && !found.is_empty();
        self.last = Some(found);
        is_stable && is_changed
    }

    /// Records that the files were read, whether they could be used or not. `look` was taken just before.
    pub(super) fn note_read(&mut self, look: Look) {
        self.read = Some(look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, PathBuf, BTreeSet<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "one").unwrap();
        (dir, path.clone(), BTreeSet::from([path]))
    }

    #[test]
    fn a_change_counts_only_when_two_looks_in_a_row_agree() {
        let (_dir, path, files) = world();
        let mut watched = WatchedFiles::new(files.clone(), Some(look(&files)));
        assert!(!watched.notice(look(&files)) && !watched.notice(look(&files)), "the file is as it was read");
        fs::write(&path, "longer").unwrap();
        assert!(!watched.notice(look(&files)), "somebody may still be writing");
        fs::write(&path, "longer still").unwrap();
        assert!(!watched.notice(look(&files)), "somebody has written again");
        assert!(watched.notice(look(&files)));
        watched.note_read(look(&files));
        assert!(!watched.notice(look(&files)));
    }

    #[test]
    fn a_replaced_file_and_a_swapped_directory_are_changes() {
        let (dir, path, files) = world();
        let mut watched = WatchedFiles::new(files.clone(), Some(look(&files)));
        let new = dir.path().join("new");
        fs::write(&new, "two").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!([watched.notice(look(&files)), watched.notice(look(&files))], [false, true]);

        for version in ["v1", "v2"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("token"), version).unwrap();
        }
        let data = dir.path().join("..data");
        std::os::unix::fs::symlink("v1", &data).unwrap();
        let files = BTreeSet::from([data.join("token")]);
        let mut watched = WatchedFiles::new(files.clone(), Some(look(&files)));
        assert!(!watched.notice(look(&files)));
        let draft = dir.path().join("..data_tmp");
        std::os::unix::fs::symlink("v2", &draft).unwrap();
        fs::rename(&draft, &data).unwrap();
        assert_eq!([watched.notice(look(&files)), watched.notice(look(&files))], [false, true]);
    }

    #[test]
    fn a_file_that_is_gone_for_a_while_is_read_when_it_is_back() {
        let (_dir, path, files) = world();
        let mut watched = WatchedFiles::new(files.clone(), Some(look(&files)));
        fs::remove_file(&path).unwrap();
        assert_eq!([watched.notice(look(&files)), watched.notice(look(&files))], [false, false], "there is no file");
        fs::write(&path, "two").unwrap();
        assert_eq!([watched.notice(look(&files)), watched.notice(look(&files))], [false, true]);
    }

    #[test]
    fn files_that_may_have_changed_since_they_were_read_are_read_once_more() {
        let (dir, _, files) = world();
        let mut watched = WatchedFiles::new(files.clone(), None);
        assert_eq!([watched.notice(look(&files)), watched.notice(look(&files))], [false, true]);
        let no_file = BTreeSet::from([dir.path().to_owned()]);
        let mut watched = WatchedFiles::new(no_file.clone(), None);
        assert_eq!([watched.notice(look(&no_file)), watched.notice(look(&no_file))], [false, false], "a directory");
    }
}
