//! Checks for the things that some tests need beside this repository: root, and other people's programs and libraries,
//! which `.ci/run peers` installs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use joltsms_relay::sinks::KNOWN_TYPES;

/// Reports that a test, or a part of a test, is skipped, and why. In CI, where everything must run, the test fails
/// instead.
///
/// The harness counts a skipped test as passed, so `.ci/run tests` lists the skipped tests at its end.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    let test = std::thread::current().name().unwrap_or("a case of a test").to_owned();
    // The harness would hide the output of the print macros in a test that passes.
    drop(writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}"));
    let list = std::fs::OpenOptions::new().create(true).append(true).open(target().join("skipped-tests.txt"));
    // Each line is one write, so that lines of several processes are not mixed.
    drop(list.and_then(|mut list| list.write_all(format!("{test}: {}\n", why.replace('\n', " ")).as_bytes())));
}

/// Whether nothing is missing that a test needs. If something is missing, the test is reported as skipped.
pub(crate) fn all_there(missing: &[String]) -> bool {
    if !missing.is_empty() {
        skip(&format!("{} missing; `.ci/run peers` installs what there is to install", missing.join(", ")));
    }
    missing.is_empty()
}

/// Whether this build has the type of sinks. A build lacks a type whose cargo feature is off.
pub(crate) fn has_type(name: &str) -> bool {
    KNOWN_TYPES.iter().any(|known| known.name() == name && known.lacking.is_none())
}

/// Returns the path of a program, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Returns the programs among `names` that are not installed.
pub(crate) fn missing_programs(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| program(name).is_none()).map(|name| (*name).to_owned()).collect()
}

/// Returns the place of the published libraries, which is beside the files that cargo builds.
pub(crate) fn libraries() -> PathBuf {
    target().join("tools/interop")
}

/// Returns the directory in which cargo builds.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_joltsms-relay")).ancestors().nth(2).unwrap()
}

/// Returns the files of the libraries among `names` that are not installed.
pub(crate) fn missing_libraries(names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !libraries().join(name).exists()).map(|name| (*name).to_owned()).collect()
}
