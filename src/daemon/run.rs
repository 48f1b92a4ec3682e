//! Phase two of the daemon: runs until the signal to stop, then drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::drain::{GRACE, drain};
use super::log_sentences::{LOCK_MADE_AGAIN, ONCE_IS_DONE, STOPPING};
use super::observers::Observers;
use super::queue_watch::QueueWatch;
use super::reader_watch::ReaderWatch;
use super::reload::{ReloadEvent, Reloader, Reloading};
use super::service::Service;
use super::service_status::service_status;
use super::setups::SinkBuilder;
use super::signals::{Stop, StopSignal};
use super::status_writer::{End, StatusWriter};
use super::watchdog::Watchdog;
use crate::api::Client;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::ingest::{Ending, Mode, PollError, PollReport, Poller};
use crate::status::{LoopProgress, ReloadReport};
use crate::store::{self, LockFileState, RoleLock, Spool, Store};
use crate::time::{Clock, Liveness};

/// The time between two checks that the role is still held, between two notes to the watchdog, and between two looks
/// whether the status has changed.
const WATCH: Duration = Duration::from_secs(1);

/// A relay that was built and does not poll yet.
pub struct Daemon {
    pub(super) lock: RoleLock,
    pub(super) clock: Clock,
    pub(super) opened: Opened,
    pub(super) pulse: StatusWriter,
    pub(super) mode: Mode,
    /// The configuration that the relay starts with.
    pub(super) config: Config,
    pub(super) progress: LoopProgress,
}

/// The opened state, and the parts that work on it.
pub(super) struct Opened {
    pub(super) store: Store,
    /// How many messages had been handed on to the sinks before this process began.
    pub(super) released_before: i64,
    pub(super) poller: Poller<Client>,
    pub(super) delivery: Delivery,
    pub(super) poller_liveness: Liveness,
    pub(super) observers: Observers,
    pub(super) builder: SinkBuilder,
    pub(super) reader_watch: ReaderWatch,
}

/// How a relay ended, if nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal stopped it.
    Stopped(StopSignal),
    /// The only sink is stdout, and nobody reads it any more.
    Closed,
    /// [`Mode::Once`]: all messages were read.
    CaughtUp {
        /// Whether deliveries wait for another attempt.
        work_left: bool,
    },
    /// [`Mode::Once`]: the API could not be read, for this reason.
    GaveUp(String),
    /// [`Mode::Once`]: no key is accepted; the API's last answer.
    NoKey(String),
}

/// A failure that ended the relay.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Polling cannot go on.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state is damaged, so a waiting message cannot be read.
    #[error("{0}")]
    Damaged(Arc<store::Error>),
    /// A task of the program panicked.
    #[error("internal error in {0}, please report it; nothing is lost, start it again")]
    Panicked(&'static str),
}

impl RunError {
    /// Whether the state is damaged.
    fn is_damage(&self) -> bool {
        let error = match self {
            Self::Store(error) | Self::Poll(PollError::Store(error)) => error,
            Self::Damaged(error) => error.as_ref(),
            Self::Poll(PollError::OtherAccount) | Self::Panicked(_) => return false,
        };
        matches!(error, store::Error::Damaged { .. })
    }
}

/// Why the running phase ended.
enum Over {
    Polling(Result<Ending, RunError>),
    Stop(StopSignal),
    Closed,
    Broken,
    /// The role was lost: another process may use the state.
    RoleLost(store::Error),
    Damaged(Arc<store::Error>),
}

impl Daemon {
    /// The poller's reports.
    pub fn reports(&self) -> watch::Receiver<PollReport> {
        self.opened.poller.reports()
    }

