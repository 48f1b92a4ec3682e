//! The transactions of `replay`: finding stored messages, and sending them again.
//!
//! Invariants: only a message whose text is kept is sent again. A message that came too late to be delivered is sent
//! only if the operator names its id. If a delivery waits already, it stays as it is. So if a replay is asked for
//! twice, the messages are sent only once. If a sink never had a message, the filter of the sink decides. The relay
//! knows the filter and the command does not, so such a delivery is undecided until the relay notices the replay
//! ([`ReplayTransactions::replay_count`]).

use super::delivery_state::DeliveryState;
use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::filter::Filter;
use crate::domain::{Seq, UnixMs};

/// Which deliveries a replay repeats. All conditions must hold.
#[derive(Clone, Debug)]
pub struct ReplaySelection {
    /// The sinks of the deliveries.
    pub sinks: Vec<SinkId>,
    /// Whether messages that a sink never had are selected too, if the filter of the sink wants them.
    pub new: bool,
    /// The ids of the messages; if empty, all messages.
    pub ids: Vec<String>,
    /// Only messages received at this time or later.
    pub since: UnixMs,
    /// Only messages received before this time.
    pub until: UnixMs,
    /// Only messages that this filter wants. The filter needs no details of numbers.
    pub filter: Option<Filter>,
    /// Whether only dead letters are selected, including those that an operator gave up. A delivery that waits is then
    /// selected only if it has failed before.
    pub failed: bool,
}

/// The result of a delivery before the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastDelivery {
    /// The sink had received the message.
    Delivered,
    /// The delivery was a dead letter.
    Dead,
    /// There was no delivery.
    Never,
}

/// One delivery that can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayable {
    /// The message.
    pub seq: Seq,
    /// The sink.
    pub sink: SinkId,
    /// When the message was received.
    pub received: UnixMs,
    /// The result of the delivery before the replay.
    pub before: PastDelivery,
}

/// The result of one portion of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayPortion {
    /// Deliveries that can be repeated, in the order of release, or in the order of the ids that were asked for.
    pub found: Vec<Replayable>,
    /// For each delivery that was selected and waits already: its sink.
    pub waiting: Vec<SinkId>,
    /// The place in the order of release where the search goes on; `None` at the end of the search.
    pub next: Option<i64>,
}

/// How often a command left deliveries for filters to decide. Compare this count only with an earlier count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCount(pub(super) i64);

/// How many messages are looked at in one portion.
pub(super) const REPLAY_BATCH: i64 = 500;

/// How a selection applies to one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplayDecision {
    /// The delivery can be repeated.
    Repeat(PastDelivery),
    /// The delivery waits already.
    Waits,
    /// The delivery is not selected.
    No,
}

impl ReplaySelection {
    /// Decides on one delivery of a message that meets the other conditions. `state` is `None` if there is no delivery.
    /// `is_released` says whether the message was ever released to the sinks.
    pub(super) fn select(&self, state: Option<DeliveryState>, is_released: bool) -> ReplayDecision {
        use DeliveryState::{Dead, Delivered, Dropped, Fresh, Retry, Undecided};
        match state {
            // A delivery that succeeded, or that waits for its first attempt, has not failed.
            Some(Delivered | Fresh | Undecided) if self.failed => ReplayDecision::No,
            Some(Delivered) => ReplayDecision::Repeat(PastDelivery::Delivered),
            Some(Dead | Dropped) => ReplayDecision::Repeat(PastDelivery::Dead),
            Some(Undecided | Fresh | Retry) => ReplayDecision::Waits,
            None if (self.new || !is_released) && !self.failed => ReplayDecision::Repeat(PastDelivery::Never),
            None => ReplayDecision::No,
        }
    }
}

/// Transactions of `replay`.
pub trait ReplayTransactions {
    /// Reads the highest release number. A replay ends at this number, so that it never finds deliveries
    /// that it made itself.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn last_released(&self) -> Result<i64, Error>;

    /// Finds the deliveries of a selection among some hundred messages behind the place `after` in the order of
    /// release, up to the place `last`. The first call has 0 as `after`.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn replayable(&self, selection: &ReplaySelection, after: i64, last: i64) -> Result<ReplayPortion, Error>;

    /// Makes deliveries wait once more, if they have not changed since they were found. They wait behind new messages.
    /// Returns how many deliveries were changed.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error>;

    /// Counts how often a command left deliveries for filters to decide. If the count differs from an earlier one, the
    /// relay has to call [`super::NumberTransactions::decide`].
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn replay_count(&self) -> Result<ReplayCount, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_says_of_each_state_what_is_repeated() {
        use DeliveryState::{Dead, Delivered, Dropped, Fresh, Retry, Undecided};
        use PastDelivery::Never;
        use ReplayDecision::{No, Repeat, Waits};
        let (delivered, dead) = (Repeat(PastDelivery::Delivered), Repeat(PastDelivery::Dead));
        let select = |failed, new, state, is_released| {
            let (since, until) = (UnixMs::MIN, UnixMs::MAX);
            let all = ReplaySelection { sinks: vec![], new, ids: vec![], since, until, filter: None, failed };
            all.select(state, is_released)
        };
        for (state, all, failed) in [
            (Undecided, Waits, No),
            (Fresh, Waits, No),
            (Retry, Waits, Waits),
            (Delivered, delivered, No),
            (Dead, dead, dead),
            (Dropped, dead, dead),
        ] {
            assert_eq!(select(false, false, Some(state), true), all, "{state}");
            assert_eq!(select(true, true, Some(state), true), failed, "{state}, only what failed");
        }
        // The sink never had the message.
        for (failed, new, is_released, decision) in [
            (false, false, true, No),
            (false, true, true, Repeat(Never)),
            (false, false, false, Repeat(Never)),
            (true, true, true, No),
            (true, true, false, No),
        ] {
            assert_eq!(select(failed, new, None, is_released), decision, "{failed} {new} {is_released}");
        }
    }
}
