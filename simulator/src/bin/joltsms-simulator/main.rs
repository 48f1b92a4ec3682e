//! The simulator as a program, for people who integrate with JoltSMS.

mod arguments;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match run::run(arguments::Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed, the error cannot be reported to anybody.
            drop(writeln!(std::io::stderr(), "joltsms-simulator: {error}"));
            ExitCode::FAILURE
        }
    }
}
