//! Whether messages would end up in systemd's journal, where codes would stay for ever.

use std::path::Path;

use super::{Config, Errors, Problem, Warning};

/// The device and the inode of an open file, as `fstat` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl Config {
    /// Refuses a configuration without sinks if standard output is systemd's journal. Without sinks the relay writes
    /// messages to standard output, and nobody has decided that the journal should keep them.
    ///
    /// `journal_stream` is `$JOURNAL_STREAM`, by which systemd says which stream goes to its journal. `stdout`
    /// identifies standard output. A configured stdout sink is accepted, because somebody decided to have it. A
    /// redirected stdout is accepted, too.
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

/// What `check` says of a configuration without a sink.
#[derive(Debug)]
pub enum WithoutSinks {
    /// There is nothing to report: a sink is configured, or the configuration file does not belong to a service.
    /// Without a service, an operator who configures no sink wants the messages on standard output.
    Meant,
    /// The service of the file would write messages to its standard output.
    Odd(Warning),
    /// The service of the file would not start.
    Refused(Errors),
}

impl Config {
    /// Judges a configuration that has no sink and whose file is below `etc`. Such a file belongs to a service. systemd
    /// sends the standard output of a service to the journal, and the relay refuses to write messages there.
    pub fn without_sinks(&self, etc: &Path, is_systemd_there: bool) -> WithoutSinks {
        let Some(file) = self.file.as_ref().filter(|file| self.sinks_implied && file.starts_with(etc)) else {
            return WithoutSinks::Meant;
        };
        let help = "configure a sink, such as [sinks.NAME] with type = \"http\"; one of type = \"stdout\" if standard \
                    output is meant";
        let problem = |message: &str| Problem::of_file(file.clone(), message.to_owned(), help);
        if is_systemd_there {
            let message = "no sink is configured: started by systemd, the relay would refuse to write every code to the \
                           journal";
            WithoutSinks::Refused(Errors::from(problem(message)))
        } else {
            WithoutSinks::Odd(Warning::from(problem("no sink is configured, so messages go to standard output")))
        }
    }
}

/// Whether `stream` goes to the journal. `journal_stream` is the value of `$JOURNAL_STREAM`, which identifies the
/// stream that goes to the journal. The variable alone is no proof: a process may have inherited it and write
/// elsewhere.
pub fn is_journal(journal_stream: Option<&str>, stream: Option<FileId>) -> bool {
    stream.is_some() && journal_stream.and_then(parse) == stream
}

/// Reads `device:inode`, both decimal.
fn parse(journal_stream: &str) -> Option<FileId> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some(FileId { device: device.parse().ok()?, inode: inode.parse().ok()? })
}
