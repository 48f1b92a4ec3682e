//! The sources of secrets: an environment variable, a file, or a systemd credential.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Secret;
use crate::files;

/// The environment of the process as a plain value. Only the start of the program reads the environment itself.
pub type Environment = BTreeMap<OsString, OsString>;

/// The variable with which systemd names the directory of the credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The largest secret in bytes. No real secret is longer, and a device or a wrong path must not fill the memory.
const MAX_BYTES: u64 = 64 * 1024;

/// The source of a secret: `{ env = "X" }`, `{ file = "path" }` or `{ credential = "name" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Env(String),
    /// A file. A relative path is relative to the working directory of the process, so the configuration first makes
    /// its paths absolute.
    File(PathBuf),
    /// A file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Why a source gave no value. The text names the source and never shows its content.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The value is empty or white space.
    #[error("{0} is empty")]
    Empty(Source),
    /// The value is not text.
    #[error("{0} is not UTF-8")]
    NotText(Source),
    /// The value holds a NUL. Usually the value is then a text in another encoding.
    #[error("{0} holds NUL characters, as UTF-16 does without a byte order mark")]
    Nul(Source),
    /// The value has more than 64 KiB.
    #[error("{0} is longer than 64 KiB, so it is not what is meant")]
    TooLong(Source),
    /// The file could not be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(Source, io::Error),
    /// `$CREDENTIALS_DIRECTORY` is not set.
    #[error("the credential `{0}` is not there: $CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(String),
    /// The name of the credential holds a `/`, or is `.` or `..`.
    #[error("the name of a credential is the name of a file, without a path")]
    NotAName,
}

impl Source {
    /// Reads the value. A byte order mark at the beginning of a file and one line break at its end are dropped;
    /// [`super::trimming`] does all other trimming.
    ///
    /// # Errors
    /// If the value is missing, unreadable, empty, longer than 64 KiB, or neither UTF-8 nor UTF-16 with a byte order
    /// mark.
    pub fn read(&self, environment: &Environment) -> Result<Secret, Unavailable> {
        let text = match self {
            Self::Env(name) => {
                let value = environment.get(OsStr::new(name));
                let value = value.ok_or_else(|| Unavailable::Unset(name.clone()))?;
                value.to_str().ok_or_else(|| Unavailable::NotText(self.clone()))?.to_owned()
            }
            Self::File(path) => self.read_file(path)?,
            Self::Credential(name) => {
                if name.is_empty() || name.contains('/') || matches!(name.as_str(), "." | "..") {
                    return Err(Unavailable::NotAName);
                }
                let directory = environment.get(OsStr::new(CREDENTIALS_DIRECTORY));
                let directory = directory.filter(|directory| !directory.is_empty());
                let directory = directory.ok_or_else(|| Unavailable::NoCredentials(name.clone()))?;
                self.read_file(&Path::new(directory).join(name))?
            }
        };
        if text.contains('\0') {
            return Err(Unavailable::Nul(self.clone()));
        }
        if text.trim().is_empty() { Err(Unavailable::Empty(self.clone())) } else { Ok(Secret::from(text)) }
    }

    fn read_file(&self, path: &Path) -> Result<String, Unavailable> {
        let unreadable = |error| Unavailable::Unreadable(self.clone(), error);
        let mut bytes = Vec::new();
        files::open_configured(path)
            .map_err(unreadable)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Unavailable::TooLong(self.clone()));
        }
        let mut text = decode(bytes).ok_or_else(|| Unavailable::NotText(self.clone()))?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// Decodes UTF-8 with or without a byte order mark, or UTF-16 with a byte order mark. The mark is dropped.
fn decode(bytes: Vec<u8>) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => {
            let text = String::from_utf8(bytes).ok()?;
            return Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text));
        }
    };
    let (units, rest) = bytes.as_chunks();
    let units: Vec<u16> = units.iter().skip(1).map(|unit| read(*unit)).collect();
    if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(out, "the environment variable `{name}`"),
            Self::File(path) => write!(out, "the file `{}`", path.display()),
            Self::Credential(name) => write!(out, "the credential `{name}`"),
        }
    }
}

