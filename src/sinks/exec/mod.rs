//! Sinks of type `exec`: each message starts a program, which gets the payload on its standard input.
//!
//! Invariants:
//!
//! - No shell is involved: no part of a message can become a command.
//! - The program does not get the relay's whole environment, which may hold secrets. It gets a few usual variables such
//!   as `PATH`, the operator's `env`, and the variables that describe the message.
//! - The output of the program is thrown away, because it may repeat the message. Only the number of bytes on its
//!   standard error is reported, and only if its exit status is not 0.
//! - If an attempt is given up, for example because of the timeout or because the relay stops, the process group of the
//!   program is killed.

mod exit;
mod program;
mod run;
mod settings;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;

use super::{Attempting, OnlineCheck, Outgoing, Preview, ReadContext, Sink, SinkBuildError, SinkType, Target};
use crate::codes::CodeFinder;
use crate::domain::filter::{Details, Facts};
use crate::domain::{Finding, Sanitized};
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::time::Clock;

/// The beginning of the names of the variables that describe the message.
const MESSAGE_VARIABLES: &str = "JOLTSMS_MESSAGE_";

/// The longest value of a variable that describes the message, in characters.
const LONGEST_VALUE: usize = 1_000;

/// The type `exec`.
#[derive(Debug)]
pub(super) struct ExecType;

/// The program of a sink, and how it is run.
#[derive(Clone)]
struct ExecTarget {
    /// The path of the program.
    program: PathBuf,
    arguments: Vec<String>,
    /// The environment of the program, except the variables that describe the message.
    environment: Vec<(OsString, OsString)>,
    /// The longest time that the program may run.
    timeout: Duration,
    /// The exit statuses by which the program rejects a message for good.
    reject: Vec<u16>,
    /// Finds the code of a message, for the variable `JOLTSMS_MESSAGE_CODE`.
    codes: CodeFinder,
}

impl SinkType for ExecType {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context)?))
    }
}

impl Target for ExecTarget {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        let program = self.program.display();
        match self.arguments.len() {
            0 => format!("program {program}"),
            1 => format!("program {program} with 1 argument"),
            several => format!("program {program} with {several} arguments"),
        }
    }

    fn preview(&self, outgoing: Outgoing, _: &Clock) -> Result<Preview, String> {
        let mut head = format!("{}\n", self.describe());
        for (name, value) in message_variables(&outgoing, &self.codes) {
            head += &format!("{name}: {}\n", Sanitized::line(&value));
        }
        Ok(Preview { head: head + "\n", body: outgoing.body })
    }

    fn check_online<'t>(&'t self, name: &'t str, _: &'t Clock) -> OnlineCheck<'t> {
        let finding = Finding::works(name, "the program is there and executable; it was not started");
        Box::pin(std::future::ready(vec![finding]))
    }

    fn build(&self, _: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        Ok(Arc::new(ExecSink { target: self.clone(), starts: Arc::new(Semaphore::new(run::MOST_STARTS)) }))
    }
}

/// Hides arguments and variables, which may be secrets.
impl fmt::Debug for ExecTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, arguments, environment, timeout, reject, codes: _ } = self;
        let names: Vec<_> = environment.iter().map(|(name, value)| (name, value.len())).collect();
        out.debug_struct("Exec")
            .field("program", program)
            .field("arguments", &arguments.len())
            .field("environment", &names)
            .field("timeout", timeout)
            .field("reject", reject)
            .finish()
    }
}

/// A sink that starts a program for each message.
struct ExecSink {
    target: ExecTarget,
    /// A permit for each program that may be started at the same time.
    starts: Arc<Semaphore>,
}

impl Sink for ExecSink {
    fn takes_lines(&self) -> bool {
        false
    }

    fn begin(&self, outgoing: Outgoing) -> Attempting {
        let ExecTarget { program, arguments, environment, timeout, reject, codes } = self.target.clone();
        let starts = Arc::clone(&self.starts);
        Box::pin(async move {
            let mut command = Command::new(program);
            command.args(arguments).env_clear().envs(environment).envs(message_variables(&outgoing, &codes));
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
            let end = run::run(command, &outgoing.body, timeout, &starts).await;
            exit::attempt(end, &reject, timeout)
        })
    }
}

/// The variables that describe a message: id, sender, receiving number and code. A field that the message does not have
/// is an empty text.
fn message_variables(outgoing: &Outgoing, codes: &CodeFinder) -> Vec<(String, String)> {
    let facts = Facts::read(&outgoing.message, Details::Absent);
    let code = codes.find(&outgoing.message);
    let values =
        [("ID", Some(outgoing.id.as_str())), ("FROM", facts.from()), ("TO", facts.to()), ("CODE", code.as_deref())];
    let variable = |(name, value): (&str, Option<&str>)| {
        // A variable cannot contain NUL, and the system limits its length.
        let value = value.unwrap_or_default().chars().filter(|next| *next != '\0').take(LONGEST_VALUE).collect();
        (format!("{MESSAGE_VARIABLES}{name}"), value)
    };
    values.into_iter().map(variable).collect()
}
