//! The parts that a relay's process has from its start to its end, whether it works or stands by: its role on the state
//! directory, its report about itself, its service manager, and its configuration.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ending::RunError;
use super::log_sentences::LOCK_MADE_AGAIN;
use super::purpose::Purpose;
use super::reload::Reloading;
use super::service::Service;
use super::signals::{Stop, StopSignal};
use super::sink_builder::SinkBuilder;
use super::status_writer::StatusWriter;
use super::watchdog::Watchdog;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::status::LoopProgress;
use crate::store::{self, LockFileState, RoleLock};
use crate::time::Clock;

/// The time between two calls of [`RelayProcess::watch`].
const WATCH: Duration = Duration::from_secs(1);

/// The text that the service manager shows of a relay that stands by.
const STANDS_BY: &str = "standing by";

/// The parts of the process.
pub(super) struct RelayProcess {
    pub(super) lock: RoleLock,
    pub(super) clock: Clock,
    pub(super) status: StatusWriter,
    pub(super) purpose: Purpose,
    /// The configuration in effect.
    pub(super) config: Config,
    pub(super) progress: LoopProgress,
    pub(super) metrics: Metrics,
    pub(super) builder: SinkBuilder,
    pub(super) service: Service,
    /// `None`: there is no watchdog, or the relay is stopping.
    pub(super) watchdog: Option<Watchdog>,
    /// The means to read the configuration again; `None`: the configuration stays as it is.
    pub(super) reloading: Option<Reloading>,
}

/// How standing by has ended.
pub(super) enum StoodBy<T> {
    /// The work for which the relay waited is done, with this result.
    Done(T),
    /// A signal stops the process.
    Stopped(StopSignal),
}

impl RelayProcess {
    /// Begins to feed the watchdog of the service manager.
    pub(super) fn begin(&mut self) {
        let watchdog = Watchdog::start(&self.clock, &self.progress).inspect_err(|error| {
            tracing::warn!(%error, "the watchdog of the service manager cannot be fed");
        });
        self.watchdog = watchdog.ok();
    }

    /// Returns the ticks at which [`Self::watch`] is called.
    pub(super) fn watch_ticks() -> Interval {
        unhurried(WATCH)
    }

    /// Returns the ticks at which the status is written.
    pub(super) fn status_ticks(&self) -> Interval {
        unhurried(self.status.interval())
    }

    /// Does what is due once a second:
    ///
    /// - records how long ago the slowest loop last went round (`longest_stall`);
    /// - checks that the relay still has the role;
    /// - sends `status` to the service manager, if it has changed, and lets the watchdog be fed.
    ///
    /// # Errors
    /// [`store::Error::InUse`] and [`store::Error::Replaced`]: the role is lost.
    pub(super) fn watch(&mut self, longest_stall: Duration, status: &str) -> Result<(), store::Error> {
        self.progress.note(longest_stall);
        match self.lock.ensure_held() {
            Ok(LockFileState::Intact) => {}
            Ok(LockFileState::Recreated) => tracing::warn!("{LOCK_MADE_AGAIN}"),
            Err(error @ (store::Error::InUse { .. } | store::Error::Replaced { .. })) => return Err(error),
            // The relay still holds the lock on the directory, so it goes on.
            Err(error) => tracing::debug!(%error, "the relay cannot find out whether it still has the role"),
        }
        self.service.show(status);
        if let Some(watchdog) = &self.watchdog {
            watchdog.feed(self.service.is_ready());
        }
        Ok(())
    }

    /// Records that the process stops.
    pub(super) fn note_stopping(&mut self) {
        self.service.stopping();
        self.watchdog = None;
        self.progress.note_stopping();
    }

    /// Stands by until `work` is done, or until a signal stops the process. Meanwhile SIGHUP makes the process read its
    /// configuration again.
    ///
    /// # Errors
    /// [`RunError::Store`]: the role on the state directory is lost.
    pub(super) async fn stand_by<T>(
        &mut self,
        stop: &mut watch::Receiver<Stop>,
        work: impl Future<Output = T>,
    ) -> Result<StoodBy<T>, RunError> {
        tokio::pin!(work);
        let (mut watching, mut writing) = (Self::watch_ticks(), self.status_ticks());
        self.service.ready(STANDS_BY);
        loop {
            tokio::select! {
                done = &mut work => return Ok(StoodBy::Done(done)),
                signal = stopped(stop) => return Ok(StoodBy::Stopped(signal)),
                _ = watching.tick() => self.watch(Duration::ZERO, STANDS_BY)?,
                _ = writing.tick() => self.status.stand_by(),
                () = hangup(&mut self.reloading) => self.reload().await,
            }
        }
    }

    /// Reads the configuration again, for the next term of this relay.
    async fn reload(&mut self) {
        let Some(reloading) = &self.reloading else { return };
        self.service.reloading();
        if let Some(config) = reloading.read_standing_by(&self.config).await {
            self.config = config;
        }
        self.service.ready(STANDS_BY);
    }
}

/// Makes ticks that are at least `period` apart. After a delay, the ticks that were missed are
/// skipped.
fn unhurried(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the signal that stops the process.
pub(super) async fn stopped(stop: &mut watch::Receiver<Stop>) -> StopSignal {
    // A closed channel means that nobody can ask for a stop any more.
    let signal = stop.wait_for(|stop| *stop != Stop::No).await.map_or(None, |stop| stop.signal());
    signal.unwrap_or(StopSignal::Terminate)
}

/// Waits for SIGHUP. If `reloading` is `None`, waits for ever.
async fn hangup(reloading: &mut Option<Reloading>) {
    if let Some(reloading) = reloading
        && reloading.signals.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
