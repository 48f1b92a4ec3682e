//! The end of the loop. Deliveries under way may go on until the grace period is over. (`daemon/drain.rs` begins this
//! period.)

use std::time::Duration;

use tokio::time::timeout_at;

use super::Supervisor;
use crate::delivery::status::Drained;
use crate::time::Instant;

/// If a receiver has answered but the result is not on the disk when the grace period is over, the recording gets this
/// much more time.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Waits for the deliveries under way until the deadline, and then cuts off those that have no answer. Deliveries
    /// that were answered get more time to be recorded.
    pub(super) async fn finish(mut self) -> Drained {
        let deadline = (*self.context.shared.stopping.borrow()).unwrap_or_else(|| self.context.monotonic());
        self.queues.give_back();
        self.end_until(deadline).await;
        let cut_off = self.dispatch.cut_off_unanswered();
        let end = self.context.monotonic() + LAST_SETTLEMENTS;
        self.end_until(end).await;
        Drained { cut_off, unrecorded: self.dispatch.in_flight() }
    }

    async fn end_until(&mut self, deadline: Instant) {
        while let Ok(Some(end)) = timeout_at(deadline, self.dispatch.next_end()).await {
            self.liveness.tick();
            self.delivery_ended(&end);
        }
    }
}
