//! Reads the configuration again while the relay runs. After SIGHUP, the whole configuration is read again. If a file
//! with a secret has changed, or if the API has refused all API keys of the configuration, only the secrets are read
//! again.
//!
//! Invariants:
//! - Only one reading is under way at a time. The new configuration is prepared while the relay goes on, and then takes
//!   effect as a whole.
//! - If any part of a new configuration cannot be used, nothing changes.
//! - The log says once what has changed, or what is wrong.

mod diff;
mod prepare;
mod standing_by;
mod watched_files;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::diff::ConfigDiff;
use self::prepare::{NotReloaded, Preparation, Prepared};
use self::watched_files::{LOOK_EVERY, Look, WatchedFiles, look};
use super::log_sentences::{
    NEEDS_RESTART, NOT_RELOADED, NOTHING_CHANGED, RELOADED, SECRETS_NOT_READ, SECRETS_READ_AGAIN, SINK_NOT_CONFIGURED,
};
use super::logging::LogLevel;
use super::relay_feed::RelayFeed;
use super::sink_builder::SinkBuilder;
use crate::api::budget::{BudgetLimits, WINDOW};
use crate::config::{Config, Errors};
use crate::delivery::Delivery;
use crate::domain::UnixMs;
use crate::ingest::coverage::Rules;
use crate::ingest::{PollSettings, PollerControl, RequestSlots};
use crate::status::ReloadReport;
use crate::time::Clock;

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAgain {
    /// The configuration file, and everything that it names.
    Everything,
    /// Only the files with secrets. The configuration file itself is not read: its earlier text is used.
    Secrets,
}

/// Reads the configuration again, with the flags and the environment of the start. The argument is the configuration in
/// effect.
pub type ReadConfig = Arc<dyn Fn(&Config, ReadAgain) -> Result<Config, Errors> + Send + Sync>;

/// What a relay needs to read its configuration again.
#[derive(Clone)]
pub struct Reloading {
    /// Reads the configuration.
    pub read: ReadConfig,
    /// The level of the log.
    pub level: LogLevel,
    /// How often SIGHUP has asked for a reload so far.
    pub signals: watch::Receiver<u64>,
}

/// The parts of a relay that a reload changes, except delivery.
pub(super) struct Reloader {
    reloading: Reloading,
    control: PollerControl<RelayFeed>,
    /// The slots of the request budget that relays share; `None`: the relay is alone on its state.
    slots: Option<RequestSlots>,
    builder: SinkBuilder,
    clock: Clock,
    config: Arc<Config>,
    files: WatchedFiles,
    looks: Interval,
    looking: Option<JoinHandle<Look>>,
    wanted: Wanted,
    running: Option<Running>,
    report: ReloadReport,
    /// Why the secrets cannot be used, as the log said it last. `None` while they can be used.
    told: Option<String>,
    /// The log has already said of these keys that they keep their old values until a restart.
    told_restart: BTreeSet<String>,
}

/// What is to be read again as soon as no reading is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    everything: bool,
    secrets: bool,
}

/// A reading of the configuration that is under way.
struct Running {
    what: ReadAgain,
    task: JoinHandle<(Look, Result<Prepared, NotReloaded>)>,
}

/// An event that concerns reloads.
pub(super) enum ReloadEvent {
    /// SIGHUP asks for a reload.
    Asked,
    /// Perhaps a reading has to begin now.
    Due,
    /// A reading has ended.
    Ended(Box<Reading>),
}

/// A reading of the configuration that has ended.
pub(super) struct Reading {
    what: ReadAgain,
    ended: Result<(Look, Result<Prepared, NotReloaded>), JoinError>,
}

