//! Tests of the commands.

mod commands;
mod dead_letters;
mod exit_codes;
mod init;
mod online;
mod preview;
mod recipes;
mod replay;
mod shell;
mod sinks;
pub(crate) mod status;
mod tail;
mod trace;
mod verify;
mod wait;
mod wait_runs;
