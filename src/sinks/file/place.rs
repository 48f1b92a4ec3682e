//! Checks whether a file can be written at a path, without writing.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, access};

/// Returns what is at `path`, in words. The error is the reason why this process's user cannot write a file there.
pub(super) fn look(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(format!("{shown} is no regular file")),
        Ok(_) => {
            let writable = access(path, Access::WRITE_OK);
            return writable
                .map(|()| format!("{shown} is there and can be written"))
                .map_err(|error| format!("{shown} cannot be written: {}", std::io::Error::from(error)));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{shown} cannot be looked at: {error}")),
    }
    // The sink makes the directories that are missing. So the nearest directory that exists must allow that. A relative
    // path begins in the working directory.
    let here = Path::new(".");
    let above = path.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { here } else { above });
    let there = above.into_iter().find(|above| above.exists()).unwrap_or(here);
    if !there.is_dir() {
        return Err(format!("{} is no directory", there.display()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK)
        .map(|()| format!("{shown} is not there yet; the first message makes it"))
        .map_err(|error| format!("nothing can be made in {}: {}", there.display(), std::io::Error::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_looked_at_without_writing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let long = "x".repeat(300);
        for (name, expected) in [
            ("file", Ok("is there and can be written")),
            ("new", Ok("is not there yet")),
            ("a/b/new", Ok("is not there yet")),
            ("", Err("is no regular file")),
            ("link", Err("is no regular file")),
            ("file/new", Err("cannot be looked at")),
            (&long, Err("cannot be looked at")),
        ] {
            match (look(&at(name)), expected) {
                (Ok(said), Ok(words)) | (Err(said), Err(words)) => assert!(said.contains(words), "{name}: {said}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was made");
    }
}
