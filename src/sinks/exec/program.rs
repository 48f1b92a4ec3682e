//! Finds the program of a sink when the configuration is read. So a program that cannot be run is an error of the
//! configuration, and not of each message.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The directories in which a program is looked for if the environment has no `PATH`.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Looks for a program in the directories of `path`, as a shell does, but not in relative directories. `name` contains
/// no `/`.
///
/// # Errors
/// The reason why the program cannot be used, in words that follow the name of the key.
pub(super) fn find(name: &str, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let path = path.unwrap_or(OsStr::new(USUAL_PATH));
    let mut places = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    places
        .find_map(|directory| Some(directory.join(name)).filter(|place| check(place).is_ok()))
        .ok_or_else(|| "names a program that is in no directory of PATH".to_owned())
}

/// Checks that a file is a program that this user may run.
///
/// # Errors
/// As for [`find`].
pub(super) fn check(program: &Path) -> Result<(), String> {
    match program.metadata() {
        Err(error) => return Err(format!("names a program that cannot be found: {error}")),
        Ok(found) if !found.is_file() => return Err("names no program: it is not a regular file".to_owned()),
        Ok(_) => {}
    }
    access(program, Access::EXEC_OK).map_err(|_| "names a file that is not executable".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        let (plain, program) = (file("1/on-sms", 0o644), file("2/on-sms", 0o755));
        let path = format!("relative:{}:{}", dir.path().join("1").display(), dir.path().join("2").display());
        assert_eq!(find("on-sms", Some(OsStr::new(&path))).unwrap(), program);
        assert_eq!(find("on-sms", None).unwrap_err(), "names a program that is in no directory of PATH");
        assert!(find("sh", None).is_ok());
        assert_eq!(check(&plain).unwrap_err(), "names a file that is not executable");
        assert_eq!(check(dir.path()).unwrap_err(), "names no program: it is not a regular file");
        let missing = check(&dir.path().join("missing")).unwrap_err();
        assert!(missing.starts_with("names a program that cannot be found: No such file"), "{missing}");
    }
}
