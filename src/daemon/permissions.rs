//! Closes the relay's files to other users.
//!
//! The relay makes files for its own user only, and the umask of the process does the same for files that libraries
//! make. This module closes files that existed before, for example files restored from a backup. The module warns about
//! a directory to which other users may write, since these users could replace the state.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::files;

/// The mode bits of a file for users other than its owner.
const OTHERS: u32 = 0o077;
/// The mode bits of a directory that let other users replace its files.
const OTHERS_WRITE: u32 = 0o022;

/// Closes the files in `dir` whose names begin with one of `names` to other users, and logs which files were open. A
/// file that cannot be closed belongs to another user. This is logged, and the relay runs nevertheless.
pub(super) fn close(dir: &Path, names: &[&str]) {
    let mode_of = |found: Metadata| found.permissions().mode() & 0o7777;
    // `dir` may be a symbolic link, which has no mode of its own; `metadata` follows the link.
    match fs::metadata(dir).map(mode_of) {
        Ok(mode) if mode & OTHERS_WRITE != 0 => tracing::warn!(
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
        if mode & OTHERS == 0 || !file.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let closed =
            files::open_to_read(&path).and_then(|file| file.set_permissions(Permissions::from_mode(mode & !OTHERS)));
        let error = closed.err();
        tracing::warn!(
            path = %path.display(),
            mode = format!("{mode:04o}"),
            error = error.map(|error| error.to_string()),
            "the file was open to other users; it is closed to them now, unless an error says why not"
        );
    }
}
