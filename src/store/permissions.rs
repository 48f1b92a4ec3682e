//! Whose a file is, for the message that it cannot be used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The end of a sentence about what may not be done with `path`: who wants to, and whose it is. Empty where permission is
/// not what is missing.
pub(super) fn hint(path: &Path, why: ErrorKind) -> String {
    if why != ErrorKind::PermissionDenied {
        return String::new();
    }
    let uid = rustix::process::geteuid().as_raw();
    // What is not there, or may not even be looked at, is up to the directory above.
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    let Some((path, found)) = found else { return format!(" (the relay runs as uid {uid})") };
    format!(
        " (the relay runs as uid {uid}; {} belongs to uid {} and has mode {:04o})",
        path.display(),
        found.uid(),
        found.mode() & 0o7777
    )
}
