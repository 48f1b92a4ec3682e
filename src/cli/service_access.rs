//! Whether the user of a service may use the files that the configuration names.
//!
//! Root runs `check` for a service, and root may use every file. The relay of the service runs as another user. So this
//! module looks at the owners and the modes of the files, instead of trying to open them.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, FileUsage, NamedFile, Problem, service_name};

/// The bits that allow reading, writing and executing, as in the last digit of a mode such as 0644. This digit counts
/// for users who are neither the owner nor in the group of the file. [`allows`] moves the other digits to its place.
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const EXECUTE: u32 = 0o1;

/// Directories that are closed to all users except root. systemd keeps the directories of services with `DynamicUser`
/// there, and shows each service its own.
const PRIVATE: [&str; 3] = ["/var/lib/private", "/var/log/private", "/var/cache/private"];

/// The user as whom the relay of a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceUser {
    /// The uid and the gid that own the state: the relay has run as this user before.
    OwnerOfState(u32, u32),
    /// A user who owns no file. systemd makes such a user when it starts a unit with `DynamicUser`.
    OwnerOfNothing,
}

/// Displays as a description, such as "uid 991, the owner of the state".
impl fmt::Display for ServiceUser {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerOfState(uid, _) => write!(out, "uid {uid}, the owner of the state"),
            Self::OwnerOfNothing => out.write_str("a user other than root who owns no files"),
        }
    }
}

/// What keeps a user from using a file.
#[derive(Debug, PartialEq, Eq)]
struct Obstacle {
    /// The file itself, or a directory on the way to the file.
    path: PathBuf,
    mode: u32,
}

/// Returns the user as whom the service of this configuration runs. `None` in two cases: the configuration file is not
/// below `etc`, so it belongs to no service; or the state belongs to root, so the relay runs as root.
pub(super) fn service_user(config: &Config, etc: &Path) -> Option<ServiceUser> {
    service_name(etc, config.file.as_deref()?)?;
    match fs::metadata(&config.state.dir) {
        Ok(state) if state.uid() == 0 => None,
        Ok(state) => Some(ServiceUser::OwnerOfState(state.uid(), state.gid())),
        Err(_) => Some(ServiceUser::OwnerOfNothing),
    }
}

/// Returns a warning for each file that this user may not use although the relay needs it. Files in the directories
/// that systemd makes for the service are left out.
pub(super) fn closed_files(config: &Config, etc: &Path, user: ServiceUser) -> Vec<Problem> {
    let Some(file) = &config.file else { return Vec::new() };
    let Some(name) = service_name(etc, file) else { return Vec::new() };
    let own = ["/var/lib", "/var/log"].map(|parent| Path::new(parent).join(&name));
    let itself = NamedFile { key: String::new(), path: file.clone(), usage: FileUsage::Read };
    let named = std::iter::once(&itself).chain(&config.source.named_files);
    let is_own = |named: &NamedFile| own.iter().any(|directory| named.path.starts_with(directory));
    let closed = named.filter(|named| !is_own(named));
    closed.filter_map(|named| Some(problem(file, named, &obstacle(named, user)?, user, &own[0]))).collect()
}

/// Describes that a user may not use a file. `own`: the directory to which the service may write.
fn problem(file: &Path, named: &NamedFile, obstacle: &Obstacle, user: ServiceUser, own: &Path) -> Problem {
    let (verb, help) = match named.usage {
        FileUsage::Reference => {
            let name = named.path.file_name().unwrap_or_default().to_string_lossy();
            let path = named.path.display();
            let help = format!(
                "write {{ credential = \"{name}\" }}, and LoadCredential={name}:{path} in the unit (`systemctl edit`)"
            );
            ("read", help)
        }
        FileUsage::Read if named.key.is_empty() => {
            ("read", "chmod 644 lets every user read it; secrets do not belong into it".to_owned())
        }
        FileUsage::Read => ("read", "let that user read it, for example with chmod 644".to_owned()),
        FileUsage::Execute => ("run", "let that user run it, for example with chmod 755".to_owned()),
        FileUsage::Write => (
            "write to",
            format!(
                "choose a path below {}, or let systemd make a directory with StateDirectory= in the unit",
                own.display()
            ),
        ),
    };
    let key = if named.key.is_empty() { String::new() } else { format!("`{}`: ", named.key) };
    let message = format!(
        "{key}the service runs as {user}, and that user may not {verb} {} ({} has mode {:04o})",
        named.path.display(),
        obstacle.path.display(),
        obstacle.mode
    );
    Problem::of_file(file.to_owned(), message, &help)
}

/// Returns the obstacle that keeps a user from using a file; `None` if there is no obstacle, or if the file cannot be
/// looked at.
fn obstacle(named: &NamedFile, user: ServiceUser) -> Option<Obstacle> {
    let path = std::path::absolute(&named.path).ok()?;
    let (there, found) = nearest(&path).ok()?;
    let is_there = there == path;
    let needed = match named.usage {
        FileUsage::Reference | FileUsage::Read => READ,
        FileUsage::Execute => EXECUTE,
        // A new file needs a directory that can be written to and looked into.
        FileUsage::Write if !is_there || found.is_dir() => WRITE | EXECUTE,
        FileUsage::Write => WRITE,
    };
    // Links are followed: the directories above the link are checked, and those above its target.
    let real = there.canonicalize().ok()?;
    let closed = |path: &Path, found: &Metadata, needed: u32| {
        let is_closed = !allows(user, (found.uid(), found.gid()), found.mode(), needed);
        is_closed.then(|| Obstacle { path: path.to_owned(), mode: found.mode() & 0o7777 })
    };
    let is_private = |path: &Path| PRIVATE.iter().any(|private| path == Path::new(private));
    let above =
        |path| Path::ancestors(path).skip(1).filter(|path| !is_private(path)).collect::<Vec<_>>().into_iter().rev();
    let mut ways = above(&there).chain(above(&real));
    let on_the_way = ways.find_map(|above| closed(above, &fs::metadata(above).ok()?, EXECUTE));
    on_the_way.or_else(|| closed(&there, &found, needed))
}

/// Returns the path itself if it exists, and otherwise the nearest directory above it that exists.
fn nearest(path: &Path) -> io::Result<(PathBuf, Metadata)> {
    let mut missing = Err(io::ErrorKind::NotFound.into());
    for path in path.ancestors() {
        match fs::metadata(path) {
            Ok(found) => return Ok((path.to_owned(), found)),
            Err(error) => missing = Err(error),
        }
    }
    missing
}

/// Whether a mode lets a user do what the bits `needed` stand for. `owner`: the owner and the group of the file.
fn allows(user: ServiceUser, owner: (u32, u32), mode: u32, needed: u32) -> bool {
    let of_user = match user {
        ServiceUser::OwnerOfState(uid, _) if uid == owner.0 => mode >> 6,
        ServiceUser::OwnerOfState(_, gid) if gid == owner.1 => mode >> 3,
        ServiceUser::OwnerOfState(..) | ServiceUser::OwnerOfNothing => mode,
    };
    of_user & needed == needed
}

#[cfg(test)]
mod tests;
