//! The whole configuration: the options of all components, from one reading.

use std::time::Duration;

use super::loading::Loading;
use super::{Config, ConfigSource, ConfiguredSink, Errors, Log, LogFormat, locate, sinks};
use crate::settings::Origin;
use crate::{admin, heartbeat, ingest};

impl Loading<'_> {
    /// Reads the whole configuration.
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
