//! Makes small file systems that fill up.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run_or_skip;

/// A file system that belongs to the test. It is unmounted when this value is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts a file system in memory below `at`, with options such as `size=8m`.
    pub(crate) fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("mode=0700,{options}");
        run_or_skip(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "joltsms-test"]).arg(at), "a mount")?;
        Some(Self { at: at.to_owned() })
    }

    /// Mounts the file system again, with other options.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run_or_skip(Command::new("mount").args(["-o", &options]).arg(&self.at), "a remount").unwrap();
    }

    /// Fills the file system, except for `left` bytes.
    pub(crate) fn fill(&self, left: usize) {
        let mut ballast = fs::File::create(self.at.join("ballast")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(u64::try_from(left).unwrap())).unwrap();
    }

    /// Fills the file system with files, so that no other file can be made.
    pub(crate) fn fill_with_files(&self) {
        fs::create_dir(self.at.join("files")).unwrap();
        let mut number = 0;
        while fs::File::create(self.at.join(format!("files/{number}"))).is_ok() {
            number += 1;
        }
    }

    /// Removes the files that filled the file system.
    pub(crate) fn free(&self) {
        drop(fs::remove_file(self.at.join("ballast")));
        drop(fs::remove_dir_all(self.at.join("files")));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}