impl Unavailable {
    /// A remedy for the operator, to be shown after the error.
    pub fn hint(&self) -> String {
        match self {
            Self::Unset(name) => format!("set {name} for the user and the unit or container that runs the relay"),
            Self::Empty(source) => format!("put the value into {source}"),
            Self::NotText(_) | Self::Nul(_) => {
                "save it as plain text in UTF-8, with nothing but the value in it".to_owned()
            }
            Self::TooLong(_) => "name the file that holds the bare value".to_owned(),
            Self::Unreadable(_, error) if error.kind() == io::ErrorKind::NotFound => {
                "create it, readable by the relay's user only".to_owned()
            }
            Self::Unreadable(..) => "make it a regular file that the relay's user may read".to_owned(),
            Self::NoCredentials(name) => {
                format!("credentials exist under systemd only, with `LoadCredential={name}:/path` in the unit")
            }
            Self::NotAName => "write the name that `LoadCredential=` gives it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn reads_each_kind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let credentials = environment(&[("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap()), ("X", " v\n")]);
        assert_eq!(
            Source::Env("X".into()).read(&credentials).unwrap().expose(),
            " v\n",
            "a variable is taken as it is"
        );
        for (content, value) in
            [("v", "v"), ("v\n", "v"), ("v\r\n", "v"), ("v\n\n", "v\n"), (" v ", " v "), ("\u{feff}v\r\n", "v")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(Source::File(path.clone()).read(&credentials).unwrap().expose(), value);
            assert_eq!(Source::Credential("token".into()).read(&credentials).unwrap().expose(), value);
        }
        // Windows programs save text as UTF-16, in either order of bytes.
        let units: Vec<u16> = "\u{feff}vä\r\n".encode_utf16().collect();
        for bytes in [
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Source::File(path.clone()).read(&credentials).unwrap().expose(), "vä");
        }
    }

    #[test]
    fn says_what_is_wrong_and_never_what_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            fs::write(directory.path().join(name), content).unwrap();
            Source::File(directory.path().join(name))
        };
        let variables = environment(&[("EMPTY", ""), ("BLANK", " \n")]);
        // No process writes into the pipe. So reading must refuse the pipe and not wait for bytes.
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for (source, expected) in [
            (Source::Env("UNSET".into()), "the environment variable `UNSET` is not set"),
            (Source::Env("EMPTY".into()), "the environment variable `EMPTY` is empty"),
            (Source::Env("BLANK".into()), "the environment variable `BLANK` is empty"),
            (file("nothing", b"\n"), "nothing` is empty"),
            (file("binary", b"hunter2\xff"), "binary` is not UTF-8"),
            (file("wide", b"\xff\xfeh\0u\0n\0t\0e\0r\x002\0\0"), "wide` is not UTF-8"),
            (file("unmarked", b"h\0u\0n\0t\0e\0r\x002\0"), "unmarked` holds NUL characters"),
            (file("marked", b"\xef\xbb\xbf\r\n"), "marked` is empty"),
            (file("long", "hunter2".repeat(10_000).as_bytes()), "long` is longer than 64 KiB"),
            (Source::File(directory.path().join("missing")), "missing` cannot be read: No such file"),
            (Source::File(directory.path().into()), "cannot be read: Is a directory"),
            (Source::File(pipe), "pipe` cannot be read: it is a pipe or a device"),
            (Source::File("/dev/zero".into()), "/dev/zero` cannot be read: it is a pipe or a device"),
            (Source::Credential("x".into()), "the credential `x` is not there: $CREDENTIALS_DIRECTORY is not set"),
            (Source::Credential("../x".into()), "the name of a credential is the name of a file"),
        ] {
            let error = source.read(&variables).unwrap_err();
            let said = format!("{error} {error:?} {}", error.hint());
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("hunter2") && !error.hint().is_empty(), "{said}");
        }
    }
}
