//! What some tests need beside this repository: other people's programs and libraries. `.ci/run peers` installs them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Whether a test can run. If something is missing it says so and is skipped, except in CI, where it must run.
pub(crate) fn all_there(missing: &[String]) -> bool {
    if missing.is_empty() {
        return true;
    }
    let what = format!("{} missing; `.ci/run peers` installs what there is to install", missing.join(", "));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
    // Not through the macros: the output of a test that passes is not shown.
    let said = format!("\nSKIPPED a test with other programs: {what}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    false
}

/// Where a program lies.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Those of these programs that are not there.
pub(crate) fn missing_programs(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| program(name).is_none()).map(|name| (*name).to_owned()).collect()
}

/// Where the published libraries are installed: beside what cargo builds.
pub(crate) fn libraries() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_joltsms-relay")).ancestors().nth(2).unwrap().join("tools/interop")
}

/// Those of these files of the libraries that are not there.
pub(crate) fn missing_libraries(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !libraries().join(name).exists()).map(|name| (*name).to_owned()).collect()
}
