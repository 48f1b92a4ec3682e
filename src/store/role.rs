//! The role of the relay on a state directory. At most one process has the role.
//!
//! The role consists of two locks: one on the file `relay.lock`, and one on the directory itself. The lock on the file
//! is needed because earlier versions use only this lock, and because some file systems, such as NFS, cannot lock a
//! directory. The lock on the directory is needed because somebody may remove the file while a relay runs. Then a
//! second relay could make the file again and lock it. The directory itself cannot be removed without the state.
//! Besides, systemd-tmpfiles deletes nothing in a locked directory.
//!
//! The operating system releases both locks when the process ends, however it ends.
//!
//! While no relay runs, the locks also keep commands from disturbing each other. A command that only reads may open the
//! state file as *immutable*: SQLite then expects that nobody changes the file. Such a command holds shared locks
//! ([`take_shared`]). A command that changes the state opens the file first, so that its journal exists and no further
//! command opens the file as immutable. Then it waits until no command holds a shared lock on the directory
//! ([`wait_for_readers`]).

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use crate::files;

/// Proof that this process is the only relay on a state directory. Dropping this value gives the role up.
#[derive(Debug)]
pub struct RoleLock {
    dir: PathBuf,
    file: File,
    directory: File,
}

/// What [`RoleLock::ensure_held`] found out about the lock file of a role that is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockFileState {
    /// `relay.lock` is in its place. Or it was made again just now, but a command holds a shared lock on it at this
    /// moment; then the next check locks it.
    Intact,
    /// `relay.lock` was removed, and this check has made it again and locked it.
    Recreated,
}

/// A shared lock: while any process holds it, no process can become the relay. Several processes may hold it at the
/// same time.
#[derive(Debug)]
pub(super) struct SharedRoleLock {
    _held: Vec<File>,
}

/// How many times [`RoleLock::take`] tries while another relay has the role: for a second. It does not give up at once,
/// because that relay may be ending.
const MAX_TRIES: u32 = 20;

/// How many times [`RoleLock::take`] tries while commands read the state: for a minute. Most commands need only a
/// moment, but `state export` checks the whole state first.
const MAX_TRIES_BESIDE_COMMANDS: u32 = 1200;

/// The wait between two tries.
const TRY_INTERVAL: Duration = Duration::from_millis(50);

/// How many times [`wait_for_readers`] tries. A command that reads needs the file for a moment, or for some seconds if it
/// checks a large file.
const MAX_TRIES_BESIDE_READERS: u32 = 200;

/// How many times [`take_shared`] tries to lock the directory while another process has locked the directory, but not
/// `relay.lock`: that may be a command that waits for readers.
const MAX_TRIES_BESIDE_WRITER: u32 = 40;

/// The wait between two tries of [`take_shared`]. It is short, because [`wait_for_readers`] locks the directory only for
/// an instant.
const BESIDE_WRITER_INTERVAL: Duration = Duration::from_millis(5);

const LOCK_FILE: &str = "relay.lock";

