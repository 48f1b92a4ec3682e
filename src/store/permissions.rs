//! The owner and the mode of a file, for messages that the file cannot be used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns the end of an error message about `path`: the user of this process, and the owner and mode of the file.
/// Returns an empty text unless `why` is a missing permission.
pub(super) fn hint(path: &Path, why: ErrorKind) -> String {
    if why != ErrorKind::PermissionDenied {
        return String::new();
    }
    let uid = rustix::process::geteuid().as_raw();
    // If the file is missing or hidden, the nearest directory above the file decides whether it can be used.
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    let Some((path, found)) = found else { return format!(" (the relay runs as uid {uid})") };
    format!(
        " (the relay runs as uid {uid}; {} belongs to uid {} and has mode {:04o})",
        path.display(),
        found.uid(),
        found.mode() & 0o7777
    )
}