    /// Runs until `stop` asks for the end, or until `once` has nothing left to do; then drains. Without `reloading` the
    /// configuration stays as it is.
    ///
    /// # Errors
    /// [`RunError`], after the drain.
    pub async fn run(self, mut stop: watch::Receiver<Stop>, reloading: Option<Reloading>) -> Result<Ended, RunError> {
        let Self { mut lock, clock, opened, pulse: mut live, mode, config, progress } = self;
        let Opened { store, released_before, poller, mut delivery, poller_liveness, reader_watch, observers, builder } =
            opened;
        let reports = poller.reports();
        // The observers end with this function, after the drain.
        let dir = config.state.dir.clone();
        let _observing = observers.start(dir, clock.clone(), live.reports(), &progress);
        let mut reloader =
            reloading.map(|reloading| Reloader::new(reloading, poller.control(), builder, config, clock.clone()));
        let (stop_polling, polling_stops) = watch::channel(false);
        let mut polling = tokio::spawn(poller.run(polling_stops));
        let watching_readers = tokio::spawn(reader_watch.run());
        let mut service = Service::from_environment();
        let queues = match service.is_managed() {
            true => QueueWatch::start(store.clone(), clock.clone()),
            false => QueueWatch::off(),
        };
        let status = |delivery: &Delivery, reload: Option<&ReloadReport>| {
            service_status(&reports.borrow(), &delivery.status(), &queues.queues(), reload, clock.relay_time())
        };
        service.ready(&status(&delivery, None));
        let watchdog = Watchdog::start(&clock, &progress).inspect_err(|error| {
            tracing::warn!(%error, "the watchdog of the service manager cannot be fed");
        });
        let over = {
            let (closed, broken, damaged) = (delivery.outputs_closed(), delivery.loop_died(), delivery.state_damaged());
            tokio::pin!(closed, broken, damaged);
            let mut writing = tokio::time::interval(live.interval());
            writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut watching = tokio::time::interval(WATCH);
            watching.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ended = &mut polling => break Over::Polling(outcome(ended)),
                    stopped = stop.wait_for(|stop| *stop != Stop::No) => {
                        // A closed channel means that nobody can ask for a stop any more.
                        let signal = stopped.map_or(None, |stop| stop.signal());
                        break Over::Stop(signal.unwrap_or(StopSignal::Terminate));
                    }
                    () = &mut closed => break Over::Closed,
                    () = &mut broken => break Over::Broken,
                    error = &mut damaged => break Over::Damaged(error),
                    _ = watching.tick() => {
                        progress.note(delivery.longest_stall().max(poller_liveness.stalled_for()));
                        if let Some(error) = lost(&mut lock) {
                            break Over::RoleLost(error);
                        }
                        service.show(&status(&delivery, reloader.as_ref().map(Reloader::report)));
                        if let Ok(watchdog) = &watchdog {
                            watchdog.feed(service.is_ready());
                        }
                    }
                    _ = writing.tick() => {
                        delivery.end_retired_sinks();
                        live.write(&reports.borrow(), &delivery.status());
                    }
                    (reloader, event) = next_event(&mut reloader) => {
                        match event {
                            ReloadEvent::Asked => service.reloading(),
                            ReloadEvent::Due => {}
                            ReloadEvent::Ended(reading) => {
                                if reloader.end(*reading, &mut delivery) {
                                    closed.set(delivery.outputs_closed());
                                    broken.set(delivery.loop_died());
                                }
                                live.follow(reloader.config().poll.interval, reloader.report());
                                writing = tokio::time::interval(live.interval());
                                writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
                                if !reloader.is_reloading() {
                                    service.ready(&status(&delivery, Some(reloader.report())));
                                }
                            }
                        }
                        reloader.begin(&delivery);
                    }
                }
            }
        };
        let result = match over {
            Over::Polling(Ok(Ending::Stopped)) => Ok(Ended::Stopped(StopSignal::Terminate)),
            // Messages that were read earlier are delivered, also if the API failed now.
            Over::Polling(Ok(ending)) => match deliver_what_is_due(&delivery, &mut stop).await {
                Ok(Ended::CaughtUp { work_left }) => Ok(match ending {
                    Ending::GaveUp(why) => Ended::GaveUp(why),
                    Ending::NoKey(why) => Ended::NoKey(why),
                    Ending::CaughtUp | Ending::Stopped => Ended::CaughtUp { work_left },
                }),
                otherwise => otherwise,
            },
            Over::Polling(Err(error)) => Err(error),
            Over::Stop(signal) => {
                tracing::info!(grace_s = GRACE.as_secs(), "{STOPPING}");
                Ok(Ended::Stopped(signal))
            }
            Over::Damaged(error) => Err(RunError::Damaged(error)),
            Over::RoleLost(error) => Err(RunError::Store(error)),
            Over::Broken => Err(RunError::Panicked("delivery")),
            Over::Closed => Ok(if mode == Mode::Once { Ended::CaughtUp { work_left: true } } else { Ended::Closed }),
        };
        if matches!(result, Ok(Ended::CaughtUp { .. }))
            && let Err(error) = tell_counts(&store, released_before, &delivery).await
        {
            tracing::debug!(%error, "the counts of once cannot be read");
        }
        drop(store);
        service.stopping();
        drop(watchdog);
        progress.note_stopping();
        live.write(&reports.borrow(), &delivery.status());
        stop_polling.send_replace(true);
        if !polling.is_finished() {
            // The poller ends a commit that is under way, but not a request.
            let at_once = stop.wait_for(|stop| matches!(stop, Stop::AtOnce(_)));
            tokio::select! {
                _ = &mut polling => {}
                _ = at_once => polling.abort(),
            }
        }
        drain(delivery, &mut stop, &clock).await;
        watching_readers.abort();
        // The task holds the store, which is closed in good order only when nobody holds it any more.
        drop(watching_readers.await);
        live.stopped(end_of(&result, mode));
        drop(lock);
        result
    }
}

