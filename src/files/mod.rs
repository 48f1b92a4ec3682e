//! Opens and makes the files of the state, of the log and of sinks. No other user can make the relay open a different
//! file instead.
//!
//! The directories belong to the user of the service, but root may run commands on them. With a symbolic link, that
//! user could make root write to any file of the machine. Besides, that user must be able to use what root makes.
//! Therefore:
//!
//! - A symbolic link, a pipe or a device is not opened in place of a file. The directory itself may be a link: systemd
//!   makes one for a service with `DynamicUser`.
//! - A file that root makes is given to the owner of the directory. SQLite does the same for its journal.

mod patient_write;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::runtime::{Handle, RuntimeFlavor};

pub use patient_write::write_rest;

/// Does work on files for a task. If the disk hangs, only this task waits: the other tasks of the runtime go on, on
/// another thread.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Opens a file to read it.
///
/// # Errors
/// The errors of the file system, and an error for a link, a pipe or a device. A directory is opened, but reading it
/// fails.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true), path)
}

/// Opens a file of the configuration to read it. The file may be a symbolic link, because Kubernetes uses links for
/// such files. Opening never waits: a named pipe or a device is refused.
///
/// # Errors
/// The errors of the file system, and an error for anything that is neither a regular file nor a directory.
pub fn open_configured(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    regular(file, "it is a pipe or a device, and the relay reads it again at each reload: a regular file is needed")
}

/// Opens a file to read and to write it.
///
/// # Errors
/// As for [`open_to_read`].
pub fn open_to_write(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file to add to its end.
///
/// # Errors
/// As for [`open_to_read`].
pub fn open_to_append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().append(true), path)
}

/// Opens a file to write it, and makes it (mode 0600) if it is missing.
///
/// # Errors
/// As for [`open_to_read`].
pub fn open_or_make(path: &Path) -> io::Result<File> {
    match open(OpenOptions::new().write(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match make(path) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(OpenOptions::new().write(true), path),
            made => made,
        },
        opened => opened,
    }
}

/// Makes a file (mode 0600). No file with this name may exist.
///
/// # Errors
/// The errors of the file system. If there is anything with this name, even a link that leads nowhere, this is an
/// error.
pub fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    give_to_owner_of_directory(&file, path);
    Ok(file)
}

/// Opens a file to append to it, and makes it with these permissions if it is missing. An existing file keeps its
/// permissions. Missing directories are made with mode 0700.
///
/// # Errors
/// As for [`open_to_read`].
pub fn make_or_append(path: &Path, mode: u32) -> io::Result<File> {
    let open_existing = || open(OpenOptions::new().append(true), path);
    match open_existing() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    make_directories(path.parent().unwrap_or(Path::new("")))?;
    match OpenOptions::new().append(true).create_new(true).mode(mode).open(path) {
        Ok(file) => {
            // The process's umask may have removed permissions.
            file.set_permissions(Permissions::from_mode(mode))?;
            give_to_owner_of_directory(&file, path);
            Ok(file)
        }
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_existing(),
        Err(error) => Err(error),
    }
}

/// Makes the missing directories of a path with mode 0700, and flushes them, so that they survive a power cut.
fn make_directories(path: &Path) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        // An error is ignored: not every file system can flush a directory, and most file systems need no such flush.
        if let Some(parent) = made.parent()
            && let Ok(parent) = File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
        {
            parent.sync_all().ok();
        }
    }
    Ok(())
}

/// Makes a file (mode 0600). If an earlier process has left a file with this name, it is removed first.
///
/// # Errors
/// The errors of the file system.
pub fn make_anew(path: &Path) -> io::Result<File> {
    remove(path)?;
    make(path)
}

/// Removes a file, if there is one. If it is a link, only the link is removed.
///
/// # Errors
/// The errors of the file system.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a whole file.
///
/// # Errors
/// As for [`open_to_read`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_to_read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the path with every symbolic link among its directories resolved. SQLite needs this: its option
/// `SQLITE_OPEN_NOFOLLOW` refuses a link anywhere in the path, also among the directories.
///
/// # Errors
/// The errors of the file system, if the directory is missing.
pub fn without_links_above(path: &Path) -> io::Result<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path.to_owned()) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    Ok(dir.canonicalize()?.join(name))
}

/// Whether `path` leads to the same file as `file`.
///
/// # Errors
/// The errors of the file system, if that cannot be found out.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without `NONBLOCK`, opening a named pipe would wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if is_link { io::Error::other("it is a symbolic link, and none is followed here") } else { error }
    })?;
    regular(file, "it is not a regular file")
}

/// Refuses anything that is neither a regular file nor a directory, with the error text `refusal`. A directory is not
/// refused here, because reading or writing it fails with a clear error.
fn regular(file: File, refusal: &'static str) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() { Ok(file) } else { Err(io::Error::other(refusal)) }
}

/// Gives the file to the owner of the directory. If this is not allowed, the file stays as it is, and the caller can go
/// on.
fn give_to_owner_of_directory(file: &File, path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(dir) = fs::metadata(dir)
        && dir.uid() != 0
    {
        fchown(file, Some(dir.uid()), Some(dir.gid())).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn nothing_is_opened_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("link"));
        fs::write(&victim, "as it was").unwrap();
        symlink(&victim, &link).unwrap();
        for opened in [open_to_read(&link), open_to_write(&link), open_or_make(&link)] {
            assert_eq!(opened.unwrap_err().to_string(), "it is a symbolic link, and none is followed here");
        }
        assert_eq!(make(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(make_anew(&link).unwrap());
        assert!(link.symlink_metadata().unwrap().is_file(), "a new file has replaced the link");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
        fs::remove_file(&link).unwrap();
        symlink(dir.path().join("nowhere"), &link).unwrap();
        open_or_make(&link).unwrap_err();
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_file_to_append_to_is_made_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.jsonl");
        drop(make_or_append(&path, 0o640).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.path().join("a")), mode(&dir.path().join("a/b"))), (0o640, 0o700, 0o700));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        drop(make_or_append(&path, 0o640).unwrap());
        assert_eq!(mode(&path), 0o600, "the operator's permissions stay");
        symlink(&path, dir.path().join("link")).unwrap();
        make_or_append(&dir.path().join("link"), 0o600).unwrap_err();
        make_or_append(&path.join("below-a-file"), 0o600).unwrap_err();
    }

    #[test]
    fn opening_a_pipe_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for opened in [open_to_read(&pipe), open_to_write(&pipe), open_or_make(&pipe), open_configured(&pipe)] {
            opened.unwrap_err();
        }
    }

    #[test]
    fn links_among_the_directories_are_resolved_and_the_file_itself_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("private");
        fs::create_dir(&real).unwrap();
        symlink(&real, dir.path().join("state")).unwrap();
        symlink("/dev/null", real.join("state.db")).unwrap();
        let found = without_links_above(&dir.path().join("state/state.db")).unwrap();
        assert_eq!(found, real.join("state.db"));
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        // Only root can give a file away, so only root can see the difference.
        if chown(dir.path(), Some(65534), Some(65534)).is_err() {
            return;
        }
        let path = dir.path().join("made");
        for file in [make(&path), make_anew(&path), open_or_make(&dir.path().join("another"))] {
            let found = file.unwrap().metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (65534, 65534));
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
        }
    }
}
