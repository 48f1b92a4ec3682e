//! Opens the relay's state, and decides where in it the new messages begin.

use std::time::Duration;

use super::super::baseline::Baseline;
use super::super::error::ArrivalError;
use super::{ArrivalReader, LOOK, ReadingProgress, StateKind, StateTrouble, passing};
use crate::domain::UnixMs;
use crate::status::Live;
use crate::store::{self, Spool, open_reader};
use crate::time::Clock;

/// The longest time that the reader waits until the relay has noticed it. The reader waits only if the relay is to
/// erase texts on delivery (`keep_delivered = "0s"`): such a relay keeps texts only after it has noticed a reader.
const NOTICE: Duration = Duration::from_secs(2);

impl ArrivalReader {
    pub(super) async fn open_relay_state(&mut self) -> Result<(), ArrivalError> {
        let spool = match open_reader(&self.options.state) {
            Ok(Some(spool)) => spool,
            Ok(None) => {
                self.state_trouble = Some(StateTrouble::Absent);
                return Ok(());
            }
            Err(error) if error.is_passing() => {
                self.state_trouble = Some(StateTrouble::Failed(error));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.state_trouble = None;
        let progress = match (self.in_relay.take(), &self.baseline) {
            (Some(progress), _) => progress,
            (None, Some(baseline)) => {
                let floor = self.scratch_floor;
                ReadingProgress {
                    place: spool.place_before(floor)?,
                    baseline: baseline.clone().in_another_state(),
                    floor,
                }
            }
            (None, None) => {
                self.wait_until_noticed().await;
                let Some(progress) = passing(self.begin_in_relay_state(&*spool))? else { return Ok(()) };
                progress
            }
        };
        self.set_state(StateKind::Relay, spool, progress);
        Ok(())
    }

    /// Waits until the relay keeps texts for this reader, but no longer than [`NOTICE`], because the relay may not
    /// react. If the caller drops this future and asks again, the wait goes on and does not begin anew.
    async fn wait_until_noticed(&mut self) {
        let Some(registration) = self.registration.as_ref().filter(|_| self.options.erases_at_once) else { return };
        let until = *self.notice_until.get_or_insert(self.clock.monotonic() + NOTICE);
        while self.clock.monotonic() < until && !registration.is_noticed().unwrap_or(true) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Decides where the new messages begin in the state of a running relay.
    fn begin_in_relay_state(&self, spool: &Spool) -> Result<ReadingProgress, store::Error> {
        let (left, runs) = spool.clock_beside()?;
        let clock = Clock::system().with_boot_id(self.options.boot_id.clone());
        let messages_ahead = left.as_ref().and_then(|left| left.messages_ahead_ms);
        clock.adopt_memory(left, runs);
        let elapsed = self.clock.monotonic() - self.began;
        let began = clock.likely_message_time().before(elapsed);
        let live = Live::read(self.options.state.dir()).and_then(|live| live.polling.last_poll_at);
        let last_poll = live.zip(messages_ahead).map(|(at, ahead)| UnixMs(at.0.saturating_add(ahead)));
        let coverage = spool.load_coverage()?;
        let since = self.options.since.map(|since| since.resolve(began));
        let known_began = messages_ahead.map(|_| began);
        self.begin_at(spool, Baseline::new(coverage.as_ref(), last_poll, known_began, since), since)
    }
}
