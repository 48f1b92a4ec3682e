//! The binary: parse, run, map the result to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    joltsms_relay::cli::main(std::env::args_os()).into()
}
