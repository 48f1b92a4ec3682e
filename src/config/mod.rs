//! The configuration: from file, environment and flags to the options of every component.
//!
//! This module knows which component has which section, and where files lie. Each component declares its own keys, and
//! [`crate::settings`] reads them. Precedence: flag over environment over file over default.
//!
//! Invariants: only [`Sources::from_process`] reads the environment of the process; all errors are reported at once,
//! each with its place; an unknown key is an error; no error text, `Debug` or `Display` shows a secret.

mod documentation;
mod loading;
mod locate;
mod log;
mod options;
mod sinks;
mod sources;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::arrivals::PollingOptions;
use crate::codes::{self, CodeFinder, CodeMask};
use crate::domain::{Invocation, SinkName};
use crate::formats::Format;
use crate::ingest::NumberUses;
use crate::secret::Secret;
use crate::settings::{Complaints, Declarations, Section, Settings as _};
use crate::sinks::Target;
use crate::{admin, api, delivery, heartbeat, ingest, settings, store};

use loading::Loading;

pub use crate::settings::{Errors, FileUsage, Fingerprints, NamedFile, Problem, parse_duration, show_duration};
pub use documentation::{example, reference};
pub use locate::service_name;
pub use log::{Log, LogFormat};
pub use sources::{Overrides, Sources};

/// The commented configuration: every key with its default. A test compares it with [`example`].
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The declarations of every key.
static DECLARATIONS: LazyLock<Declarations> = LazyLock::new(|| Declarations {
    prefix: "JOLTSMS_RELAY_",
    file_variable: locate::FILE_VARIABLE,
    short: &[
        (api::settings::API_KEY, "API__KEY"),
        ("JOLTSMS_API_KEY_FILE", "API__KEY__FILE"),
        ("JOLTSMS_API_URL", "API__URL"),
    ],
    sections: vec![
        Section { name: "api", keys: api::settings::Settings::keys() },
        Section { name: "poll", keys: ingest::Options::keys() },
        Section { name: "state", keys: store::Settings::keys() },
        Section { name: "log", keys: Log::keys() },
        Section { name: "codes", keys: codes::Settings::keys() },
        Section { name: "events", keys: ingest::EventSettings::keys() },
        Section { name: "admin", keys: admin::Settings::keys() },
        Section { name: "heartbeat", keys: heartbeat::Settings::keys() },
    ],
    sink: Section { name: "sinks", keys: sinks::keys() },
});

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// `[api]`; holds at least one key.
    pub api: api::Options,
    /// `api.account`: the account's name in events and metrics.
    pub account: Arc<str>,
    /// `[poll]`
    pub poll: ingest::Options,
    /// `[state]`
    pub state: store::Options,
    /// `[log]`
    pub log: Log,
    /// `[codes]`
    pub codes: CodeFinder,
    /// `[events] number_expiring`: the times before the expiry of a number at which an event is made, if a sink asks
    /// for events.
    pub expiry_terms: Vec<Duration>,
    /// `[admin]`; `None`: the admin endpoint is off.
    pub admin: Option<admin::Options>,
    /// `[heartbeat]`; `None`: no heartbeat is sent.
    pub heartbeat: Option<heartbeat::Options>,
    /// `[sinks.*]`, by name; at least one, and at most one of them stdout.
    pub sinks: Vec<ConfiguredSink>,
    /// True if no sink is configured. Then the only sink is one of type `stdout`, which the relay adds itself.
    pub sinks_implied: bool,
    /// The beginning of each command that is given as a hint: the program's name, with `--config` and `--state-dir` if
    /// the operator gave them.
    pub invocation: Invocation,
    /// Settings that work but are perhaps mistakes.
    pub warnings: Vec<Problem>,
    /// What the configuration was read from, so that it can be read again.
    pub source: ConfigSource,
}

/// What a configuration was read from. Its `Debug` shows nothing.
#[derive(Clone, Default)]
pub struct ConfigSource {
    /// The text of the file, which may hold secrets that a user wrote out.
    pub file_text: Option<Secret>,
    /// A fingerprint of the value of each key, to compare two configurations.
    pub fingerprints: Fingerprints,
    /// The files from which `{ file = "…" }` read secrets.
    pub secret_files: BTreeSet<PathBuf>,
    /// The system's configuration file, if there is one and the user's file was read instead.
    pub passed_over: Option<PathBuf>,
    /// The files that the configuration file names.
    pub named_files: Vec<NamedFile>,
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ConfigSource")
    }
}

