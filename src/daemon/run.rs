//! The second of the daemon's two phases: runs the relay until it is told to stop, and then drains (`drain`).

use tokio::sync::watch;

use super::ending::{Ended, RunError};
use super::observers::Observers;
use super::open::Opened;
use super::relay_process::RelayProcess;
use super::reload::Reloading;
use super::replica;
use super::signals::Stop;
use super::status_writer::End;
use crate::ingest::{Mode, PollReport};
use crate::store::Database;

/// A relay that was built and does not poll yet.
pub struct Daemon {
    pub(super) process: RelayProcess,
    pub(super) observers: Observers,
    pub(super) owner: StateOwner,
}

/// Who opens the state.
pub(super) enum StateOwner {
    /// The relay is alone on its state, which it has opened.
    Alone(Box<Opened>),
    /// Several relays share a state in this database, and the active one opens it.
    Shared(Box<Database>),
}

impl Daemon {
    /// Returns the poller's reports; `None` if relays share the state, because then this relay has no poller yet.
    pub fn reports(&self) -> Option<watch::Receiver<PollReport>> {
        match &self.owner {
            StateOwner::Alone(opened) => Some(opened.poller.reports()),
            StateOwner::Shared(_) => None,
        }
    }

    /// Runs until `stop` asks for the end, or until `once` has nothing left to do; then drains. Without `reloading` the
    /// configuration stays as it is.
    ///
    /// # Errors
    /// [`RunError`], after the drain.
    pub async fn run(self, mut stop: watch::Receiver<Stop>, reloading: Option<Reloading>) -> Result<Ended, RunError> {
        let Self { mut process, observers, owner } = self;
        process.reloading = reloading;
        // The observers run until this function returns, which is after the drain.
        let (state, clock) = (process.config.state.location(), process.clock.clone());
        let _observing = observers.start(state, clock, process.status.reports(), &process.progress);
        process.begin();
        let result = match owner {
            StateOwner::Alone(opened) => process.work(*opened, &mut stop).await,
            StateOwner::Shared(database) => {
                let result = replica::take_part(&mut process, &database, &mut stop).await;
                process.note_stopping();
                result
            }
        };
        process.status.stopped(end_of(&result, process.purpose.mode));
        result
    }
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
