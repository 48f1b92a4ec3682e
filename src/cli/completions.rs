//! The command `completions`: prints a script by which a shell completes commands and flags.

use clap_complete::Shell;

use super::exit::Exit;
use super::global_flags::command_line;
use super::output::answer;

pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "joltsms-relay", &mut script);
    let script = String::from_utf8_lossy(&script);
    // If a program's name has a hyphen, clap_complete 4.6 writes the name in two different ways into the script for
    // bash. Unless this is mended, the script completes nothing after a command.
    answer(&script.replace("joltsms__subcmd__relay", "joltsms__relay"))
}
