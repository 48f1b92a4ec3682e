//! Functions for commands that work on the state alone. These commands need neither a secret nor a running relay.

use std::io::ErrorKind;

use super::exit::Exit;
use super::global_flags::Flags;
use super::relay::{complain, store_exit};
use crate::config::{self, Sources, StateConfig};
use crate::domain::filter::Filter;
use crate::operator::OperatorRefusal;
use crate::store::{self, Error, Spool, StateLocation};
use crate::time::Clock;

/// Returns the location of the state, as configured.
pub(super) fn location(flags: &Flags) -> Result<StateLocation, Exit> {
    Ok(state_config(flags)?.options.location())
}

/// Returns the part of the configuration that commands on the state use.
pub(super) fn state_config(flags: &Flags) -> Result<StateConfig, Exit> {
    config::load_state(&Sources::from_process(flags.overrides()))
        .map_err(|errors| complain(Exit::Configuration, &errors))
}

/// Opens the state for reading while `read` runs, and closes it before anything is printed. Printing blocks if nobody
/// reads the output. If the state were still open then, SQLite's journal could not be emptied, and a relay could not
/// start.
pub(super) fn look<T>(
    state: &StateLocation,
    read: impl FnOnce(&Spool) -> Result<T, CommandRefusal>,
) -> Result<T, Exit> {
    let done = match store::open_snapshot(state) {
        Ok(Some(snapshot)) => read(&*snapshot.spool),
        Ok(None) => Err(CommandRefusal { exit: Exit::Failure, said: Absent(state).to_string() }),
        Err(error) => Err(error.into()),
    };
    done.map_err(CommandRefusal::say)
}

/// The refusal of a command that cannot be carried out: the exit code, and the message for stderr.
pub(super) struct CommandRefusal {
    pub(super) exit: Exit,
    pub(super) said: String,
}

impl CommandRefusal {
    /// Prints the message and returns the exit code. Must not be called while the state is open for reading.
    pub(super) fn say(self) -> Exit {
        complain(self.exit, &self.said)
    }
}

impl From<Error> for CommandRefusal {
    fn from(error: Error) -> Self {
        Self { exit: store_exit(&error), said: explained(&error) }
    }
}

impl From<OperatorRefusal> for CommandRefusal {
    fn from(refusal: OperatorRefusal) -> Self {
        match refusal {
            OperatorRefusal::Store(error) => error.into(),
            // The text begins with the name of a flag, and flags have two dashes.
            OperatorRefusal::InvalidPattern(..) => Self { exit: Exit::Usage, said: format!("--{refusal}") },
            OperatorRefusal::UnknownSink(_) | OperatorRefusal::NotConfigured(_) => {
                Self { exit: Exit::Failure, said: refusal.to_string() }
            }
        }
    }
}

/// Opens the state for small changes. A relay may run at the same time.
pub(super) fn open(flags: &Flags) -> Result<Box<Spool>, Exit> {
    let at = location(flags)?;
    match store::open_for_command(&at) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(complain(Exit::Failure, &Absent(&at))),
        Err(error) => Err(fails(&error)),
    }
}

/// Returns a clock that shows the relay's time, which the state remembers. The machine's clock may differ from this
/// time.
pub(super) fn relay_clock(spool: &Spool) -> Result<Clock, Error> {
    let (left, runs) = spool.clock_beside()?;
    let clock = Clock::system();
    clock.adopt_memory(left, runs);
    Ok(clock)
}

/// Prints an error of the store, and returns the exit code for the error.
pub(super) fn fails(error: &Error) -> Exit {
    complain(store_exit(error), &explained(error))
}

/// Describes an error of the store. If this user may not use the files of the state (for example because they belong to
/// the user of a service), the text ends with `sudo` and the present command line.
pub(super) fn explained(error: &Error) -> String {
    let is_refused = matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied);
    if !is_refused || rustix::process::geteuid().is_root() {
        return error.to_string();
    }
    let words: Vec<String> = std::env::args_os().map(|word| quoted(&word.to_string_lossy())).collect();
    format!("{error}; use sudo: sudo {}", words.join(" "))
}

/// Quotes a word of a command for the shell, if the shell would not take it as it is.
fn quoted(word: &str) -> String {
    let is_plain = |next: char| next.is_ascii_alphanumeric() || "-_./=:,@%+".contains(next);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Formats the error message for a place where no relay has made a state.
pub(super) struct Absent<'s>(pub(super) &'s StateLocation);

impl std::fmt::Display for Absent<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hint = if self.0.is_shared() {
            "state.namespace names the schema"
        } else {
            "--config or --state-dir names another"
        };
        write!(out, "there is no state in {}: no relay has run on it yet ({hint})", self.0)
    }
}

/// Makes the filter of the flags `--to` and `--from`; `None` if neither is given.
pub(super) fn filter(to: &[String], from: &[String]) -> Result<Option<Filter>, CommandRefusal> {
    for number in to.iter().filter(|pattern| Filter::lacks_plus(pattern)) {
        complain(Exit::Done, &format_args!("warning: --to {number} matches no number, since each begins with `+`"));
    }
    Filter::of_addresses(to, from).map_err(|(flag, error)| {
        let said = format!("--{flag} is not a pattern: {error}");
        CommandRefusal { exit: Exit::Usage, said }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_the_shell_needs_it() {
        for (word, in_shell) in [
            ("--state-dir=/var/lib/joltsms-relay", "--state-dir=/var/lib/joltsms-relay"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), in_shell);
        }
    }
}
