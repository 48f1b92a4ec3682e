//! Whether messages would end up in systemd's journal, where codes would stay for ever.

use super::{Config, Errors};

/// The device and the inode of an open file, as `fstat` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl Config {
    /// Refuses to write messages to the journal merely because no sink is configured.
    ///
    /// `journal_stream` is `$JOURNAL_STREAM`, by which systemd says which stream goes to its journal. `stdout`
    /// identifies standard output. A configured stdout sink was somebody's decision and is accepted, and so is a
    /// redirected stdout.
    ///
    /// # Errors
    /// If the only sink is the implied stdout sink and standard output is the journal.
    pub fn refuse_journal(&self, journal_stream: Option<&str>, stdout: Option<FileId>) -> Result<(), Errors> {
        if !self.sinks_implied || !is_journal(journal_stream, stdout) {
            return Ok(());
        }
        Err(Errors::one(
            "no sink is configured, and standard output goes to the journal, where every code would be kept for ever",
            "configure a sink, such as [sinks.NAME] with type = \"http\"; one of type = \"stdout\" if the journal is meant",
        ))
    }
}

/// Whether `stream` is the one that goes to the journal, by `$JOURNAL_STREAM`. A process that inherited the variable
/// may write elsewhere.
pub fn is_journal(journal_stream: Option<&str>, stream: Option<FileId>) -> bool {
    stream.is_some() && journal_stream.and_then(parse) == stream
}

/// Reads `device:inode`, both decimal.
fn parse(journal_stream: &str) -> Option<FileId> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some(FileId { device: device.parse().ok()?, inode: inode.parse().ok()? })
}
