//! The files that the configuration file names, and what the relay does with each of them.

use std::path::PathBuf;

/// A file that the configuration file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The full name of the key, such as `sinks.crm.url`.
    pub key: String,
    /// The path. A relative path counts from the directory of the process.
    pub path: PathBuf,
    /// What the relay does with the file.
    pub usage: FileUsage,
}

/// What the relay does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUsage {
    /// The relay reads the value of a key from the file: `{ file = "path" }`.
    Reference,
    /// The relay reads the file, such as a certificate.
    Read,
    /// The relay runs the file as a program.
    Execute,
    /// The relay writes the file, or files in this directory.
    Write,
}
