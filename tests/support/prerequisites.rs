//! What some tests need beside this repository: root, and other people's programs and libraries, which `.ci/run peers`
//! installs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Says that a test, or a part of it, is skipped, and why. In CI, where everything must run, the test fails instead.
///
/// The harness counts a skipped test as passed, so `.ci/run tests` lists the skipped ones at its end.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    let test = std::thread::current().name().unwrap_or("a case of a test").to_owned();
    // The harness would hide what the macros print in a test that passes.
    drop(writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}"));
    let list = std::fs::OpenOptions::new().create(true).append(true).open(target().join("skipped-tests.txt"));
    // A line is one write, so that lines of several processes stay whole.
    drop(list.and_then(|mut list| list.write_all(format!("{test}: {}\n", why.replace('\n', " ")).as_bytes())));
}

/// Whether nothing is missing that a test needs. If something is, the test is skipped.
pub(crate) fn all_there(missing: &[String]) -> bool {
    if !missing.is_empty() {
        skip(&format!("{} missing; `.ci/run peers` installs what there is to install", missing.join(", ")));
    }
    missing.is_empty()
}

/// The path of a program, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Those of these programs that are not installed.
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

/// Those of these files of the libraries that are not installed.
pub(crate) fn missing_libraries(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !libraries().join(name).exists()).map(|name| (*name).to_owned()).collect()
}
