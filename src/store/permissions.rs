//! The hint about owner and mode in an error about a file that this user may not use.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How many symbolic links are followed at most. The kernel has the same limit.
const LINKS: usize = 40;

/// Returns the end of an error about `path`: the user whom this process runs as, and the owner and mode of the file.
/// The text is empty unless `why` is a missing permission.
pub(super) fn hint(path: &Path, why: ErrorKind) -> String {
    if why != ErrorKind::PermissionDenied {
        return String::new();
    }
    let uid = rustix::process::geteuid().as_raw();
    let Some((path, found)) = nearest(path, LINKS) else { return format!(" (this process runs as uid {uid})") };
    format!(
        " (this process runs as uid {uid}; {} belongs to uid {} and has mode {:04o})",
        path.display(),
        found.uid(),
        found.mode() & 0o7777
    )
}

/// Returns the file at `path`. If the file is missing or hidden, returns the nearest directory above it that can be
/// seen, because access to the file depends on this directory. A symbolic link counts as the path that it names; at
/// most `links` are followed.
fn nearest(path: &Path, links: usize) -> Option<(PathBuf, Metadata)> {
    path.ancestors().find_map(|path| match fs::metadata(path) {
        Ok(found) => Some((path.to_owned(), found)),
        Err(_) => {
            let target = fs::read_link(path).ok()?;
            nearest(&path.parent()?.join(target), links.checked_sub(1)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_the_nearest_directory_that_can_be_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("private")).unwrap();
        symlink("private/hidden", at("state")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        let found = |path: &str| nearest(&at(path), LINKS).map(|(path, _)| path);
        assert_eq!(found("private"), Some(at("private")));
        assert_eq!(found("private/missing/file"), Some(at("private")));
        assert_eq!(found("state/state.db"), Some(at("private")), "the directory above the missing target of the link");
        assert_eq!(found("loop/state.db"), Some(dir.path().to_owned()));
    }
}