impl Reloader {
    pub(super) fn new(
        reloading: Reloading,
        control: PollerControl<RelayFeed>,
        builder: SinkBuilder,
        config: Config,
        clock: Clock,
        slots: Option<RequestSlots>,
    ) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            reloading,
            control,
            slots,
            builder,
            clock,
            // A file with a secret may have changed since the configuration was read.
            files: WatchedFiles::new(config.source.secret_files.clone(), None),
            config: Arc::new(config),
            looks,
            looking: None,
            wanted: Wanted::default(),
            running: None,
            report: ReloadReport::default(),
            told: None,
            told_restart: BTreeSet::new(),
        }
    }

    /// The outcome of the last reload, for `status`.
    pub(super) fn report(&self) -> &ReloadReport {
        &self.report
    }

    /// The configuration in effect.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether a reload by SIGHUP is under way or wanted.
    pub(super) fn is_reloading(&self) -> bool {
        self.wanted.everything || self.running.as_ref().is_some_and(|running| running.what == ReadAgain::Everything)
    }

    /// Waits for the next event. Dropping the future loses no event.
    pub(super) async fn next(&mut self) -> ReloadEvent {
        let Self { reloading, control, looks, looking, running, files, wanted, .. } = self;
        tokio::select! {
            asked = reloading.signals.changed() => match asked {
                Ok(()) => {
                    wanted.everything = true;
                    ReloadEvent::Asked
                }
                Err(_) => std::future::pending().await,
            },
            () = control.key_refused() => {
                wanted.secrets = true;
                ReloadEvent::Due
            }
            (what, ended) = end_of(running) => {
                *running = None;
                ReloadEvent::Ended(Box::new(Reading { what, ended }))
            }
            found = found_by(looking) => {
                *looking = None;
                if let Ok(found) = found {
                    wanted.secrets |= files.notice(found);
                }
                ReloadEvent::Due
            }
            _ = looks.tick(), if looking.is_none() && !files.files().is_empty() => {
                let files = files.files().clone();
                *looking = Some(spawn_blocking(move || look(&files)));
                ReloadEvent::Due
            }
        }
    }

    /// Begins to read the configuration again, if that is wanted and no reading is under way.
    pub(super) fn begin(&mut self, delivery: &Delivery) {
        let what = match self.wanted {
            _ if self.running.is_some() => return,
            Wanted { everything: true, .. } => ReadAgain::Everything,
            Wanted { secrets: true, .. } => ReadAgain::Secrets,
            Wanted { .. } => return,
        };
        self.wanted = Wanted::default();
        let preparation = Preparation {
            read: Arc::clone(&self.reloading.read),
            what,
            config: Arc::clone(&self.config),
            clock: self.clock.clone(),
            builder: self.builder.clone(),
            registrar: delivery.registrar(),
        };
        self.running = Some(Running { what, task: tokio::spawn(preparation.run()) });
    }

    /// Lets the configuration that was read take effect, or reports why it cannot. Returns whether sinks have changed.
    pub(super) fn end(&mut self, reading: Reading, delivery: &mut Delivery) -> bool {
        let Reading { what, ended } = reading;
        let now = self.clock.relay_time();
        let Ok((found, prepared)) = ended else {
            self.fail(what, "internal error, please report it", now);
            return false;
        };
        match prepared {
            Ok(prepared) => self.take_effect(what, prepared, delivery, now),
            Err(why) => {
                if what == ReadAgain::Secrets && matches!(why, NotReloaded::Invalid(_)) {
                    self.files.note_read(found);
                }
                self.fail(what, &why.to_string(), now);
                self.answer_poller();
                false
            }
        }
    }

    fn take_effect(&mut self, what: ReadAgain, prepared: Prepared, delivery: &mut Delivery, now: UnixMs) -> bool {
        let Prepared { config, diff, client, sinks, stranded, look } = prepared;
        let changes_sinks = sinks.is_some();
        tell(what, &diff, &self.told_restart);
        self.told_restart.clone_from(&diff.needs_restart);
        if what == ReadAgain::Everything {
            config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        if let Some(sinks) = sinks {
            delivery.follow(sinks);
        }
        for (sink, messages) in stranded {
            tracing::warn!(sink.name = sink, messages, "{SINK_NOT_CONFIGURED}");
        }
        if client.is_some() || ["poll", "state", "events"].iter().any(|section| diff.changes(section)) || changes_sinks
        {
            let feed = client.map(|client| RelayFeed::new(client, self.slots.clone()));
            self.control.follow(poll_settings(&config, feed));
        }
        self.answer_poller();
        self.reloading.level.set(config.log.level);
        self.files = WatchedFiles::new(config.source.secret_files.clone(), look);
        self.builder.note_config(&config);
        self.config = Arc::new(config);
        match what {
            ReadAgain::Everything => self.report.reloaded(now),
            ReadAgain::Secrets => self.report.secrets_recovered(),
        }
        self.told = None;
        changes_sinks
    }

    /// Tells the poller that the reading is over. A poller that still waits for new API keys then knows that there are
    /// none. If the configuration is to be read once more, the end of that reading tells the poller instead.
    fn answer_poller(&self) {
        if !self.wanted.secrets && !self.wanted.everything {
            self.control.keys_are_unchanged();
        }
    }

    fn fail(&mut self, what: ReadAgain, why: &str, now: UnixMs) {
        match what {
            ReadAgain::Everything => {
                tracing::error!(errors = why, "{NOT_RELOADED}");
                self.report.reload_failed(now, why);
            }
            ReadAgain::Secrets => {
                if self.told.as_deref() != Some(why) {
                    tracing::warn!(errors = why, "{SECRETS_NOT_READ}");
                    self.told = Some(why.to_owned());
                }
                self.report.secrets_failed(now, why);
            }
        }
    }
}

