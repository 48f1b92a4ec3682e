//! Changes over between the relay's state and the scratch state, when a relay starts or ends.

use std::time::Duration;

use super::super::error::ArrivalError;
use super::{ArrivalReader, OVERLAP, OpenState, ReadingProgress, StateKind};
use crate::domain::UnixMs;
use crate::store::{Spool, is_running};

/// The time between two checks whether a relay has started or ended.
const CHECK: Duration = Duration::from_millis(100);

/// When a relay has ended, the reader waits for this long, because the relay may start again. Then the reader changes
/// over to the scratch state.
const RESTART: Duration = Duration::from_secs(3);

impl ArrivalReader {
    /// Checks whether a relay has started or ended, and changes over if so.
    pub(super) async fn check(&mut self) -> Result<(), ArrivalError> {
        let now = self.clock.monotonic();
        if now < self.check_at {
            return Ok(());
        }
        // If this user has no permission to find out whether a relay runs, a relay is assumed to run: the user may
        // still be able to read its state. A shared state is always read, because one of its relays will poll. A reader
        // that polled, too, would use up slots of their budget.
        let runs = self.options.state.is_shared() || is_running(&self.options.state)? != Some(false);
        match self.state.as_ref().map(|state| state.kind) {
            None if runs => {
                self.stop_polling().await?;
                self.open_relay_state().await?;
            }
            Some(StateKind::Relay) if runs => self.away_since = None,
            Some(StateKind::Relay) if now - *self.away_since.get_or_insert(now) < RESTART => {}
            Some(StateKind::Scratch) if runs => {
                self.leave_state()?;
                self.stop_polling().await?;
                self.open_relay_state().await?;
            }
            Some(StateKind::Relay) => {
                self.leave_state()?;
                self.open_scratch_state().await?;
            }
            None | Some(StateKind::Scratch) => self.open_scratch_state().await?,
        }
        self.check_at = self.clock.monotonic() + if self.state.is_some() { CHECK } else { Duration::ZERO };
        Ok(())
    }

    pub(super) async fn stop_polling(&mut self) -> Result<(), ArrivalError> {
        match self.poller.take() {
            Some(poller) => poller.stop(self.is_alone()).await,
            None => Ok(()),
        }
    }

    /// Leaves the state that is read, because messages will arrive in another state.
    fn leave_state(&mut self) -> Result<(), ArrivalError> {
        let Some(state) = self.state.take() else { return Ok(()) };
        self.away_since = None;
        let marks = state.spool.load_coverage()?.map(|coverage| coverage.marks);
        match state.kind {
            StateKind::Relay => {
                let newest = marks.map_or(UnixMs::MIN, |marks| marks.frontier.max(marks.anchor));
                self.known.extend(state.spool.ids_since(newest.before(OVERLAP))?);
                self.in_relay = Some(state.progress);
                // If the texts cannot be erased now, this is tried again when reading ends.
                self.erase_kept_texts().ok();
            }
            StateKind::Scratch => {
                self.known.extend(state.spool.ids_since(UnixMs::MIN)?);
                self.scratch_floor = marks.map_or(UnixMs::MIN, |marks| marks.watermark);
            }
        }
        Ok(())
    }

    pub(super) fn set_state(&mut self, kind: StateKind, spool: Box<Spool>, progress: ReadingProgress) {
        self.baseline.get_or_insert_with(|| progress.baseline.clone());
        self.state = Some(OpenState { kind, spool, progress, is_read: false });
    }
}
