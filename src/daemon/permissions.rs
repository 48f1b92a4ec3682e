//! Files that only the relay's own user may read.
//!
//! What the relay makes is made so (the umask of the whole process sees to files that libraries make). What was there
//! before, copied or restored by somebody, is closed here, and a directory that others may write to is told of: whoever
//! may write to it can put another state in the place of this one.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::files;

/// Of the mode of a file, what others than its owner may do.
const OTHERS: u32 = 0o077;
/// Of the mode of a directory, what lets others replace what is in it.
const OTHERS_WRITE: u32 = 0o022;

/// Closes the files in `dir` whose names begin with one of `names`, and says what was open. What cannot be closed belongs
/// to somebody else, which is said too; it is no reason not to run.
pub(super) fn close(dir: &Path, names: &[&str]) {
    let mode_of = |found: Metadata| found.permissions().mode() & 0o7777;
    // The directory itself may be reached through a link, which has no mode of its own.
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
