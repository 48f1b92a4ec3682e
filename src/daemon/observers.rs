//! The parts that show the running relay to others: the admin endpoint, and the heartbeat to a monitoring service.
//!
//! Invariant: the observers run in tasks of their own, and nothing in the relay waits for them.

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::log_sentences::ADMIN_LISTENS;
use crate::admin::{AdminServer, AdminState, ArrivalSource, CannotListen, SinksInEffect, StateAccess};
use crate::codes::CodeFinder;
use crate::config::Config;
use crate::heartbeat::Pinger;
use crate::http::client::ClientBuildError;
use crate::metrics::Metrics;
use crate::status::{Live, LoopProgress, StatusSource};
use crate::store::StateLocation;
use crate::time::Clock;

/// The observers before they begin. The admin endpoint listens already.
pub(super) struct Observers {
    admin: Option<AdminServer>,
    heartbeat: Option<Pinger>,
    metrics: Metrics,
    sinks: SinksInEffect,
    /// Whether the relay erases the text of each message as soon as every sink has the message.
    erases_at_once: bool,
    codes: watch::Receiver<CodeFinder>,
}

/// Why an observer cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The address of the admin endpoint cannot be used.
    #[error(transparent)]
    Admin(#[from] CannotListen),
    /// HTTPS cannot be set up for the heartbeat.
    #[error(transparent)]
    Heartbeat(#[from] ClientBuildError),
}

impl Observers {
    /// Makes the observers that the configuration asks for. `sinks`: the sinks of the configuration in effect. `codes`:
    /// the finder of one-time codes. A reload may replace both.
    pub(super) async fn prepare(
        config: &Config,
        metrics: Metrics,
        sinks: SinksInEffect,
        codes: watch::Receiver<CodeFinder>,
    ) -> Result<Self, ObserverError> {
        let admin = match &config.admin {
            Some(options) => Some(AdminServer::bind(options).await?),
            None => None,
        };
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address(), token = admin.has_token(), "{ADMIN_LISTENS}");
        }
        let heartbeat = config.heartbeat.as_ref().map(Pinger::new).transpose()?;
        let erases_at_once = config.state.erase_on_delivery();
        Ok(Self { admin, heartbeat, metrics, sinks, erases_at_once, codes })
    }

    /// Makes no observers, for the command `once`.
    pub(super) fn none(metrics: Metrics) -> Self {
        let (sinks, codes) = (SinksInEffect::default(), watch::Sender::default().subscribe());
        Self { admin: None, heartbeat: None, metrics, sinks, erases_at_once: false, codes }
    }

    /// Begins to show the relay that works on `state`. The observers end when the returned set is dropped.
    pub(super) fn start(
        self,
        state: StateLocation,
        clock: Clock,
        live: watch::Receiver<Live>,
        progress: &LoopProgress,
    ) -> JoinSet<()> {
        let Self { admin, heartbeat, metrics, sinks, erases_at_once, codes } = self;
        let arrivals = ArrivalSource { state: state.clone(), erases_at_once, codes };
        let access = StateAccess::new(state.clone(), clock.clone());
        let status = StatusSource::new(state, clock, live);
        let mut tasks = JoinSet::new();
        if let Some(admin) = admin {
            let (status, progress) = (status.clone(), progress.clone());
            tasks.spawn(admin.serve(AdminState { status, progress, metrics, access, sinks, arrivals }));
        }
        if let Some(heartbeat) = heartbeat {
            tasks.spawn(heartbeat.run(status, progress.clone()));
        }
        tasks
    }
}