impl RoleLock {
    /// Takes the role of the relay on the state directory `dir`. A missing directory is made, with mode 0700.
    ///
    /// # Errors
    /// Returns [`Error::InUse`] if another process has the role, [`Error::Locked`] if commands read the state for a
    /// minute, and [`Error::Io`] for every other failure.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        make_state_dir(dir)?;
        let path = dir.join(LOCK_FILE);
        let file = files::open_or_make(&path).map_err(io("open", &path))?;
        let directory = File::open(dir).map_err(io("open", dir))?;
        for tried in 1.. {
            if lock(&file, &path)? && lock_directory(&directory) {
                return Ok(Self { dir: dir.to_owned(), file, directory });
            }
            // If two processes begin at the same moment, each may get one of the two locks. So a process keeps no lock
            // while it waits.
            file.unlock().map_err(io("unlock", &path))?;
            let is_read_by_command = matches!(take_shared(dir)?, (Some(false), _));
            if tried == MAX_TRIES && is_read_by_command {
                tracing::info!("waiting for a command that reads the state");
            }
            if is_read_by_command && tried >= MAX_TRIES_BESIDE_COMMANDS {
                return Err(Error::Locked);
            }
            if !is_read_by_command && tried >= MAX_TRIES {
                break;
            }
            std::thread::park_timeout(TRY_INTERVAL);
        }
        Err(Error::InUse { dir: dir.to_owned() })
    }

    /// Returns the state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks that this process still has the role. If `relay.lock` was removed, it is made again, so that earlier
    /// versions, which look only at this file, see that a relay runs.
    ///
    /// # Errors
    /// [`Error::Replaced`]: the role is lost, because the state directory is gone or another directory is in its place.
    /// [`Error::InUse`]: the role is lost, because another process made `relay.lock` again and locked it. After any
    /// other error it is not known whether the role is held; a later check may succeed.
    pub fn ensure_held(&mut self) -> Result<LockFileState, Error> {
        let path = self.dir.join(LOCK_FILE);
        if !files::is_at(&self.directory, &self.dir).map_err(io("look at", &self.dir))? {
            return Err(Error::Replaced { dir: self.dir.clone() });
        }
        if files::is_at(&self.file, &path).map_err(io("look at", &path))? {
            return Ok(LockFileState::Intact);
        }
        let file = files::open_or_make(&path).map_err(io("open", &path))?;
        if lock(&file, &path)? {
            self.file = file;
            return Ok(LockFileState::Recreated);
        }
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { dir: self.dir.clone() }),
            // A command holds a shared lock on the file at this moment.
            _ => Ok(LockFileState::Intact),
        }
    }
}

/// Makes the state directory, for its owner only, if it is missing.
pub(super) fn make_state_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::Io {
        doing: "create the state directory",
        path: dir.to_owned(),
        source,
    })
}

/// Returns whether a process has the role on the state directory `dir`; `None` if this user has no permission to find
/// out.
///
/// # Errors
/// [`Error::Io`] if `relay.lock` can be neither opened nor locked.
pub fn is_locked(dir: &Path) -> Result<Option<bool>, Error> {
    take_shared(dir).map(|(running, _)| running)
}

/// Returns whether a relay has the role; `None` if this user has no permission to find out. If no relay has the role,
/// also returns a shared lock, which keeps every relay from taking the role.
pub(super) fn take_shared(dir: &Path) -> Result<(Option<bool>, Option<SharedRoleLock>), Error> {
    let path = dir.join(LOCK_FILE);
    let mut held = Vec::new();
    match files::open_to_read(&path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => held.push(file),
            Err(TryLockError::WouldBlock) => return Ok((Some(true), None)),
            Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok((None, None)),
        Err(source) => return Err(io("open", &path)(source)),
    }
    // If the directory cannot be opened or locked, only the lock on the file counts.
    if let Ok(directory) = File::open(dir) {
        match lock_directory_shared(&directory) {
            Ok(()) => held.push(directory),
            Err(TryLockError::WouldBlock) => return Ok((Some(true), None)),
            Err(TryLockError::Error(_)) => {}
        }
    }
    let shared = (!held.is_empty()).then_some(SharedRoleLock { _held: held });
    Ok((Some(false), shared))
}

/// Locks the directory. Tries several times, because a command that changes the state locks the directory for an
/// instant ([`wait_for_readers`]). If the last try fails as well, a relay has locked the directory.
fn lock_directory_shared(directory: &File) -> Result<(), TryLockError> {
    for _ in 1..MAX_TRIES_BESIDE_WRITER {
        match directory.try_lock_shared() {
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(BESIDE_WRITER_INTERVAL),
            done => return done,
        }
    }
    directory.try_lock_shared()
}

