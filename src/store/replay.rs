//! The transactions of `replay`: finding stored messages, and sending them again.
//!
//! Invariants: only a message whose text is kept is sent again. One that came too late to be delivered is sent only if
//! it is named. A delivery that waits stays as it is, so asking twice sends once. A message that a sink never had is
//! decided by the sink's filter. The relay knows the filter and the command does not, so such a delivery is undecided
//! until the relay notices ([`ReplayTransactions::replays`]).

use super::delivery_state::DeliveryState;
use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::filter::Filter;
use crate::domain::{Seq, UnixMs};

/// Which deliveries are to be repeated. All conditions must hold.
#[derive(Clone, Debug)]
pub struct ReplaySelection {
    /// To these sinks.
    pub sinks: Vec<SinkId>,
    /// Also messages that a sink never had, if its filter wants them.
    pub new: bool,
    /// Of the messages with these ids; if empty, of all messages.
    pub ids: Vec<String>,
    /// Of messages received at this time or later.
    pub since: UnixMs,
    /// Of messages received before this time.
    pub until: UnixMs,
    /// Of messages that this filter wants. It needs no details of numbers.
    pub filter: Option<Filter>,
    /// Only dead letters, also those that an operator gave up. Of deliveries that wait, only those that failed before
    /// are counted.
    pub failed: bool,
}

/// What became of a delivery before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastDelivery {
    /// The sink has the message.
    Delivered,
    /// It was a dead letter.
    Dead,
    /// There was none.
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
    /// What became of the delivery before.
    pub before: PastDelivery,
}

/// What one portion of a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayPortion {
    /// Deliveries that can be repeated, in the order of release, or in the order of the ids that were asked for.
    pub found: Vec<Replayable>,
    /// The sinks of deliveries that were selected and wait already.
    pub waiting: Vec<SinkId>,
    /// The place in the order of release where the search goes on; `None` if that was all.
    pub next: Option<i64>,
}

/// How often a command left deliveries for filters to decide. Only good for comparing with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replays(pub(super) i64);

/// How many messages are looked at in one portion.
pub(super) const REPLAYED_AT_ONCE: i64 = 500;

/// What a selection means for one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplayDecision {
    /// It can be repeated.
    Repeat(PastDelivery),
    /// It waits already.
    Waits,
    /// It is not selected.
    No,
}

impl ReplaySelection {
    /// Decides on one delivery of a message that fits. `state` is `None` if there is no delivery; `is_released` says
    /// whether the message was ever released to the sinks.
    pub(super) fn select(&self, state: Option<DeliveryState>, is_released: bool) -> ReplayDecision {
        use DeliveryState::{Dead, Delivered, Dropped, Fresh, Retry, Undecided};
        match state {
            // What the sink has, and what waits for its first attempt, has not failed.
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
    /// Reads the last place in the order of release. A replay ends there, so that it never meets what it has sent.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn last_released(&self) -> Result<i64, Error>;

    /// Finds deliveries that a selection means, of some hundred messages after the place `after` in the order of
    /// release, up to the place `last`. 0 begins.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn replayable(&self, selection: &ReplaySelection, after: i64, last: i64) -> Result<ReplayPortion, Error>;

    /// Makes deliveries wait once more, if they are still as they were found. They wait behind new messages. Returns
    /// how many were changed.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error>;

    /// Counts how often a command left deliveries for filters to decide. If the count differs from an earlier one, the
    /// relay has to call [`super::NumberTransactions::decide`].
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn replays(&self) -> Result<Replays, Error>;
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
        // A message that the sink never had.
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
