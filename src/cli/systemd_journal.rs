//! Whether messages would end up in systemd's journal, where codes would stay for ever.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{Config, Errors, Problem};

/// The device and the inode of an open file, as `fstat` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Identifies the file of a stream, such as standard output.
pub(super) fn file_id(stream: &impl AsFd) -> Option<FileId> {
    let found = std::fs::File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    Some(FileId { device: found.dev(), inode: found.ino() })
}

/// Returns `$JOURNAL_STREAM`, by which systemd says which stream of this process goes to its journal.
pub(super) fn journal_stream() -> Option<String> {
    std::env::var("JOURNAL_STREAM").ok()
}

/// Whether standard error goes to the journal.
pub(super) fn stderr_is_journal() -> bool {
    is_journal(journal_stream().as_deref(), file_id(&std::io::stderr()))
}

/// Refuses a configuration without sinks if standard output is systemd's journal. Without sinks the relay writes
/// messages to standard output, and nobody has decided that the journal should keep them.
///
/// `journal_stream` is `$JOURNAL_STREAM`. `stdout` identifies standard output. A configured stdout sink is accepted,
/// because somebody decided to have it. A redirected stdout is accepted, too.
///
/// # Errors
/// If the only sink is the implied stdout sink and standard output is the journal.
pub(super) fn refuse_journal(
    config: &Config,
    journal_stream: Option<&str>,
    stdout: Option<FileId>,
) -> Result<(), Errors> {
    if !config.sinks_implied || !is_journal(journal_stream, stdout) {
        return Ok(());
    }
    Err(Errors::one(
        "no sink is configured, and standard output goes to the journal, where every code would be kept for ever",
        "configure a sink, such as [sinks.NAME] with type = \"http\"; if the journal is to get the messages, configure \
         one with type = \"stdout\"",
    ))
}

/// What `check` says of a configuration without a sink.
#[derive(Debug)]
pub(super) enum WithoutSinks {
    /// There is nothing to report: a sink is configured, or the configuration file does not belong to a service.
    /// Without a service, an operator who configures no sink wants the messages on standard output.
    Meant,
    /// The service of the file would write messages to its standard output.
    Odd(Problem),
    /// The service of the file would not start.
    Refused(Errors),
}

/// Judges a configuration that has no sink and whose file is below `etc`. Such a file belongs to a service. systemd
/// sends the standard output of a service to the journal, and the relay refuses to write messages there.
pub(super) fn without_sinks(config: &Config, etc: &Path, is_systemd_there: bool) -> WithoutSinks {
    let Some(file) = config.file.as_ref().filter(|file| config.sinks_implied && file.starts_with(etc)) else {
        return WithoutSinks::Meant;
    };
    let help = "configure a sink, such as [sinks.NAME] with type = \"http\"; if standard output is to get the \
                messages, configure one with type = \"stdout\"";
    let problem = |message: &str| Problem::of_file(file.clone(), message.to_owned(), help);
    if is_systemd_there {
        let message =
            "no sink is configured: started by systemd, the relay would refuse to write every code to the journal";
        WithoutSinks::Refused(Errors::from(problem(message)))
    } else {
        WithoutSinks::Odd(problem("no sink is configured, so messages go to standard output"))
    }
}

/// Whether `stream` goes to the journal. `journal_stream` is the value of `$JOURNAL_STREAM`, which identifies the
/// stream that goes to the journal. The variable alone is no proof: a process may have inherited it and write
/// elsewhere.
fn is_journal(journal_stream: Option<&str>, stream: Option<FileId>) -> bool {
    stream.is_some() && journal_stream.and_then(parse) == stream
}

/// Reads `device:inode`, both decimal.
fn parse(journal_stream: &str) -> Option<FileId> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some(FileId { device: device.parse().ok()?, inode: inode.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Machine;
    use crate::config::{Overrides, Sources, load};

    #[test]
    fn a_service_without_a_sink_is_told_before_it_is_started() {
        let of_file = |machine: &Machine, name: &str, text: &str| {
            let file = machine.write(name, text);
            let flags = Overrides { config: Some(file), ..Overrides::default() };
            load(&Sources { flags, ..machine.sources() }).unwrap()
        };
        let machine = Machine::new();
        let etc = machine.path("etc");
        let service = of_file(&machine, "etc/joltsms-relay/shop.toml", "");
        let WithoutSinks::Refused(errors) = without_sinks(&service, &etc, true) else { panic!("it would not start") };
        let told = errors.to_string();
        assert!(
            told.contains("shop.toml: no sink is configured: started by systemd, the relay would refuse"),
            "{told}"
        );
        let WithoutSinks::Odd(warning) = without_sinks(&service, &etc, false) else { panic!("it would start") };
        assert!(
            warning.to_string().contains("no sink is configured, so messages go to standard output; "),
            "{warning}"
        );
        let chosen = of_file(&machine, "etc/joltsms-relay/desk.toml", "[sinks.out]\ntype = \"stdout\"\n");
        let of_user = of_file(&machine, "home/relay.toml", "");
        for config in [chosen, of_user, Machine::new().load()] {
            assert!(matches!(without_sinks(&config, &etc, true), WithoutSinks::Meant), "{:?}", config.file);
        }
    }

    #[test]
    fn the_journal_is_refused_only_if_nobody_chose_it() {
        let journal = FileId { device: 8, inode: 15 };
        let implied = Machine::new().load();
        let refused = refuse_journal(&implied, Some("8:15"), Some(journal)).unwrap_err().to_string();
        assert!(refused.contains("no sink is configured") && refused.contains("1 error"), "{refused}");
        for (stream, stdout) in [
            (None, Some(journal)),
            (Some("8:15"), None),
            (Some("8:16"), Some(journal)),
            (Some("9:15"), Some(journal)),
            (Some("nonsense"), Some(journal)),
            (Some(""), None),
        ] {
            assert!(refuse_journal(&implied, stream, stdout).is_ok(), "{stream:?} {stdout:?}");
        }
        let chosen = Machine::with_file("[sinks.out]\ntype = \"stdout\"\n").load();
        assert!(refuse_journal(&chosen, Some("8:15"), Some(journal)).is_ok());
    }
}
