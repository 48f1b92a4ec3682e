//! Phase two: run, and drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::service::Service;
use super::signals::{Stop, StopSignal};
use super::status_writer::StatusWriter;
use crate::api::Client;
use crate::delivery::{Delivery, SinkStatus};
use crate::ingest::{Ending, Mode, PollReport, Poller, Trouble};
use crate::store::{self, Role, RoleLock};
use crate::time::{Clock, Heartbeat};

/// What is in flight when the relay is told to stop has so long to end.
const GRACE: Duration = Duration::from_secs(8);

/// How often it looks whether it still has the role.
const WATCH: Duration = Duration::from_secs(1);

/// A relay that was built and not started yet.
pub struct Daemon {
    pub(super) lock: RoleLock,
    pub(super) clock: Clock,
    pub(super) poller: Poller<Client>,
    pub(super) delivery: Delivery,
    pub(super) turns: Heartbeat,
    pub(super) pulse: StatusWriter,
    pub(super) mode: Mode,
}

/// How a relay ended, all in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal.
    Stopped(StopSignal),
    /// Nobody reads what it writes any more.
    Closed,
    /// [`Mode::Once`]: everything was read; whether everything was delivered.
    CaughtUp {
        /// Something waits for another attempt.
        work_left: bool,
    },
    /// [`Mode::Once`]: the API could not be read; why.
    GaveUp(String),
    /// [`Mode::Once`]: no key is accepted; the API's word.
    NoKey(String),
}

/// What ended a relay that was to go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Polling cannot go on at all.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state is damaged where something waits to be delivered.
    #[error("{0}")]
    Damaged(Arc<store::Error>),
    /// A part of the program failed in a way that it should not.
    #[error("internal error in {0}, please report it; nothing is lost, start it again")]
    Panicked(&'static str),
}

/// Why the running phase is over.
enum Over {
    Polling(Result<Ending, RunError>),
    Stop(StopSignal),
    Closed,
    Broken,
    /// Another process may have the state.
    RoleLost(store::Error),
    Damaged(Arc<store::Error>),
}

impl Daemon {
    /// Snapshots of how polling is going.
    pub fn reports(&self) -> watch::Receiver<PollReport> {
        self.poller.reports()
    }

    /// Runs until `stop` asks for an end, or there is nothing left to do; then drains.
    ///
    /// # Errors
    /// [`RunError`], after draining.
    pub async fn run(self, mut stop: watch::Receiver<Stop>) -> Result<Ended, RunError> {
        let Self { mut lock, clock, poller, delivery, turns, pulse: mut live, mode } = self;
        let reports = poller.reports();
        let (stop_polling, polling_stops) = watch::channel(false);
        let mut polling = tokio::spawn(poller.run(polling_stops));
        let mut service = Service::new(&clock);
        service.ready();
        let over = {
            let (closed, broken, damaged) = (delivery.closed(), delivery.broken(), delivery.damaged());
            tokio::pin!(closed, broken, damaged);
            let mut pulse = tokio::time::interval(Service::interval());
            pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut writing = tokio::time::interval(live.interval());
            writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut watching = tokio::time::interval(WATCH);
            watching.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ended = &mut polling => break Over::Polling(outcome(ended)),
                    stopped = stop.wait_for(|stop| *stop != Stop::No) => {
                        // A sender that is gone was the last who could have asked.
                        let signal = stopped.map_or(None, |stop| stop.signal());
                        break Over::Stop(signal.unwrap_or(StopSignal::Terminate));
                    }
                    () = &mut closed => break Over::Closed,
                    () = &mut broken => break Over::Broken,
                    error = &mut damaged => break Over::Damaged(error),
                    _ = watching.tick() => {
                        if let Some(error) = lost(&mut lock) {
                            break Over::RoleLost(error);
                        }
                    }
                    _ = writing.tick() => live.write(&reports.borrow(), &delivery.status()),
                    _ = pulse.tick() => {
                        let slowest = delivery.slowest_turn().max(turns.since());
                        service.pulse(&status_line(&reports.borrow(), &delivery.status()), slowest, clock.monotonic());
                    }
                }
            }
        };
        let result = match over {
            Over::Polling(Ok(Ending::Stopped)) => Ok(Ended::Stopped(StopSignal::Terminate)),
            // Whatever became of the API, what was read from it earlier is delivered.
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
                tracing::info!(grace_s = GRACE.as_secs(), "stopping; what is in flight may end");
                Ok(Ended::Stopped(signal))
            }
            Over::Damaged(error) => Err(RunError::Damaged(error)),
            Over::RoleLost(error) => Err(RunError::Store(error)),
            Over::Broken => Err(RunError::Panicked("delivery")),
            Over::Closed => Ok(if mode == Mode::Once { Ended::CaughtUp { work_left: true } } else { Ended::Closed }),
        };
        service.stopping();
        live.write(&reports.borrow(), &delivery.status());
        stop_polling.send_replace(true);
        if !polling.is_finished() {
            // A commit under way is waited for, a request is not.
            let at_once = stop.wait_for(|stop| matches!(stop, Stop::AtOnce(_)));
            tokio::select! {
                _ = &mut polling => {}
                _ = at_once => polling.abort(),
            }
        }
        drain(delivery, &mut stop, &clock).await;
        live.stopped();
        drop(lock);
        result
    }
}

