//! One reading of the configuration: the layers are merged, then each component reads its section.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::sources::{Sources, apply_flags};
use super::{Config, ConfigSource, ConfiguredSink, Errors, Log, LogFormat, declarations, locate, sinks};
use crate::codes::{self, CodeFinder};
use crate::secret::Secret;
use crate::settings::{self, Complaints, Document, FileUsage, Origin, Reader, Settings};
use crate::{admin, api, heartbeat, ingest, store};

/// A configuration while it is read. Errors are gathered in the report, and do not end the reading.
pub(super) struct Loading<'s> {
    pub(super) sources: &'s Sources,
    pub(super) document: Document,
    pub(super) report: Complaints,
    /// The text of the file.
    text: Option<Secret>,
}

impl<'s> Loading<'s> {
    /// Finds the file, and merges file, environment and flags.
    pub(super) fn start(sources: &'s Sources) -> Self {
        let mut report = Complaints::new(declarations());
        let file = locate::config_file(sources, &mut report);
        Self::merge(sources, file, report)
    }

    /// Merges this file, the environment and the flags.
    pub(super) fn merge(sources: &'s Sources, file: Option<(PathBuf, String)>, mut report: Complaints) -> Self {
        let text = file.as_ref().map(|(_, text)| Secret::from(text.as_str()));
        let mut document = match file {
            Some((path, text)) => settings::read_file(path, &text, &mut report),
            None => Document::default(),
        };
        settings::apply_environment(&sources.env, &mut document, &mut report);
        apply_flags(&sources.flags, &mut document, &mut report);
        Self { sources, document, report, text }
    }

    /// The path of the file that was read.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.report.path().map(Path::to_owned)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The format of the log (text if that cannot be read), and all errors.
    pub(super) fn config(mut self) -> Result<Config, (LogFormat, Errors)> {
        let log = self.log();
        let format = log.format;
        let config = self.options(log);
        let source = ConfigSource {
            file_text: self.text,
            fingerprints: self.report.fingerprints(&self.document),
            secret_files: self.report.secret_files().clone(),
            passed_over: locate::passed_over(self.sources, self.report.path()),
            named_files: self.report.named_files().to_vec(),
        };
        let (config, warnings) = self.report.finish(config).map_err(|errors| (format, errors))?;
        Ok(Config { warnings, source, ..config })
    }

    /// Reads the options of all components except `log`. `None` if they could not be read; the errors are in the
    /// report.
    fn options(&mut self, log: Log) -> Option<Config> {
        let (api, account) = self.api();
        let poll = self.poll();
        let state = self.state();
        let log = Log { dir: log.dir.or_else(|| locate::log_dir(self.sources)), ..log };
        let admin = self.section("admin", admin::Settings::resolve);
        let heartbeat = self.section("heartbeat", heartbeat::Settings::resolve);
        let codes = self.codes();
        let expiry_terms = self.section("events", ingest::EventSettings::resolve);
        let sinks_implied = self.document.sinks.values().all(|sink| sink.origin == Origin::Default);
        let sinks = sinks::resolve(self, &account, &codes);
        self.warn_of_lost_events(&expiry_terms, &sinks);
        Some(Config {
            file: self.file(),
            api: api?,
            account,
            poll,
            state: state?,
            log,
            codes,
            expiry_terms,
            admin,
            heartbeat,
            sinks,
            sinks_implied,
            invocation: self.sources.flags.invocation(),
            warnings: Vec::new(),
            source: ConfigSource::default(),
        })
    }

    /// Reads a section. `resolve` checks its values, and makes the options of the component.
    fn section<S: Settings, T>(&mut self, name: &'static str, resolve: impl FnOnce(S, &mut Reader<'_>) -> T) -> T {
        let table = self.document.section(name);
        let mut at = Reader::new(name.to_owned(), table, &self.sources.env, &mut self.report);
        let settings = S::read(&mut at);
        resolve(settings, &mut at)
    }

    /// Reads `[api]`, and returns the name of the account, too.
    pub(super) fn api(&mut self) -> (Option<api::Options>, Arc<str>) {
        self.section("api", api::settings::Settings::resolve)
    }

    /// Reads `[poll]`.
    pub(super) fn poll(&mut self) -> ingest::Options {
        self.section("poll", |options, _| options)
    }

    /// Reads `[codes]`.
    pub(super) fn codes(&mut self) -> CodeFinder {
        self.section("codes", codes::Settings::resolve)
    }

    fn log(&mut self) -> Log {
        self.section("log", |log: Log, at| {
            if let (Some(dir), Some(origin)) = (&log.dir, at.origin("dir")) {
                at.note_file("dir", origin, dir, FileUsage::Write);
            }
            log
        })
    }

    /// Reads `[state]`. `--state-dir` takes precedence.
    pub(super) fn state(&mut self) -> Option<store::Options> {
        let sources = self.sources;
        let file = self.file();
        self.section("state", |state: store::Settings, at| {
            let dir = match (&sources.flags.state_dir, at.origin("dir")) {
                (Some(dir), _) if dir.as_os_str().is_empty() => {
                    let help = "name a directory, or leave it out";
                    at.error(&Origin::Flag("--state-dir"), "is empty".to_owned(), help);
                    None
                }
                (Some(dir), _) => Some(dir.clone()),
                (None, Some(origin)) => {
                    at.note_file("dir", origin, state.written_dir(), FileUsage::Write);
                    Some(state.written_dir().clone())
                }
                (None, None) => {
                    let found = locate::state_dir(sources, file.as_deref());
                    if found.is_none() && at.is_complete() {
                        let message = "there is no state directory: neither $STATE_DIRECTORY nor $HOME is set";
                        let help = "set `state.dir`, JOLTSMS_RELAY_STATE__DIR or --state-dir";
                        at.error(&Origin::Default, message.to_owned(), help);
                    }
                    found
                }
            }?;
            // People look for the directory, and not all of them do so where the relay was started.
            let dir = std::path::absolute(&dir).unwrap_or(dir);
            state.resolve(dir, at)
        })
    }

    /// Warns if `[events]` asks for events that no sink takes, or if a sink takes events for which `[events]` does not
    /// ask.
    fn warn_of_lost_events(&mut self, terms: &[Duration], sinks: &[ConfiguredSink]) {
        let key = "number_expiring";
        let configured = self.document.section("events").entries.get(key);
        let mut takers = sinks.iter().filter(|sink| sink.delivery.events);
        match (configured, takers.next()) {
            (Some(entry), None) if !terms.is_empty() => {
                let message =
                    format!("`events.{key}` is set, and no sink has `events = true`, so the events go nowhere");
                let help = "set `events = true` in the sinks that should get the events";
                self.report.warn(&entry.origin, message, help);
            }
            (None, Some(sink)) => {
                let table = self.document.sinks.get(&sink.name);
                let Some(entry) = table.and_then(|table| table.entries.get("events")) else { return };
                let message = format!(
                    "`sinks.{}.events` is true, and `events.{key}` is not set, so there are no events",
                    sink.name
                );
                self.report.warn(&entry.origin, message, "set it, for example to [\"7d\", \"1d\"]");
            }
            (Some(_), _) | (None, None) => {}
        }
    }
}
