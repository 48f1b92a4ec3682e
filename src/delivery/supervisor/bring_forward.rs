//! Decides which retries are made due at once when a receiver accepts messages again.
//!
//! If all attempts of a message failed during one outage, the message need not wait for its own schedule once the
//! outage is over. A message that failed before the outage, when the receiver accepted other messages, keeps its
//! schedule. Otherwise a message that the receiver never accepts would be sent again each time an outage ends, however
//! long its own schedule makes it wait.

use super::store_retry::StoreRetry;
use crate::delivery::context::SinkContext;
use crate::domain::UnixMs;
use crate::store::Spool;

/// The number of retries that one transaction makes due. The number is so small that other writes do not wait long.
const AT_ONCE: usize = 1000;

/// When the present outage began, and which retries of past outages are still to be made due. All times are the
/// relay's.
#[derive(Debug)]
pub(super) struct BringForward {
    /// When the earliest failed attempt since the last success began; [`UnixMs::MIN`] if this is unknown, as after a
    /// start and after the relay's time was corrected. `None`: no attempt has failed since the last success.
    outage_from: Option<UnixMs>,
    /// Retries whose first attempt was at this time or later are to be made due.
    pending_from: Option<UnixMs>,
}

impl BringForward {
    pub(super) fn new() -> Self {
        Self { outage_from: Some(UnixMs::MIN), pending_from: None }
    }

    /// Notes that an attempt that began at `began` failed.
    pub(super) fn attempt_failed(&mut self, began: UnixMs) {
        self.outage_from = Some(self.outage_from.map_or(began, |earlier| earlier.min(began)));
    }

    /// Notes that an attempt succeeded, and whether the success closed the breaker.
    pub(super) fn attempt_succeeded(&mut self, closed_breaker: bool) {
        let outage_from = self.outage_from.take();
        if closed_breaker {
            self.pending_from = [self.pending_from, outage_from].into_iter().flatten().min();
        }
    }

    /// Notes that somebody resumed the sink. So every retry is to be made due.
    pub(super) fn resumed(&mut self) {
        self.pending_from = Some(UnixMs::MIN);
    }

    /// Notes that the relay's time was corrected. So the times that this value keeps cannot be compared with the times
    /// in the store any more.
    pub(super) fn time_corrected(&mut self) {
        for from in [&mut self.outage_from, &mut self.pending_from] {
            *from = from.map(|_| UnixMs::MIN);
        }
    }

    /// Returns the time `t` if retries whose first attempt was at `t` or later are to be made due now. `None`: no
    /// retries are to be made due, or the breaker is not closed.
    pub(super) fn pending(&self, context: &SinkContext) -> Option<UnixMs> {
        self.pending_from.filter(|_| context.health.lock().is_closed())
    }

    /// Makes one portion of the retries due. Returns the time at which they are due; `None`: there was nothing to do,
    /// or the store did not write the change.
    pub(super) async fn step(&mut self, store: &mut StoreRetry, context: &SinkContext) -> Option<UnixMs> {
        let from = self.pending(context)?;
        let (sink, now) = (context.id(), context.now().relay_time);
        let bring = move |spool: &mut Spool| spool.bring_forward(sink, from, now, AT_ONCE);
        let rows = store.write(context, bring).await?;
        self.pending_from.take_if(|_| rows < AT_ONCE);
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_reaches_back_to_its_earliest_failed_attempt() {
        let mut retries = BringForward::new();
        retries.attempt_succeeded(false);
        assert_eq!(retries.pending_from, None, "the breaker was not open");
        retries.attempt_failed(UnixMs(50));
        retries.attempt_failed(UnixMs(40));
        retries.attempt_failed(UnixMs(60));
        retries.attempt_succeeded(true);
        assert_eq!((retries.pending_from, retries.outage_from), (Some(UnixMs(40)), None));
        retries.attempt_failed(UnixMs(70));
        retries.attempt_succeeded(true);
        assert_eq!(retries.pending_from, Some(UnixMs(40)), "retries of the earlier outage are still to be made due");
        retries.attempt_succeeded(true);
        assert_eq!(retries.pending_from, Some(UnixMs(40)));
    }

    #[test]
    fn if_the_beginning_of_the_outage_is_unknown_every_retry_is_made_due() {
        let mut after_start = BringForward::new();
        after_start.attempt_failed(UnixMs(50));
        after_start.attempt_succeeded(true);
        assert_eq!(after_start.pending_from, Some(UnixMs::MIN));

        let mut corrected = BringForward { outage_from: Some(UnixMs(50)), pending_from: None };
        corrected.time_corrected();
        assert_eq!(corrected.pending_from, None, "a correction alone makes nothing due");
        corrected.attempt_succeeded(true);
        assert_eq!(corrected.pending_from, Some(UnixMs::MIN));

        let mut resumed = BringForward { outage_from: None, pending_from: None };
        resumed.resumed();
        assert_eq!(resumed.pending_from, Some(UnixMs::MIN));
    }
}
