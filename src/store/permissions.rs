//! The hint about owner and mode in an error about a file that this user may not use.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns the end of an error about `path`: the user whom this process runs as, and the owner and mode of the file. The
/// text is empty unless `why` is a missing permission.
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
