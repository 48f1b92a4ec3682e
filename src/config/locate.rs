//! The places where files are looked for: the configuration, the state and the logs.
//!
//! Invariant: no file is looked for in the current directory. Otherwise another user who can write to that directory
//! could make the relay send its messages elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::sources::Sources;
use crate::domain::shell_word;
use crate::files;
use crate::settings::{Complaints, Origin};

/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "JOLTSMS_RELAY_CONFIG";

/// The name of the relay's own directory below `/etc`, `~/.config` and the like.
const OWN: &str = "joltsms-relay";

/// The name of the configuration file in its directory.
const FILE: &str = "config.toml";

/// The remedy if permission is missing.
const FOR_OTHERS: &str =
    "run the command with sudo or as a user who may read the file, or name another file with --config";

/// The largest configuration file in bytes; no configuration needs more. Reading stops there, so a path that names an
/// endless device does not fill the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// The configuration file and its text. If a flag or a variable names a file, this file is read. Otherwise the user's
/// file is read if it exists, and if not, the system's file.
pub(super) fn config_file(sources: &Sources, report: &mut Complaints) -> Option<(PathBuf, String)> {
    if let Some((path, origin)) = named(sources) {
        if path.as_os_str().is_empty() {
            report.error(&origin, "is empty".to_owned(), "name a file, or leave it out");
            return None;
        }
        return match read(&path) {
            Ok(text) => Some((path, text)),
            Err(reason) => {
                report.set_incomplete();
                let help = match reason.kind() {
                    Some(ErrorKind::PermissionDenied) => FOR_OTHERS.to_owned(),
                    Some(ErrorKind::NotFound) => {
                        format!("`joltsms-relay init {}` writes one with comments", shell_word(&path.to_string_lossy()))
                    }
                    _ => String::new(),
                };
                report.error(&origin, format!("{}: {reason}", path.display()), &help);
                None
            }
        };
    }
    for path in usual_places(sources) {
        let reason = match read(&path) {
            Ok(text) => return Some((path, text)),
            Err(reason) => reason,
        };
        match reason.kind() {
            Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            // A home directory that is closed to this process (systemd's ProtectHome) holds no file for this process.
            Some(_) if fs::metadata(&path).is_err() && !path.starts_with(&sources.etc) => {}
            // The file exists, but this process cannot read it. Without the file, messages could go to the wrong place.
            kind => {
                let is_forbidden = kind == Some(ErrorKind::PermissionDenied);
                let help = if is_forbidden { FOR_OTHERS } else { "make it readable, or name another file" };
                report.file_error(path, reason.to_string(), help);
                return None;
            }
        }
    }
    None
}

/// The configuration file that a flag or a variable names.
fn named(sources: &Sources) -> Option<(PathBuf, Origin)> {
    let by_flag = sources.flags.config.clone().map(|path| (path, Origin::Flag("--config")));
    let by_variable = sources.env.get(OsStr::new(FILE_VARIABLE)).map(PathBuf::from);
    by_flag.or_else(|| Some((by_variable?, Origin::Variable(FILE_VARIABLE.to_owned()))))
}

/// The file that `init` makes: the named file, or the file at the first of the usual places if none is named.
pub(super) fn new_config_file(sources: &Sources) -> PathBuf {
    let variable = sources.variable(FILE_VARIABLE).map(PathBuf::from);
    let named = sources.flags.config.clone().or(variable);
    named.or_else(|| usual_places(sources).next()).unwrap_or_default()
}

/// Returns the system's configuration file if it exists and is not read, because the user's file was found first.
/// `file` is the file that is read. `None` also if a flag or a variable named that file.
pub(super) fn passed_over(sources: &Sources, file: Option<&Path>) -> Option<PathBuf> {
    let system = sources.etc.join(OWN).join(FILE);
    let is_other = named(sources).is_none() && file.is_some_and(|file| file != system);
    (is_other && system.exists()).then_some(system)
}

/// The places where the configuration file is looked for if no file is named: first the user's place, then the
/// system's.
fn usual_places(sources: &Sources) -> impl Iterator<Item = PathBuf> {
    let user = user_directory(sources, "XDG_CONFIG_HOME", ".config");
    user.into_iter().chain([sources.etc.join(OWN)]).map(|directory| directory.join(FILE))
}

/// The state directory when no key and no flag names one: the directory that systemd has made (`$STATE_DIRECTORY`), or
/// else a usual place. `None` if not even the home directory is known.
///
/// A configuration file below `/etc` belongs to a service, so the state directory is that of the service. For example,
/// `/etc/joltsms-relay/shop.toml` belongs to `joltsms-relay@shop.service`, whose state directory is
/// `/var/lib/joltsms-relay-shop`.
pub(super) fn state_dir(sources: &Sources, file: Option<&Path>) -> Option<PathBuf> {
    if let Some(directory) = first_of_list(sources, "STATE_DIRECTORY") {
        return Some(directory);
    }
    match file.and_then(|file| service_name(&sources.etc, file)) {
        Some(name) => Some(Path::new("/var/lib").join(name)),
        None => user_directory(sources, "XDG_STATE_HOME", ".local/state"),
    }
}

/// If `file` is the configuration file of a service, returns the name that the directories of this service have, such
/// as `joltsms-relay-shop`. `None` if the file is not below `etc`: then it is not the file of a service.
pub fn service_name(etc: &Path, file: &Path) -> Option<OsString> {
    // A relative path is completed, because the command may run in the file's own directory.
    let file = std::path::absolute(file).ok().filter(|file| file.starts_with(etc))?;
    let is_instance = file.parent() == Some(&etc.join(OWN)) && file.file_name() != Some(OsStr::new(FILE));
    let mut name = OsString::from(OWN);
    if let Some(instance) = file.file_stem().filter(|_| is_instance) {
        name.push("-");
        name.push(instance);
    }
    Some(name)
}

/// The log directory if no key names one: the directory that systemd has made, if it has made one.
pub(super) fn log_dir(sources: &Sources) -> Option<PathBuf> {
    first_of_list(sources, "LOGS_DIRECTORY")
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum UnusableFile {
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
    #[error("is longer than 1 MiB, so it is no configuration")]
    TooLong,
    #[error("line {0} is not UTF-8")]
    NotText(usize),
}

impl UnusableFile {
    /// The error of the system, if that is the reason.
    fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Io(error) => Some(error.kind()),
            Self::TooLong | Self::NotText(_) => None,
        }
    }
}

fn read(path: &Path) -> Result<String, UnusableFile> {
    let mut bytes = Vec::new();
    let file = files::open_configured(path).map_err(UnusableFile::Io)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(UnusableFile::Io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(UnusableFile::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        UnusableFile::NotText(error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// Returns the first directory of a list. systemd separates directories by `:`, and the first one is the relay's.
fn first_of_list(sources: &Sources, name: &str) -> Option<PathBuf> {
    std::env::split_paths(sources.variable(name)?).next().filter(|path| !path.as_os_str().is_empty())
}

/// A directory of the user by the XDG rules: a variable that is not an absolute path counts as not set.
fn user_directory(sources: &Sources, variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| sources.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))?;
    Some(base.join(OWN))
}
