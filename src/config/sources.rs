//! The sources of a configuration: an environment, flags, and the places where files lie.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::domain::{Invocation, SinkName};
use crate::secret::{Environment, Secret};
use crate::settings::{Complaints, Document, Origin, Table, WrittenValue};

/// The level of `--quiet`.
const LEVEL_QUIET: &str = "warn";
/// The name of the sink that is used if no sink is configured.
const IMPLIED_NAME: &str = "stdout";
/// The name of the sink that `--forward-to` makes.
const FORWARD_NAME: &str = "forward";

/// Everything that [`load`](super::load) reads besides files, as plain values.
#[derive(Clone)]
pub struct Sources {
    /// The environment variables.
    pub env: Environment,
    /// The command line.
    pub flags: Overrides,
    /// The directory of the system's configuration: `/etc`, or another one in tests.
    pub etc: PathBuf,
}

/// The parts of the command line that change the configuration. Values are as typed: they are checked like all others,
/// and errors name the flag.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--state-dir DIR`
    pub state_dir: Option<PathBuf>,
    /// `--log-level LEVEL`
    pub log_level: Option<String>,
    /// `--quiet`: `--log-level warn`
    pub quiet: bool,
    /// `--forward-to URL`: one http sink named `forward`. The URL is a secret, since receivers put tokens into their
    /// URLs.
    pub forward_to: Option<Secret>,
    /// `--format FORMAT`, for the only sink: the sink of `--forward-to`, or standard output.
    pub format: Option<String>,
    /// `--start START`
    pub start: Option<String>,
}

impl Overrides {
    /// Returns the beginning of a command line for this configuration and state: the program's name, with `--config`
    /// and `--state-dir` if the operator gave them. The paths are absolute, so that the command works in another
    /// directory, too.
    pub fn invocation(&self) -> Invocation {
        let complete = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let (config, state_dir) = (self.config.as_ref().map(complete), self.state_dir.as_ref().map(complete));
        Invocation::new(config.as_deref(), state_dir.as_deref())
    }
}

impl Sources {
    /// The sources of this process.
    pub fn from_process(flags: Overrides) -> Self {
        Self::new(std::env::vars_os().collect(), flags)
    }

    /// Sources with the usual places.
    pub fn new(env: Environment, flags: Overrides) -> Self {
        Self { env, flags, etc: PathBuf::from("/etc") }
    }

    /// The value of a variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }
}

/// Shows only the size of the environment, which is full of secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables = format_args!("[{} variables]", self.env.len());
        out.debug_struct("Sources")
            .field("env", &variables)
            .field("flags", &self.flags)
            .field("etc", &self.etc)
            .finish()
    }
}

/// Merges the flags into the document, except `--config` and `--state-dir`, which `locate` and `loading` read.
pub(super) fn apply_flags(flags: &Overrides, document: &mut Document, report: &mut Complaints) {
    let text = |value: &str| WrittenValue::Text(Secret::from(value));
    if let Some(level) = &flags.log_level {
        document.section("log").set("level", Origin::Flag("--log-level"), text(level));
    }
    if flags.quiet {
        if flags.log_level.is_some() {
            let message = "cannot be combined with --log-level";
            report.error(&Origin::Flag("--quiet"), message.to_owned(), "give one of them");
        }
        document.section("log").set("level", Origin::Flag("--quiet"), text(LEVEL_QUIET));
    }
    if let Some(start) = &flags.start {
        document.section("poll").set("start", Origin::Flag("--start"), text(start));
    }
    // Environment variables may add keys, such as `allow_http`, to the sink that `--forward-to` makes.
    let is_added_to = |name: &SinkName, sink: &Table| {
        let only_adds = matches!(sink.origin, Origin::Variable(_))
            && !["type", "url"].iter().any(|key| sink.entries.contains_key(*key));
        flags.forward_to.is_some() && name.as_str() == FORWARD_NAME && only_adds
    };
    let others = document.sinks.iter().filter(|(name, sink)| !is_added_to(name, sink));
    let configured: Vec<_> = others.map(|(name, _)| format!("`{name}`")).collect();
    let help = "remove the flag, or the sinks: the flag is for a configuration without sinks";
    if !configured.is_empty() {
        let message = format!("cannot be combined with configured sinks ({})", configured.join(", "));
        if flags.forward_to.is_some() {
            report.error(&Origin::Flag("--forward-to"), message.clone(), help);
        }
        if flags.format.is_some() {
            report.error(&Origin::Flag("--format"), message, help);
        }
        return;
    }
    let (name, kind, origin) = match flags.forward_to {
        Some(_) => (FORWARD_NAME, "http", Origin::Flag("--forward-to")),
        None => (IMPLIED_NAME, "stdout", Origin::Default),
    };
    let Ok(name) = name.parse::<SinkName>() else { return };
    let sink = document.sink(name, &origin);
    sink.set("type", origin.clone(), text(kind));
    if let Some(url) = &flags.forward_to {
        sink.set("url", origin, WrittenValue::Text(url.clone()));
    }
    if let Some(format) = &flags.format {
        sink.set("format", Origin::Flag("--format"), text(format));
    }
}
