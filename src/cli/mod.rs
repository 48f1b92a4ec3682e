//! The commands of the program. Each command has its own file, and ends in an [`Exit`]. `commands` declares the
//! commands and their flags.

mod api_access;
mod check;
mod commands;
mod completions;
mod dead_letters;
mod exit;
mod following;
mod global_flags;
mod init;
mod man;
mod message_file;
mod online;
mod output;
mod preview;
mod process_protection;
mod relay;
mod replay;
mod screen;
mod service_access;
mod sink_table;
mod sinks;
mod state_access;
mod state_copy;
mod state_export;
mod status;
mod systemd_journal;
mod tail;
mod trace;
mod verify;
mod wait;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use commands::{Command, StateCommand};
pub use exit::Exit;
use global_flags::Flags;

/// Parses the command line, runs the command and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    process_protection::set_up();
    let parsed = global_flags::command_line().try_get_matches_from(arguments);
    let flags = match parsed.and_then(|matches| Flags::from_arg_matches(&matches)).and_then(check_flags) {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are answers and not errors. clap prints each to the right stream.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            drop(error.print());
            return exit;
        }
    };
    match &flags.command {
        None | Some(Command::Run) => relay::run(&flags),
        Some(Command::Once) => relay::once(&flags),
        Some(Command::Check(how)) => check::check(&flags, how),
        Some(Command::Init { file }) => init::init(&flags, file.as_deref()),
        Some(Command::Schema) => init::schema(),
        Some(Command::Completions { shell }) => completions::completions(*shell),
        Some(Command::Man) => man::man(),
        Some(Command::State { command: StateCommand::Export { output } }) => state_export::state_export(&flags, output),
        Some(Command::State { command: StateCommand::Copy { to, namespace } }) => {
            state_copy::state_copy(&flags, to, namespace.as_deref())
        }
        Some(Command::Status(how)) => status::status(&flags, how),
        Some(Command::Sinks { command }) => sinks::sinks(&flags, command),
        Some(Command::Replay(how)) => replay::replay(&flags, how),
        Some(Command::Verify { since }) => verify::verify(&flags, *since),
        Some(Command::Tail(how)) => tail::tail(&flags, how),
        Some(Command::Wait(how)) => wait::wait(&flags, how),
        Some(Command::Trace { id, json }) => trace::trace(&flags, id, *json),
        Some(Command::DeadLetters { command }) => dead_letters::dead_letters(&flags, command),
    }
}

/// Refuses flags that the command would ignore.
fn check_flags(flags: Flags) -> Result<Flags, clap::Error> {
    let relays = matches!(flags.command, None | Some(Command::Run | Command::Once | Command::Check(_)));
    match flags.run.given() {
        Some(flag) if !relays => {
            let words = format!("the argument '{flag}' is for run, once and check only");
            Err(Flags::command().error(ErrorKind::ArgumentConflict, words))
        }
        _ => Ok(flags),
    }
}
