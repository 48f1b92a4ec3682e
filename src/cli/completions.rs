//! The command `completions`: prints a script by which a shell completes commands and flags.

use clap_complete::Shell;

use super::exit::Exit;
use super::flags::command_line;
use super::output::answer;

pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "joltsms-relay", &mut script);
    answer(&String::from_utf8_lossy(&script))
}