/// Waits for the end of the reading under way. If none is under way, waits for ever.
async fn end_of(
    running: &mut Option<Running>,
) -> (ReadAgain, Result<(Look, Result<Prepared, NotReloaded>), JoinError>) {
    match running {
        Some(running) => (running.what, (&mut running.task).await),
        None => std::future::pending().await,
    }
}

/// Waits for the end of the look at the files with secrets. If no look is under way, waits for ever.
async fn found_by(looking: &mut Option<JoinHandle<Look>>) -> Result<Look, JoinError> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// Returns the settings of the poller.
fn poll_settings(config: &Config, feed: Option<RelayFeed>) -> PollSettings<RelayFeed> {
    PollSettings {
        feed,
        limits: BudgetLimits {
            requests: config.api.requests_per_minute,
            window: WINDOW,
            head_interval: config.poll.interval,
        },
        rules: Rules::new(config.poll.start, config.poll.lookback, config.poll.sweep_interval),
        state: config.state.clone(),
        numbers: config.number_uses(),
    }
}

/// Logs in one line what has changed, and in another line which settings need a restart. Unless SIGHUP asked for the
/// reload, the second line is left out if the log has already named all these settings (`told_restart`).
fn tell(what: ReadAgain, diff: &ConfigDiff, told_restart: &BTreeSet<String>) {
    let list = |names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(names.join(",")).filter(|list| !list.is_empty())
    };
    let (added, changed, removed) = (list(&diff.added), list(&diff.changed), list(&diff.removed));
    match what {
        ReadAgain::Everything if diff.takes_no_effect() => tracing::info!("{NOTHING_CHANGED}"),
        ReadAgain::Secrets if diff.takes_no_effect() => {}
        ReadAgain::Everything => tracing::info!(sinks.added = added, sinks.removed = removed, changed, "{RELOADED}"),
        ReadAgain::Secrets => tracing::info!(changed, "{SECRETS_READ_AGAIN}"),
    }
    let is_untold = what == ReadAgain::Everything || !diff.needs_restart.is_subset(told_restart);
    if let Some(keys) = list(&diff.needs_restart).filter(|_| is_untold) {
        tracing::warn!(keys, "{NEEDS_RESTART}");
    }
}