/// Waits until no command reads the state file as immutable. The caller has opened the file already, so the journal
/// exists, and no other command begins to. While a relay runs, and on a file system that cannot lock directories,
/// nothing is waited for.
///
/// # Errors
/// [`Error::Locked`] if commands read the state for ten seconds.
pub(super) fn wait_for_readers(dir: &Path) -> Result<(), Error> {
    try_wait_for_readers(dir, MAX_TRIES_BESIDE_READERS)
}

fn try_wait_for_readers(dir: &Path, tries: u32) -> Result<(), Error> {
    let path = dir.join(LOCK_FILE);
    let Ok(directory) = File::open(dir) else { return Ok(()) };
    for tried in 1..=tries {
        let relay_runs = files::open_to_read(&path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if relay_runs || !matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(());
        }
        if tried < tries {
            std::thread::park_timeout(TRY_INTERVAL);
        }
    }
    Err(Error::Locked)
}

/// Locks the file; returns `false` if another process has locked it.
fn lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(io("lock", path)(source)),
    }
}

/// Locks the directory; returns `false` if another process has locked it. On a file system that cannot lock
/// directories, such as NFS, only the lock on the file counts.
fn lock_directory(directory: &File) -> bool {
    !matches!(directory.try_lock(), Err(TryLockError::WouldBlock))
}

fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_one_relay_on_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = RoleLock::take(dir.path()).unwrap();
        assert!(matches!(RoleLock::take(dir.path()), Err(Error::InUse { .. })));
        drop(first);
        RoleLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_that_was_removed_is_made_again_and_nobody_else_gets_the_role() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = RoleLock::take(dir.path()).unwrap();
        assert_eq!(first.ensure_held().unwrap(), LockFileState::Intact);
        fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(is_locked(dir.path()).unwrap(), Some(true), "the lock on the directory is still held");
        assert!(matches!(RoleLock::take(dir.path()), Err(Error::InUse { .. })));
        assert_eq!(first.ensure_held().unwrap(), LockFileState::Recreated);
        assert_eq!(first.ensure_held().unwrap(), LockFileState::Intact);
        assert_eq!(is_locked(dir.path()).unwrap(), Some(true));
        drop(first);
        assert_eq!(is_locked(dir.path()).unwrap(), Some(false));
        RoleLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_command_that_changes_the_state_waits_for_commands_that_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let wait = || try_wait_for_readers(dir.path(), 1);
        drop(RoleLock::take(dir.path()).unwrap());
        let reading = take_shared(dir.path()).unwrap();
        assert!(matches!(reading, (Some(false), Some(_))));
        assert!(matches!(wait(), Err(Error::Locked)));
        drop(reading);
        wait().unwrap();
        let directory = File::open(dir.path()).unwrap();
        directory.try_lock().unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| take_shared(dir.path()).unwrap());
            drop(directory);
            assert!(matches!(reading.join().unwrap(), (Some(false), Some(_))), "it tries again, and then reads");
        });
        let relay = RoleLock::take(dir.path()).unwrap();
        wait().expect("while a relay runs, nobody reads the file as immutable");
        drop(relay);
    }

    #[test]
    fn the_role_is_lost_if_the_lock_file_or_the_directory_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let mut first = RoleLock::take(&dir).unwrap();
        // This part of the test locks the file only, as an earlier version does.
        fs::remove_file(dir.join(LOCK_FILE)).unwrap();
        let other = File::create(dir.join(LOCK_FILE)).unwrap();
        other.lock().unwrap();
        assert!(matches!(first.ensure_held(), Err(Error::InUse { .. })));
        drop(other);
        assert_eq!(first.ensure_held().unwrap(), LockFileState::Recreated);
        fs::rename(&dir, parent.path().join("elsewhere")).unwrap();
        assert!(matches!(first.ensure_held(), Err(Error::Replaced { .. })), "the directory is gone");
        fs::create_dir(&dir).unwrap();
        assert!(matches!(first.ensure_held(), Err(Error::Replaced { .. })), "another directory is in its place");
    }
}
