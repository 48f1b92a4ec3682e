//! The configuration: from file, environment and flags to the options of every component.
//!
//! This module knows which component has which section, and where files lie. Each component declares its own keys, and
//! [`crate::settings`] reads them. Precedence: flag over environment over file over default.
//!
//! Invariants: only [`Sources::from_process`] reads the environment of the process; all errors are reported at once,
//! each with its place; an unknown key is an error; no error text, `Debug` or `Display` shows a secret.

mod documentation;
mod locate;
mod log;
mod service_access;
mod sinks;
mod sources;
mod systemd_journal;

#[cfg(test)]
mod tests;

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
use crate::settings::{
    Complaints, Declarations, Document, FileUsage, NamedFile, Origin, Reader, Section, Settings as _,
};
use crate::sinks::Target;
use crate::{admin, api, delivery, heartbeat, ingest, settings, store};

pub use crate::settings::{Errors, Fingerprints, Problem, Warning, parse_duration, show_duration};
pub use documentation::{example, reference};
pub use log::{Log, LogFormat};
pub use service_access::ServiceUser;
pub use sources::{Overrides, Sources};
pub use systemd_journal::{FileId, WithoutSinks, is_journal};

/// The commented configuration: every key with its default. A test compares it with [`example`].
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The declarations of every key.
static DECLARATIONS: LazyLock<Declarations> = LazyLock::new(|| Declarations {
    prefix: "JOLTSMS_RELAY_",
    file_variable: locate::FILE_VARIABLE,
    short: &[
        (api::settings::API_KEY, "api", "key", false),
        ("JOLTSMS_API_KEY_FILE", "api", "key", true),
        ("JOLTSMS_API_URL", "api", "url", false),
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
    pub warnings: Vec<Warning>,
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
    let mut report = Complaints::new(declarations());
    let file = locate::config_file(sources, &mut report);
    load_from(sources, file, report)
}

/// Reads the secrets of a configuration again. The text of the configuration file stays as it was when `config` was
/// loaded, whatever the file holds now.
///
/// # Errors
/// As for [`load`].
pub fn load_secrets_again(sources: &Sources, config: &Config) -> Result<Config, Errors> {
    let text = config.source.file_text.as_ref().map(|text| text.expose().to_owned());
    let file = config.file.clone().zip(text);
    load_from(sources, file, Complaints::new(declarations())).map_err(|(_, errors)| errors)
}

fn load_from(
    sources: &Sources,
    file: Option<(PathBuf, String)>,
    mut report: Complaints,
) -> Result<Config, (LogFormat, Errors)> {
    let file_text = file.as_ref().map(|(_, text)| Secret::from(text.as_str()));
    let mut document = read(sources, file, &mut report);
    let log = log(sources, &mut document, &mut report);
    let format = log.format;
    let config = resolve(sources, log, &mut document, &mut report);
    let fingerprints = report.fingerprints(&document);
    let (secret_files, named_files) = (report.secret_files().clone(), report.named_files().to_vec());
    let (config, warnings) = report.finish(config).map_err(|errors| (format, errors))?;
    let passed_over = locate::passed_over(sources, config.file.as_deref());
    let source = ConfigSource { file_text, fingerprints, secret_files, passed_over, named_files };
    Ok(Config { warnings, source, ..config })
}

/// Reads the part of the configuration that says where the state is. The names of all keys are checked, but only the
/// values of `[state]`, so secrets may be missing.
///
/// # Errors
/// All errors of that part.
pub fn load_state(sources: &Sources) -> Result<StateConfig, Errors> {
    let mut report = Complaints::new(declarations());
    let file = locate::config_file(sources, &mut report);
    let mut document = read(sources, file, &mut report);
    let options = state(sources, &mut document, &mut report);
    let file = report.path().map(ToOwned::to_owned);
    let without_events = sinks::without_events(sources, &document);
    let (options, _) = report.finish(options)?;
    Ok(StateConfig { file, options, without_events })
}

/// Reads the part of the configuration that a command needs to wait for messages beside a running relay.
///
/// # Errors
/// All errors of that part.
pub fn load_reader(sources: &Sources) -> Result<ReaderConfig, Errors> {
    let mut report = Complaints::new(declarations());
    let file = locate::config_file(sources, &mut report);
    let mut document = read(sources, file, &mut report);
    let codes = codes(sources, &mut document, &mut report);
    let state = state(sources, &mut document, &mut report);
    let (config, _) = report.finish(state.map(|state| ReaderConfig { state, codes }))?;
    Ok(config)
}

/// Reads the part of the configuration that a command needs to poll the API without a relay. Secrets of sinks may be
/// missing.
///
/// # Errors
/// All errors of that part.
pub fn load_polling(sources: &Sources) -> Result<PollingOptions, Errors> {
    let mut report = Complaints::new(declarations());
    let file = locate::config_file(sources, &mut report);
    let mut document = read(sources, file, &mut report);
    let mut section = section_of(sources, "api", &mut document, &mut report);
    let (api, _) = api::settings::Settings::read(&mut section).resolve(&mut section);
    let poll = ingest::Options::read(&mut section_of(sources, "poll", &mut document, &mut report));
    let state = state(sources, &mut document, &mut report);
    let options = api.zip(state).map(|(api, state)| PollingOptions { api, poll, state });
    let (options, _) = report.finish(options)?;
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

/// Merges file, environment and flags.
fn read(sources: &Sources, file: Option<(PathBuf, String)>, report: &mut Complaints) -> Document {
    let mut document = match file {
        Some((path, text)) => settings::read_file(path, &text, report),
        None => Document::default(),
    };
    settings::apply_environment(&sources.env, &mut document, report);
    sources::apply_flags(&sources.flags, &mut document, report);
    document
}

/// Reads the options of all components except `log`. `None` if they could not be read; the errors are in the report.
fn resolve(sources: &Sources, log: Log, document: &mut Document, report: &mut Complaints) -> Option<Config> {
    let mut section = section_of(sources, "api", document, report);
    let (api, account) = api::settings::Settings::read(&mut section).resolve(&mut section);
    let poll = ingest::Options::read(&mut section_of(sources, "poll", document, report));
    let state = state(sources, document, report);
    let log = Log { dir: log.dir.or_else(|| locate::log_dir(sources)), ..log };
    let mut section = section_of(sources, "admin", document, report);
    let admin = admin::Settings::read(&mut section).resolve(&mut section);
    let mut section = section_of(sources, "heartbeat", document, report);
    let heartbeat = heartbeat::Settings::read(&mut section).resolve(&mut section);
    let codes = codes(sources, document, report);
    let mut section = section_of(sources, "events", document, report);
    let expiry_terms = ingest::EventSettings::read(&mut section).resolve(&mut section);
    let sinks_implied = document.sinks.values().all(|sink| sink.origin == Origin::Default);
    let sinks = sinks::resolve(sources, document, &account, &codes, report);
    warn_of_lost_events(document, &expiry_terms, &sinks, report);
    let file = report.path().map(ToOwned::to_owned);
    let (api, state) = (api?, state?);
    Some(Config {
        file,
        api,
        account,
        poll,
        state,
        log,
        codes,
        expiry_terms,
        admin,
        heartbeat,
        sinks,
        sinks_implied,
        invocation: sources.flags.invocation(),
        warnings: Vec::new(),
        source: ConfigSource::default(),
    })
}

/// Warns if `[events]` asks for events that no sink takes, or if a sink takes events for which `[events]` does not ask.
fn warn_of_lost_events(document: &mut Document, terms: &[Duration], sinks: &[ConfiguredSink], report: &mut Complaints) {
    let key = "number_expiring";
    let configured = document.section("events").entries.get(key).map(|entry| entry.origin.clone());
    let mut takers = sinks.iter().filter(|sink| sink.delivery.events);
    match (configured, takers.next()) {
        (Some(origin), None) if !terms.is_empty() => {
            let message = format!("`events.{key}` is set, and no sink has `events = true`, so the events go nowhere");
            report.warn(&origin, message, "set `events = true` in the sinks that should get the events");
        }
        (None, Some(sink)) => {
            let table = document.sinks.get(&sink.name);
            let Some(entry) = table.and_then(|table| table.entries.get("events")) else { return };
            let message =
                format!("`sinks.{}.events` is true, and `events.{key}` is not set, so there are no events", sink.name);
            report.warn(&entry.origin, message, "set it, for example to [\"7d\", \"1d\"]");
        }
        (Some(_), _) | (None, None) => {}
    }
}

fn codes(sources: &Sources, document: &mut Document, report: &mut Complaints) -> CodeFinder {
    let mut section = section_of(sources, "codes", document, report);
    codes::Settings::read(&mut section).resolve(&mut section)
}

fn log(sources: &Sources, document: &mut Document, report: &mut Complaints) -> Log {
    let mut section = section_of(sources, "log", document, report);
    let log = Log::read(&mut section);
    if let (Some(dir), Some(origin)) = (&log.dir, section.origin("dir")) {
        section.note_file("dir", origin, dir, FileUsage::Write);
    }
    log
}

/// Reads `[state]`. `--state-dir` takes precedence.
fn state(sources: &Sources, document: &mut Document, report: &mut Complaints) -> Option<store::Options> {
    let file = report.path().map(ToOwned::to_owned);
    let mut section = section_of(sources, "state", document, report);
    let state = store::Settings::read(&mut section);
    let dir = match &sources.flags.state_dir {
        Some(dir) if dir.as_os_str().is_empty() => {
            let help = "name a directory, or leave it out";
            section.error(&Origin::Flag("--state-dir"), "is empty".to_owned(), help);
            None
        }
        Some(dir) => Some(dir.clone()),
        None if section.written("dir").is_some() => {
            let origin = section.origin("dir").unwrap_or(section.place());
            section.note_file("dir", origin, state.written_dir(), FileUsage::Write);
            Some(state.written_dir().clone())
        }
        None => {
            let found: Option<PathBuf> = locate::state_dir(sources, file.as_deref());
            if found.is_none() && section.is_complete() {
                let message = "there is no state directory: neither $STATE_DIRECTORY nor $HOME is set";
                let help = "set `state.dir`, JOLTSMS_RELAY_STATE__DIR or --state-dir";
                section.error(&Origin::Default, message.to_owned(), help);
            }
            found
        }
    };
    // People look for the directory, and not all of them do so where the relay was started.
    let dir = dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
    state.resolve(dir?, &mut section)
}

fn section_of<'r>(
    sources: &'r Sources,
    name: &'static str,
    document: &'r mut Document,
    report: &'r mut Complaints,
) -> Reader<'r> {
    Reader::new(name.to_owned(), document.section(name), &sources.env, report)
}
