//! Opens the scratch state, and decides where in it the new messages begin.

use std::time::Duration;

use super::super::baseline::{Baseline, Since};
use super::super::error::ArrivalError;
use super::super::scratch::{self, ScratchPoller};
use super::{ArrivalReader, OVERLAP, ReadingProgress, StateKind, passing};
use crate::domain::{Coverage, UnixMs};
use crate::store::{self, Spool, is_locked, open_reader};
use crate::time::Clock;

impl ArrivalReader {
    /// Reads the scratch state. If no other command polls, this command begins to poll.
    pub(super) async fn open_scratch_state(&mut self) -> Result<(), ArrivalError> {
        let dir = scratch::directory(self.options.state.dir());
        if let Some(poller) = &mut self.poller {
            poller.check().await?;
        } else if !dir.is_dir() || is_locked(&dir)? == Some(false) {
            let options = (self.load_polling)().map_err(ArrivalError::Configuration)?;
            let is_anew = self.state.is_none() && self.is_alone();
            let back = self.back();
            self.adopt_clock()?;
            let (readers, clock) = (self.readers.subscribe(), self.clock.clone());
            match ScratchPoller::start(self.options.state.dir(), &options, is_anew, back, readers, clock).await {
                Ok(poller) => self.poller = Some(poller),
                // Another command was faster.
                Err(ArrivalError::Store(store::Error::InUse { .. })) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.state.is_some() {
            return Ok(());
        }
        let Some(spool) = passing(open_reader(&dir))?.flatten() else { return Ok(()) };
        let Some(coverage) = passing(spool.load_coverage())?.flatten() else { return Ok(()) };
        let progress = match &self.baseline {
            Some(baseline) => {
                ReadingProgress { place: 0, baseline: baseline.clone().in_another_state(), floor: UnixMs::MIN }
            }
            None => self.begin_in_scratch_state(&*spool, &coverage)?,
        };
        self.set_state(StateKind::Scratch, spool, progress);
        Ok(())
    }

    /// Sets the clock of this process to the relay's time, because the requests in `budget.ring` are dated by this
    /// time.
    fn adopt_clock(&self) -> Result<(), ArrivalError> {
        if let Some(snapshot) = store::open_snapshot(&self.options.state)? {
            self.clock.resume(snapshot.spool.clock_memory()?, snapshot.spool.newest_instant()?);
        }
        Ok(())
    }

    /// Returns the time span, counted back from now, over which the feed has to be read for the option `since`. The
    /// span is a minute longer than the option says.
    fn back(&self) -> Duration {
        match self.options.since {
            None => Duration::ZERO,
            Some(Since::Back(span)) => span + OVERLAP / 20,
            Some(Since::At(time)) => self.clock.machine_time().since(time) + OVERLAP / 20,
        }
    }

    /// Decides where the new messages begin in the scratch state. The messages that the first poll found are old. So
    /// the second rule of [`super::super::baseline`], about the time in which nobody polled, is not needed.
    fn begin_in_scratch_state(&self, spool: &Spool, coverage: &Coverage) -> Result<ReadingProgress, store::Error> {
        let clock = match &self.poller {
            Some(poller) => poller.clock().clone(),
            None => {
                let (left, runs) = spool.clock_beside()?;
                let clock = Clock::system().with_boot_id(self.options.boot_id.clone());
                clock.adopt_memory(left, runs);
                clock
            }
        };
        let began = clock.likely_message_time().before(self.clock.monotonic() - self.began);
        let since = self.options.since.map(|since| since.resolve(began));
        self.begin_at(spool, Baseline::new(Some(coverage), None, None, since), since)
    }
}
