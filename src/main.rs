//! The program: parses the command line, runs the command, and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    joltsms_relay::cli::main(std::env::args_os()).into()
}
