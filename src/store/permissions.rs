//! Who owns a file: for the message that the file cannot be used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The end of the sentence that something cannot be done with `path`: the user of this process, and the owner and mode
/// of the file. Empty unless `why` is a missing permission.
pub(super) fn hint(path: &Path, why: ErrorKind) -> String {
    if why != ErrorKind::PermissionDenied {
        return String::new();
    }
    let uid = rustix::process::geteuid().as_raw();
    // Whether a missing or hidden file can be used depends on the directory above it.
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    let Some((path, found)) = found else { return format!(" (the relay runs as uid {uid})") };
    format!(
        " (the relay runs as uid {uid}; {} belongs to uid {} and has mode {:04o})",
        path.display(),
        found.uid(),
        found.mode() & 0o7777
    )
}