impl Config {
    /// Returns the purposes for which the list of numbers is read.
    pub fn number_uses(&self) -> NumberUses {
        let asks_for_events = self.sinks.iter().any(|sink| sink.delivery.events);
        NumberUses {
            details: self.sinks.iter().any(|sink| sink.selection.needs_numbers()),
            expiry_terms: if asks_for_events { self.expiry_terms.clone() } else { Vec::new() },
        }
    }
}

/// `[sinks.NAME]`
#[derive(Clone, Debug)]
pub struct ConfiguredSink {
    /// The sink's name, under which the state keeps the sink's deliveries.
    pub name: SinkName,
    /// Which messages the sink wants.
    pub selection: store::MessageSelection,
    /// When the sink delivers, and how many deliveries may be under way at once.
    pub delivery: delivery::Options,
    /// Where the sink's messages go.
    pub target: Arc<dyn Target>,
    /// The format that makes the sink's payloads.
    pub format: Format,
    /// The mask for the codes of messages, if the sink must not get them.
    pub mask: Option<CodeMask>,
}

/// The configuration for commands that only look at the state. No secret is read for it.
#[derive(Clone, Debug)]
pub struct StateConfig {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// `[state]`
    pub options: store::Options,
    /// The configured sinks that take no events.
    pub without_events: Vec<SinkName>,
}

/// The configuration for commands that wait for messages. No secret is read for it.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// `[state]`
    pub state: store::Options,
    /// `[codes]`
    pub codes: CodeFinder,
}

/// The declarations of every key.
pub fn declarations() -> &'static Declarations {
    &DECLARATIONS
}

/// Reads the configuration.
///
/// # Errors
/// All errors at once, missing secrets included. The exit code for them is 78.
pub fn load(sources: &Sources) -> Result<Config, Errors> {
    load_for_log(sources).map_err(|(_, errors)| errors)
}

/// Reads the configuration, as [`load`] does, for a caller that reports errors in the format of the log.
///
/// # Errors
/// The format of the log (text if that cannot be read), and all errors.
pub fn load_for_log(sources: &Sources) -> Result<Config, (LogFormat, Errors)> {
    Loading::start(sources).config()
}

/// Reads the secrets of a configuration again. The text of the configuration file stays as it was when `config` was
/// loaded, whatever the file holds now.
///
/// # Errors
/// As for [`load`].
pub fn load_secrets_again(sources: &Sources, config: &Config) -> Result<Config, Errors> {
    let text = config.source.file_text.as_ref().map(|text| text.expose().to_owned());
    let file = config.file.clone().zip(text);
    Loading::merge(sources, file, Complaints::new(declarations())).config().map_err(|(_, errors)| errors)
}

/// Reads the part of the configuration that says where the state is. The names of all keys are checked, but only the
/// values of `[state]`, so secrets may be missing.
///
/// # Errors
/// All errors of that part.
pub fn load_state(sources: &Sources) -> Result<StateConfig, Errors> {
    let mut loading = Loading::start(sources);
    let options = loading.state();
    let file = loading.file();
    let without_events = sinks::without_events(&loading);
    let (options, _) = loading.report.finish(options)?;
    Ok(StateConfig { file, options, without_events })
}

/// Reads the part of the configuration that a command needs to wait for messages beside a running relay.
///
/// # Errors
/// All errors of that part.
pub fn load_reader(sources: &Sources) -> Result<ReaderConfig, Errors> {
    let mut loading = Loading::start(sources);
    let codes = loading.codes();
    let state = loading.state();
    let (config, _) = loading.report.finish(state.map(|state| ReaderConfig { state, codes }))?;
    Ok(config)
}

/// Reads the part of the configuration that a command needs to poll the API without a relay. Secrets of sinks may be
/// missing.
///
/// # Errors
/// All errors of that part.
pub fn load_polling(sources: &Sources) -> Result<PollingOptions, Errors> {
    let mut loading = Loading::start(sources);
    let (api, _) = loading.api();
    let poll = loading.poll();
    let state = loading.state();
    let options = api.zip(state).map(|(api, state)| PollingOptions { api, poll, state });
    let (options, _) = loading.report.finish(options)?;
    Ok(options)
}

/// The place of a new configuration file: the first place where [`load`] looks.
pub fn place_of_file(sources: &Sources) -> PathBuf {
    locate::new_config_file(sources)
}

/// The JSON Schema of the configuration file.
pub fn schema() -> String {
    settings::json_schema(declarations(), "joltsms-relay", env!("CARGO_PKG_VERSION"))
}
