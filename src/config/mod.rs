//! Configuration: file, environment and flags -> the options of every part.
//!
//! Two forms: *as written* (which keys, where; names checked) and *resolved* ([`Config`]: values checked, defaults filled
//! in, secrets read). Precedence: flag over environment over file over default.
//!
//! Invariants: nothing here reads the process's environment but [`Sources::from_process`]; all errors are reported at
//! once, each with its place; a key that is not known is an error; no message, `Debug` or `Display` shows a secret.

mod address;
mod api_key;
mod defaults;
mod duration;
mod environment;
mod errors;
mod excerpt;
mod file;
mod filter;
mod flow;
mod formats;
mod http;
mod journal;
mod keys;
mod locate;
mod nearest;
mod reader;
mod resolve;
mod schema;
mod signing;
mod sinks;
mod size;
mod sources;
mod written;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::SinkName;
use crate::formats::Format;
use crate::http::RedactedUrl;
use crate::{api, delivery, ingest, store};

pub use duration::{parse as parse_duration, show as show_duration};
pub use errors::{Errors, Problem, Warning};
pub use journal::{FileId, is_journal};
pub use schema::schema;
pub use sources::{Overrides, Sources};

/// The commented configuration: every key with its default. A test holds it to the code.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if there is one.
    pub file: Option<PathBuf>,
    /// `[api]`; at least one key.
    pub api: api::Options,
    /// `api.account`: how events and metrics name the account.
    pub account: Arc<str>,
    /// `[poll]`
    pub poll: ingest::Options,
    /// `[state]`
    pub state: store::Options,
    /// `[log]`
    pub log: Log,
    /// `[sinks.*]`, by name; at least one, and at most one of them stdout.
    pub sinks: Vec<Sink>,
    /// No sink is configured: the only one is an implied stdout.
    pub sinks_implied: bool,
    /// What works and yet may not be meant.
    pub warnings: Vec<Warning>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is left out.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
    /// Where the files go; without one, to stderr.
    pub dir: Option<PathBuf>,
    /// How many daily files are kept; at least 1.
    pub keep_files: usize,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[sinks.NAME]`
#[derive(Clone, Debug)]
pub struct Sink {
    /// The key of its state.
    pub name: SinkName,
    /// Which messages it wants.
    pub wants: store::Wants,
    /// When and how many.
    pub delivery: delivery::Options,
    /// Where.
    pub kind: SinkKind,
    /// What.
    pub format: Format,
}

/// `sinks.NAME.type`, with what belongs to it.
#[derive(Clone)]
pub enum SinkKind {
    /// Standard output, one line for each message.
    Stdout,
    /// An HTTP receiver.
    Http(Box<crate::sinks::http::Options>),
}

/// What the commands need that only look at the state: no secret is read for it.
#[derive(Clone, Debug)]
pub struct State {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// `[state]`
    pub options: store::Options,
}

/// Reads the configuration.
///
/// # Errors
/// All that is wrong with it, at once; a secret that is missing included. The exit code for it is 78.
pub fn load(sources: &Sources) -> Result<Config, Errors> {
    let mut report = errors::Report::default();
    let mut written = read(sources, &mut report);
    let config = resolve::config(sources, &mut written, &mut report);
    let (config, warnings) = report.finish(config)?;
    Ok(Config { warnings, ..config })
}

/// Reads as much of the configuration as says where the state is. The names of all keys are checked, but no values of
/// others than `[state]`, so that a secret may be missing.
///
/// # Errors
/// All that is wrong with that part.
pub fn load_state(sources: &Sources) -> Result<State, Errors> {
    let mut report = errors::Report::default();
    let mut written = read(sources, &mut report);
    let options = resolve::state(sources, &mut written, &mut report);
    let file = report.file().map(|file| file.path().to_owned());
    let (options, _) = report.finish(options)?;
    Ok(State { file, options })
}

/// Where a new configuration file belongs: where [`load`] looks first.
pub fn place_of_file(sources: &Sources) -> PathBuf {
    locate::new_config_file(sources)
}

/// Lays file, environment and flags over each other.
fn read(sources: &Sources, report: &mut errors::Report) -> written::Written {
    let mut written = match locate::config_file(sources, report) {
        Some((path, text)) => file::read(path, &text, report),
        None => written::Written::default(),
    };
    environment::apply(sources, &mut written, report);
    sources::apply_flags(&sources.flags, &mut written, report);
    written
}

/// The URL of a receiver may hold a password.
impl fmt::Debug for SinkKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => out.write_str("Stdout"),
            Self::Http(options) => {
                let crate::sinks::http::Options {
                    url,
                    method,
                    headers,
                    timeout,
                    connect_timeout,
                    way,
                    signing,
                    statuses,
                } = &**options;
                out.debug_struct("Http")
                    .field("url", &RedactedUrl(url))
                    .field("method", method)
                    .field("headers", headers)
                    .field("timeout", timeout)
                    .field("connect_timeout", connect_timeout)
                    .field("way", way)
                    .field("signing", signing)
                    .field("statuses", statuses)
                    .finish()
            }
        }
    }
}
