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
            // Without stderr there is nobody left to tell.
            drop(writeln!(std::io::stderr(), "joltsms-simulator: {error}"));
            ExitCode::FAILURE
        }
    }
}
