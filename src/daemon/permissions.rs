//! Closes the relay's files to other users, and tells an operator what to do if the relay's user may not use the state.
//!
//! Only the relay's own user may read the files that the relay makes; the umask of the process ensures this also for
//! files that libraries make. This module closes files that were there before the relay started, for example files from
//! a backup. It warns about a directory to which other users may write, since these users could replace the state.
//!
//! Sometimes a group shares the directory on purpose. Then its members do not count as other users. For example,
//! container platforms run the relay as a user that owns no files, and give this user access to the state through a
//! group.

use std::fs::{self, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::{Gid, getegid, geteuid, getgroups};

use crate::files;

/// The mode bits of a file for its group and for all others.
const GROUP_AND_OTHERS: u32 = 0o077;
/// The mode bits of a file for those who are neither its owner nor in its group.
const OTHERS: u32 = 0o007;
/// The mode bits of a directory that let users other than its owner replace its files.
const WRITE: u32 = 0o022;
/// The mode bit that lets the group of a directory write to it.
const GROUP_WRITE: u32 = 0o020;
/// The mode bit by which new files in a directory belong to the group of the directory.
const SET_GROUP: u32 = 0o2000;

/// Closes files to other users: the files in `dir` whose names begin with one of `names`. Logs which files were open.
/// If a file cannot be closed, for example because it belongs to another user, the relay logs this and goes on.
pub(super) fn close(dir: &Path, names: &[&str]) {
    let mode_of = |found: Metadata| found.permissions().mode() & 0o7777;
    // `dir` may be a symbolic link, which has no mode of its own; `metadata` follows the link.
    let found = fs::metadata(dir);
    let is_shared = found.as_ref().is_ok_and(|found| is_shared_on_purpose(found.gid(), found.mode(), &groups()));
    let others = if is_shared { OTHERS } else { GROUP_AND_OTHERS };
    match found.map(mode_of) {
        Ok(mode) if mode & others & WRITE != 0 => tracing::warn!(
            path = %dir.display(),
            mode = format!("{mode:04o}"),
            "other users may write to the directory, and replace what is in it; chmod 700 would close it"
        ),
        _ => {}
    }
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    for file in files.filter(|file| names.iter().any(|name| file.file_name().to_string_lossy().starts_with(name))) {
        let path = file.path();
        let Ok(mode) = fs::symlink_metadata(&path).map(mode_of) else { continue };
        if mode & others == 0 || !file.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let closed =
            files::open_to_read(&path).and_then(|file| file.set_permissions(Permissions::from_mode(mode & !others)));
        let error = closed.err();
        tracing::warn!(
            path = %path.display(),
            mode = format!("{mode:04o}"),
            error = error.map(|error| error.to_string()),
            "the file was open to other users; it is closed to them now, unless an error says why not"
        );
    }
}

/// Whether a directory of the group `gid` with this mode is shared on purpose. `groups` are the groups of this process.
/// A directory to which all users may write is not shared on purpose. Two cases of sharing on purpose are known:
///
/// - OpenShift runs each container as a user of its own, in group 0. Only root and such containers are in group 0.
/// - Kubernetes gives a volume to the group `fsGroup`, of which the relay is a member. New files belong to this group,
///   and at each start the group gets the right to write to all files.
fn is_shared_on_purpose(gid: u32, mode: u32, groups: &[u32]) -> bool {
    mode & WRITE == GROUP_WRITE && (gid == 0 || (mode & SET_GROUP != 0 && groups.contains(&gid)))
}

/// The groups of this process.
fn groups() -> Vec<u32> {
    let others = getgroups().unwrap_or_default();
    others.into_iter().chain([getegid()]).map(Gid::as_raw).collect()
}

/// The owner of a file or directory that this process may not use.
enum PathOwner {
    /// The file or directory belongs to this uid.
    Owner(u32),
    /// The file or directory is missing.
    Missing,
}

/// Returns advice for an operator if this process may not use `path`, which is the state directory `dir` or a file in
/// it. `why`: the kind of the error. `None`: no advice is known for this error.
pub(super) fn remedy(dir: &Path, path: &Path, why: ErrorKind) -> Option<String> {
    let found = match fs::metadata(path).or_else(|_| fs::metadata(dir)) {
        Ok(found) => PathOwner::Owner(found.uid()),
        Err(error) if error.kind() == ErrorKind::NotFound => PathOwner::Missing,
        Err(_) => return None,
    };
    remedy_for(&dir.display().to_string(), why, &found, geteuid().as_raw(), getegid().as_raw())
}

fn remedy_for(dir: &str, why: ErrorKind, found: &PathOwner, uid: u32, gid: u32) -> Option<String> {
    match (why, found) {
        (ErrorKind::ReadOnlyFilesystem, _) => {
            Some(format!("mount a volume at {dir}, or choose another directory with state.dir"))
        }
        (ErrorKind::PermissionDenied, PathOwner::Missing) => {
            Some(format!("make the directory, as root: install -d -m 0700 -o {uid} -g {gid} {dir}"))
        }
        (ErrorKind::PermissionDenied, PathOwner::Owner(owner)) if *owner != uid => Some(format!(
            "run the relay as uid {owner}, or give the state to uid {uid}, as root: chown -R {uid}:{gid} {dir}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_a_directory_on_purpose_in_two_ways() {
        let cases = [
            ("the image", 0, 0o770, true),
            ("all users", 0, 0o777, false),
            ("group 0 with nothing to write", 0, 0o750, false),
            ("fsGroup", 2000, 0o2775, true),
            ("fsGroup of others", 3000, 0o2775, false),
            ("a group that new files do not belong to", 2000, 0o775, false),
            ("only the owner", 2000, 0o2700, false),
        ];
        for (name, gid, mode, expected) in cases {
            assert_eq!(is_shared_on_purpose(gid, mode, &[65532, 2000]), expected, "{name}");
        }
    }

    #[test]
    fn the_remedy_depends_on_the_error_and_on_the_owner() {
        let remedy = |why, found| remedy_for("/state", why, &found, 12345, 7);
        assert_eq!(
            remedy(ErrorKind::PermissionDenied, PathOwner::Owner(65532)).unwrap(),
            "run the relay as uid 65532, or give the state to uid 12345, as root: chown -R 12345:7 /state"
        );
        assert_eq!(
            remedy(ErrorKind::PermissionDenied, PathOwner::Missing).unwrap(),
            "make the directory, as root: install -d -m 0700 -o 12345 -g 7 /state"
        );
        assert_eq!(
            remedy(ErrorKind::ReadOnlyFilesystem, PathOwner::Missing).unwrap(),
            "mount a volume at /state, or choose another directory with state.dir"
        );
        assert_eq!(remedy(ErrorKind::PermissionDenied, PathOwner::Owner(12345)), None, "the process is the owner");
        assert_eq!(remedy(ErrorKind::StorageFull, PathOwner::Owner(65532)), None);
    }
}
