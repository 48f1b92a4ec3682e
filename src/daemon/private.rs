//! Files that only the relay's own user may read.
//!
//! What the relay makes is made so (the umask of the whole process sees to files that libraries make). What was there
//! before, copied or restored by somebody, is closed here, and a directory that others may write to is told of: whoever
//! may write to it can put another state in the place of this one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Of the mode of a file, what others than its owner may do.
const OTHERS: u32 = 0o077;
/// Of the mode of a directory, what lets others replace what is in it.
const OTHERS_WRITE: u32 = 0o022;

/// Closes the files in `dir` whose names begin with one of `names`, and says what was open. What cannot be closed belongs
/// to somebody else, which is said too; it is no reason not to run.
pub(super) fn close(dir: &Path, names: &[&str]) {
    let mode_of = |path: &Path| fs::symlink_metadata(path).map(|found| found.permissions().mode() & 0o7777);
    match mode_of(dir) {
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
        let Ok(mode) = mode_of(&path) else { continue };
        if mode & OTHERS == 0 || !file.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let error = fs::set_permissions(&path, Permissions::from_mode(mode & !OTHERS)).err();
        tracing::warn!(
            path = %path.display(),
            mode = format!("{mode:04o}"),
            error = error.map(|error| error.to_string()),
            "the file was open to other users; it is closed to them now, unless an error says why not"
        );
    }
}
