//! What some tests need beside this repository: root, other people's programs and libraries. `.ci/run peers` installs them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Says that a test is skipped, or a part of it, and why; in CI, where everything must run, it fails instead. `.ci/run tests`
/// tells at the end what was skipped: the harness counts it as passed.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    let test = std::thread::current().name().unwrap_or("a case of a test").to_owned();
    // Not through the macros: the output of a test that passes is not shown.
    drop(writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}"));
    let list = std::fs::OpenOptions::new().create(true).append(true).open(target().join("skipped-tests.txt"));
    // One line is one write, so that lines of several processes stay whole.
    drop(list.and_then(|mut list| list.write_all(format!("{test}: {}\n", why.replace('\n', " ")).as_bytes())));
}

/// Whether a test can run. If something is missing it says so and is skipped, except in CI, where it must run.
pub(crate) fn all_there(missing: &[String]) -> bool {
    if !missing.is_empty() {
        skip(&format!("{} missing; `.ci/run peers` installs what there is to install", missing.join(", ")));
    }
    missing.is_empty()
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
    target().join("tools/interop")
}

/// Where cargo builds.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_joltsms-relay")).ancestors().nth(2).unwrap()
}

/// Those of these files of the libraries that are not there.
pub(crate) fn missing_libraries(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !libraries().join(name).exists()).map(|name| (*name).to_owned()).collect()
}
