//! The work of a relay: polling and delivering. A relay that is alone on its state works from its start to its end. A
//! relay that shares its state works only while it is the active one; this time is a *term*.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cut_off::cut_off;
use super::drain::{GRACE, drain};
use super::ending::{Ended, RunError};
use super::log_sentences::{ONCE_IS_DONE, STOPPING};
use super::open::Opened;
use super::queue_watch::QueueWatch;
use super::relay_process::{RelayProcess, stopped};
use super::reload::{ReloadEvent, Reloader};
use super::service_status::service_status;
use super::signals::{Stop, StopSignal};
use super::work_permit::WorkPermit;
use crate::delivery::Delivery;
use crate::ingest::{Ending, Mode, PollError};
use crate::status::ReloadReport;
use crate::store::{self, Spool, Store};

/// Why the work has ended.
enum Over {
    Polling(Result<Ending, RunError>),
    Stop(StopSignal),
    /// All sinks write to outputs that nobody reads any more.
    Closed,
    /// The loop of a sink has panicked.
    Broken,
    /// The role was lost: another process may use the state.
    RoleLost(store::Error),
    Damaged(Arc<store::Error>),
}

impl RelayProcess {
    /// Works until one of these things happens: `stop` asks for the end, `once` has nothing left to do, the permission
    /// to work ends, or the relay cannot go on because of an error. Then drains, unless the permission to work has
    /// ended.
    ///
    /// # Errors
    /// [`RunError`], after the drain. If the permission to work has ended, [`RunError::ends_term`] is true for the
    /// error.
    pub(super) async fn work(&mut self, opened: Opened, stop: &mut watch::Receiver<Stop>) -> Result<Ended, RunError> {
        let Opened {
            store,
            clock,
            released_before,
            poller,
            mut delivery,
            poller_liveness,
            builder,
            reader_watch,
            slots,
            permit,
            mut changes,
        } = opened;
        let mode = self.purpose.mode;
        let reports = poller.reports();
        let reloading = self.reloading.clone();
        let mut reloader = reloading.map(|reloading| {
            Reloader::new(reloading, poller.control(), builder, self.config.clone(), clock.clone(), slots)
        });
        let (stop_polling, polling_stops) = watch::channel(false);
        let mut polling = tokio::spawn(poller.run(polling_stops));
        let mut watching_readers = tokio::spawn(reader_watch.run());
        let queues = match self.service.is_managed() {
            true => QueueWatch::start(store.clone(), clock.clone()),
            false => QueueWatch::off(),
        };
        let status = |delivery: &Delivery, reload: Option<&ReloadReport>| {
            service_status(&reports.borrow(), &delivery.status(), &queues.queues(), reload, clock.relay_time())
        };
        self.service.ready(&status(&delivery, None));
        let over = {
            let (closed, broken, damaged) = (delivery.outputs_closed(), delivery.loop_died(), delivery.state_damaged());
            tokio::pin!(closed, broken, damaged);
            let (mut watching, mut writing) = (Self::watch_ticks(), self.status_ticks());
            loop {
                tokio::select! {
                    () = permit.ended() => break Over::RoleLost(store::Error::RoleLost),
                    ended = &mut polling => break Over::Polling(outcome(ended)),
                    signal = stopped(stop) => break Over::Stop(signal),
                    () = &mut closed => break Over::Closed,
                    () = &mut broken => break Over::Broken,
                    error = &mut damaged => break Over::Damaged(error),
                    () = changes.changed() => delivery.waker().look_for_commands(),
                    _ = watching.tick() => {
                        let status = status(&delivery, reloader.as_ref().map(Reloader::report));
                        let longest_stall = delivery.longest_stall().max(poller_liveness.stalled_for());
                        if let Err(error) = self.watch(longest_stall, &status) {
                            break Over::RoleLost(error);
                        }
                    }
                    _ = writing.tick() => {
                        delivery.end_retired_sinks();
                        self.status.write(&reports.borrow(), &delivery.status());
                    }
                    (reloader, event) = next_event(&mut reloader) => {
                        match event {
                            ReloadEvent::Asked => self.service.reloading(),
                            ReloadEvent::Due => {}
                            ReloadEvent::Ended(reading) => {
                                if reloader.end(*reading, &mut delivery) {
                                    closed.set(delivery.outputs_closed());
                                    broken.set(delivery.loop_died());
                                }
                                self.status.follow(reloader.config().poll.interval, reloader.report());
                                writing = self.status_ticks();
                                if !reloader.is_reloading() {
                                    self.service.ready(&status(&delivery, Some(reloader.report())));
                                }
                            }
                        }
                        reloader.begin(&delivery);
                    }
                }
            }
        };
        if let Some(reloader) = &reloader {
            self.config = reloader.config().clone();
        }
        let mut result = match over {
            Over::Polling(Ok(Ending::Stopped)) => Ok(Ended::Stopped(StopSignal::Terminate)),
            // Even if polling has given up, the messages that it read before are delivered.
            Over::Polling(Ok(ending)) => match deliver_what_is_due(&delivery, &permit, stop).await {
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
        if !result.as_ref().is_err_and(RunError::ends_term) {
            self.note_stopping();
            self.status.write(&reports.borrow(), &delivery.status());
            let draining = async {
                let began = clock.monotonic();
                stop_polling.send_replace(true);
                end_polling(&mut polling, stop).await;
                drain(delivery, stop, &clock, GRACE.saturating_sub(clock.monotonic() - began)).await;
            };
            // If the permission to work ends meanwhile, deliveries are cut off. The next active relay makes them again.
            tokio::select! {
                () = draining => {}
                () = permit.ended() => result = Err(RunError::Store(store::Error::RoleLost)),
            }
        }
        // These tasks hold the store. The store is closed in good order only when no task holds it any more.
        cut_off(&mut polling).await;
        cut_off(&mut watching_readers).await;
        queues.end().await;
        result
    }
}

/// The longest wait for the end of polling. Only a disk that hangs takes longer.
const END_OF_POLLING: Duration = Duration::from_secs(2);

/// Waits for the end of polling. The end comes soon, because the poller finishes a commit under way, but does not wait
/// for a request. After [`END_OF_POLLING`], and after a signal that ends the relay at once, polling is cut off.
async fn end_polling<T>(polling: &mut JoinHandle<T>, stop: &mut watch::Receiver<Stop>) {
    if polling.is_finished() {
        return;
    }
    let at_once = stop.wait_for(|stop| matches!(stop, Stop::AtOnce(_)));
    tokio::select! {
        _ = &mut *polling => return,
        _ = at_once => {}
        () = tokio::time::sleep(END_OF_POLLING) => {}
    }
    polling.abort();
}

/// Logs how many messages came, how many deliveries succeeded, and how many still wait.
async fn tell_counts(store: &Store, released_before: i64, delivery: &Delivery) -> Result<(), store::Error> {
    let released = store.read(Spool::last_released).await?;
    let deliveries: u64 = delivery.status().iter().map(|sink| sink.delivered.count).sum();
    let waiting = delivery.waiting().await?;
    tracing::info!(messages = released.saturating_sub(released_before), deliveries, waiting, "{ONCE_IS_DONE}");
    Ok(())
}

/// Waits for the next event of a reload. If `reloader` is `None`, waits for ever.
async fn next_event(reloader: &mut Option<Reloader>) -> (&mut Reloader, ReloadEvent) {
    match reloader {
        Some(reloader) => {
            let event = reloader.next().await;
            (reloader, event)
        }
        None => std::future::pending().await,
    }
}

fn outcome(ended: Result<Result<Ending, PollError>, tokio::task::JoinError>) -> Result<Ending, RunError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(_) => Err(RunError::Panicked("polling")),
    }
}

/// Waits until no delivery is in flight or due now. Does not wait for deliveries that are due later. A signal to stop
/// ends the wait.
async fn deliver_what_is_due(
    delivery: &Delivery,
    permit: &WorkPermit,
    stop: &mut watch::Receiver<Stop>,
) -> Result<Ended, RunError> {
    tokio::select! {
        () = permit.ended() => Err(RunError::Store(store::Error::RoleLost)),
        error = delivery.state_damaged() => Err(RunError::Damaged(error)),
        idle = delivery.until_idle() => Ok(Ended::CaughtUp { work_left: idle? }),
        signal = stopped(stop) => Ok(Ended::Stopped(signal)),
    }
}