/// Logs how many messages came, how many deliveries were made, and how many wait.
async fn tell_counts(store: &Store, released_before: i64, delivery: &Delivery) -> Result<(), store::Error> {
    let released = store.read(Spool::last_released).await?;
    let deliveries: u64 = delivery.status().iter().map(|sink| sink.delivered.count).sum();
    let waiting = delivery.waiting().await?;
    tracing::info!(messages = released.saturating_sub(released_before), deliveries, waiting, "{ONCE_IS_DONE}");
    Ok(())
}

/// Describes the end for `status`.
fn end_of(result: &Result<Ended, RunError>, mode: Mode) -> End {
    match result {
        Ok(Ended::CaughtUp { work_left: false }) => End::CaughtUp,
        Ok(Ended::CaughtUp { work_left: true }) => End::Failed("some messages wait for another attempt".to_owned()),
        Ok(Ended::Stopped(_)) if mode == Mode::Once => End::Failed("it was interrupted".to_owned()),
        Ok(Ended::Stopped(_) | Ended::Closed) => End::AsAsked,
        Ok(Ended::GaveUp(why)) => End::Failed(why.clone()),
        Ok(Ended::NoKey(why)) => End::Failed(format!("no API key is accepted: {why}")),
        Err(error) if error.is_damage() => End::Damaged(error.to_string()),
        Err(error) => End::Failed(error.to_string()),
    }
}

/// Waits for the next event of a reload. Without a reloader the future never ends.
async fn next_event(reloader: &mut Option<Reloader>) -> (&mut Reloader, ReloadEvent) {
    match reloader {
        Some(reloader) => {
            let event = reloader.next().await;
            (reloader, event)
        }
        None => std::future::pending().await,
    }
}

/// Checks the role; returns why it was lost, if it was.
fn lost(lock: &mut RoleLock) -> Option<store::Error> {
    match lock.ensure_held() {
        Ok(LockFileState::Intact) => None,
        Ok(LockFileState::Recreated) => {
            tracing::warn!("{LOCK_MADE_AGAIN}");
            None
        }
        Err(error @ (store::Error::InUse { .. } | store::Error::Replaced { .. })) => Some(error),
        // The lock on the directory is still held.
        Err(error) => {
            tracing::debug!(%error, "the relay cannot find out whether it still has the role");
            None
        }
    }
}

fn outcome(ended: Result<Result<Ending, PollError>, tokio::task::JoinError>) -> Result<Ending, RunError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(_) => Err(RunError::Panicked("polling")),
    }
}

/// Delivers what is due now and leaves the rest, or stops when the signal to stop comes.
async fn deliver_what_is_due(delivery: &Delivery, stop: &mut watch::Receiver<Stop>) -> Result<Ended, RunError> {
    tokio::select! {
        error = delivery.state_damaged() => Err(RunError::Damaged(error)),
        idle = delivery.until_idle() => Ok(Ended::CaughtUp { work_left: idle? }),
        stopped = stop.wait_for(|stop| *stop != Stop::No) => {
            let signal = stopped.map_or(None, |stop| stop.signal());
            Ok(Ended::Stopped(signal.unwrap_or(StopSignal::Terminate)))
        }
    }
}
