//! Warns about a state in the file system of a container. That file system is removed with the container.
//!
//! The state is in that file system if the nearest mount point above the state directory is the root of the container.

use std::fs;
use std::path::{Path, PathBuf};

use super::log_sentences::STATE_ON_NO_VOLUME;

/// Files by which Docker, Podman and Kubernetes mark a container.
const MARKS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/secrets/kubernetes.io"];

/// Logs a warning if the state directory `dir` would be lost with the container in which this process runs. There is no
/// warning if `dir` is below the directory for temporary files.
pub(super) fn warn_without(dir: &Path) {
    let in_container = std::process::id() == 1 || MARKS.iter().any(|mark| Path::new(mark).exists());
    let (Ok(dir), Ok(mounts)) = (dir.canonicalize(), fs::read_to_string("/proc/self/mountinfo")) else { return };
    let is_temporary = std::env::temp_dir().canonicalize().is_ok_and(|temporary| dir.starts_with(temporary));
    if in_container && !is_temporary && mount_of(&dir, &mounts).is_some_and(|mount| mount == Path::new("/")) {
        tracing::warn!(path = %dir.display(), "{STATE_ON_NO_VOLUME}");
    }
}

/// Returns the mount point of the file system that `path` is on. `mounts` is the text of `/proc/self/mountinfo`; `path`
/// is absolute and contains no symbolic links.
fn mount_of(path: &Path, mounts: &str) -> Option<PathBuf> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    points.filter(|point| path.starts_with(point)).max_by_key(|point| point.components().count())
}

/// Returns the real path for a path in `mountinfo`. In that file the kernel writes spaces, tabs, line breaks and `\` as
/// `\` with three octal digits.
fn unescaped(point: &str) -> PathBuf {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(point.to_owned(), |path, (written, meant)| path.replace(written, meant)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_above_a_directory_is_its_mount() {
        let mounts = "\
            574 492 0:51 / / rw,relatime master:250 - overlay overlay rw,lowerdir=/l\n\
            575 574 0:54 / /proc rw,nosuid - proc proc rw\n\
            580 574 254:1 /volumes/v/_data /var/lib/joltsms-relay rw,relatime - ext4 /dev/vda rw\n\
            581 574 254:1 /x /var/lib/a\\040b\\134c rw - ext4 /dev/vda rw\n";
        let cases = [
            ("/var/lib/joltsms-relay", "/var/lib/joltsms-relay"),
            ("/var/lib/joltsms-relay/shop", "/var/lib/joltsms-relay"),
            ("/var/lib/joltsms-relay-2", "/"),
            ("/var/lib/other", "/"),
            ("/var/lib/a b\\c/d", "/var/lib/a b\\c"),
        ];
        for (path, mount) in cases {
            assert_eq!(mount_of(Path::new(path), mounts), Some(mount.into()), "{path}");
        }
        assert_eq!(mount_of(Path::new("/x"), ""), None);
    }
}