/// Whether the relay has lost its role, and why.
fn lost(lock: &mut RoleLock) -> Option<store::Error> {
    match lock.look() {
        Ok(Role::Held) => None,
        Ok(Role::MadeAgain) => {
            tracing::warn!(
                "relay.lock was removed from the state directory; it is made again, and no other relay has begun"
            );
            None
        }
        Err(error @ (store::Error::InUse { .. } | store::Error::Replaced { .. })) => Some(error),
        // The directory is still locked.
        Err(error) => {
            tracing::debug!(%error, "whether the role is still held cannot be told");
            None
        }
    }
}

fn outcome(ended: Result<Result<Ending, Trouble>, tokio::task::JoinError>) -> Result<Ending, RunError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(_) => Err(RunError::Panicked("polling")),
    }
}

/// Everything was read: what is due now is delivered, what must wait is left.
async fn deliver_what_is_due(delivery: &Delivery, stop: &mut watch::Receiver<Stop>) -> Result<Ended, RunError> {
    tokio::select! {
        error = delivery.damaged() => Err(RunError::Damaged(error)),
        idle = delivery.idle() => Ok(Ended::CaughtUp { work_left: idle? }),
        stopped = stop.wait_for(|stop| *stop != Stop::No) => {
            let signal = stopped.map_or(None, |stop| stop.signal());
            Ok(Ended::Stopped(signal.unwrap_or(StopSignal::Terminate)))
        }
    }
}

async fn drain(delivery: Delivery, stop: &mut watch::Receiver<Stop>, clock: &Clock) {
    let began = clock.monotonic();
    let at_once = async {
        if stop.wait_for(|stop| matches!(stop, Stop::AtOnce(_))).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        drained = delivery.drain(GRACE) => {
            let seconds = ((clock.monotonic() - began).as_secs_f64() * 1e3).round() / 1e3;
            if drained.cut_off + drained.unrecorded == 0 {
                tracing::info!(seconds, "stopped; nothing was in flight any more");
            } else {
                tracing::warn!(
                    seconds,
                    cut_off = drained.cut_off,
                    unrecorded = drained.unrecorded,
                    "stopped; what was cut off or could not be recorded is delivered again after the next start"
                );
            }
        }
        () = at_once => tracing::warn!("stopped at once; what was in flight is delivered again after the next start"),
    }
}

/// One line for `systemctl status`.
fn status_line(report: &PollReport, sinks: &[SinkStatus]) -> String {
    let mut line = report.summary();
    for sink in sinks {
        if sink.held.is_some() {
            line += &format!("; {}: held", sink.name);
        } else if sink.failing {
            line += &format!("; {}: failing", sink.name);
        }
    }
    line
}
