//! The role of the relay on a state directory: one process has it.
//!
//! Two things are locked, the file `relay.lock` and the directory itself. The file is what any user may look at, and what
//! earlier versions know. A file can be removed, and whoever then makes another would have the role a second time; the
//! directory cannot go without the state. (systemd-tmpfiles leaves a directory alone that is locked.)
//!
//! The system gives both locks up when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::spool::make_dir;
use crate::files;

/// Proof of being the only relay on a state directory; given up when dropped.
#[derive(Debug)]
pub struct RoleLock {
    dir: PathBuf,
    file: File,
    directory: File,
}

/// What became of a role that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is as it was.
    Held,
    /// `relay.lock` was removed, and was made again.
    MadeAgain,
}

/// While this is held no relay can take the role; others may look at the state as well.
#[derive(Debug)]
pub(super) struct SharedRole {
    _held: Vec<File>,
}

/// How often it is tried to take the role: while another relay has it, which may be ending, and while commands look at the
/// state. Most take a moment; `state export` checks all of it first.
const TRIES: u32 = 20;
const TRIES_BESIDE_COMMANDS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(50);

const NAME: &str = "relay.lock";

impl RoleLock {
    /// Takes the role of the relay on `dir`, which is made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it; [`Error::Io`] otherwise.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        let path = dir.join(NAME);
        let file = files::open_or_make(&path).map_err(io("open", &path))?;
        let directory = File::open(dir).map_err(io("open", dir))?;
        for tried in 1.. {
            if lock(&file, &path)? && lock_directory(&directory) {
                return Ok(Self { dir: dir.to_owned(), file, directory });
            }
            // Of two that begin at the same moment neither keeps one lock and waits for the other.
            file.unlock().map_err(io("unlock", &path))?;
            let is_looked_at = matches!(probe(dir)?, (Some(false), _));
            if tried == TRIES && is_looked_at {
                tracing::info!("waiting for a command that reads the state");
            }
            if tried >= if is_looked_at { TRIES_BESIDE_COMMANDS } else { TRIES } {
                break;
            }
            std::thread::park_timeout(PAUSE);
        }
        Err(Error::InUse { dir: dir.to_owned() })
    }

    /// Looks whether the role is still what it was. A `relay.lock` that was removed is made again, so that other users and
    /// earlier versions see that a relay runs.
    ///
    /// # Errors
    /// [`Error::Replaced`] if the directory is another one now, and [`Error::InUse`] if another process has made the file and
    /// locked it: then the role is lost. Others may pass.
    pub fn look(&mut self) -> Result<Role, Error> {
        let path = self.dir.join(NAME);
        if !files::is_at(&self.directory, &self.dir).map_err(io("look at", &self.dir))? {
            return Err(Error::Replaced { dir: self.dir.clone() });
        }
        if files::is_at(&self.file, &path).map_err(io("look at", &path))? {
            return Ok(Role::Held);
        }
        let file = files::open_or_make(&path).map_err(io("open", &path))?;
        if lock(&file, &path)? {
            self.file = file;
            return Ok(Role::MadeAgain);
        }
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { dir: self.dir.clone() }),
            // A command has looked at it in this very moment.
            _ => Ok(Role::Held),
        }
    }
}

/// Whether a relay runs on the state in `dir`; `None` = this user may not know.
///
/// # Errors
/// [`Error::Io`]
pub fn is_running(dir: &Path) -> Result<Option<bool>, Error> {
    probe(dir).map(|(running, _)| running)
}

/// Whether a relay has the role; if none has, the role, shared.
pub(super) fn probe(dir: &Path) -> Result<(Option<bool>, Option<SharedRole>), Error> {
    let path = dir.join(NAME);
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
    // Where it cannot be opened or locked, the file alone counts.
    if let Ok(directory) = File::open(dir) {
        match directory.try_lock_shared() {
            Ok(()) => held.push(directory),
            Err(TryLockError::WouldBlock) => return Ok((Some(true), None)),
            Err(TryLockError::Error(_)) => {}
        }
    }
    let shared = (!held.is_empty()).then_some(SharedRole { _held: held });
    Ok((Some(false), shared))
}

/// Returns whether nobody else has it.
fn lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(io("lock", path)(source)),
    }
}

/// Returns whether nobody else has it. A file system that locks no directories (NFS) leaves the role to the file.
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
    fn a_lock_that_was_removed_makes_no_second_owner_and_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = RoleLock::take(dir.path()).unwrap();
        assert_eq!(first.look().unwrap(), Role::Held);
        fs::remove_file(dir.path().join(NAME)).unwrap();
        assert_eq!(is_running(dir.path()).unwrap(), Some(true), "it can still be told");
        assert!(matches!(RoleLock::take(dir.path()), Err(Error::InUse { .. })));
        assert_eq!(first.look().unwrap(), Role::MadeAgain);
        assert_eq!(first.look().unwrap(), Role::Held);
        assert_eq!(is_running(dir.path()).unwrap(), Some(true));
        drop(first);
        assert_eq!(is_running(dir.path()).unwrap(), Some(false));
        RoleLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_role_that_somebody_else_has_is_lost() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let mut first = RoleLock::take(&dir).unwrap();
        // As an earlier version does it, which knows the file only.
        fs::remove_file(dir.join(NAME)).unwrap();
        let other = File::create(dir.join(NAME)).unwrap();
        other.lock().unwrap();
        assert!(matches!(first.look(), Err(Error::InUse { .. })));
        drop(other);
        assert_eq!(first.look().unwrap(), Role::MadeAgain);
        fs::rename(&dir, parent.path().join("elsewhere")).unwrap();
        assert!(matches!(first.look(), Err(Error::Replaced { .. })), "it is gone");
        fs::create_dir(&dir).unwrap();
        assert!(matches!(first.look(), Err(Error::Replaced { .. })), "it is another one");
    }
}
