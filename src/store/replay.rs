//! The transactions of `replay`: finding stored messages, and sending them again.
//!
//! Invariants: only a message whose text is kept is sent again. A message that came too late to be delivered is sent
//! only if the operator names its id. If a delivery waits already, it stays as it is. So if a replay is asked for
//! twice, the messages are sent only once. If a sink never had a delivery of a message, the filter of the sink decides
//! whether the sink gets the message. Only the relay knows this filter, and the command does not. So the command makes
//! the delivery undecided, and the relay decides when it notices the replay ([`ReplayTransactions::replay_count`]).

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
    /// Whether messages that a sink never had are selected too, if the filter of the sink wants them. A message that
    /// came too late to be delivered does not need this: it is selected if `ids` names it.
    pub new: bool,
    /// The sinks that take no events of numbers, as far as the caller knows. An event that such a sink never had is not
    /// selected for it.
    pub without_events: Vec<SinkId>,
    /// The ids of the messages; if empty, all messages.
    pub ids: Vec<String>,
    /// Only messages received at this time or later.
    pub since: UnixMs,
    /// Only messages received before this time.
    pub until: UnixMs,
    /// Only messages that this filter wants. The filter needs no details of numbers.
    pub filter: Option<Filter>,
    /// Whether only failed deliveries are selected: dead letters, including those that an operator gave up, and
    /// deliveries that wait after a failed attempt. As in every replay, a delivery that waits is only counted
    /// ([`ReplayPortion::waiting`]).
    pub failed: bool,
}

/// How a delivery stood before the replay.
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
    /// How the delivery stood before the replay.
    pub before: PastDelivery,
}

/// The result of one portion of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayPortion {
    /// Deliveries that can be repeated, in the order of release, or in the order of the ids that were asked for.
    pub found: Vec<Replayable>,
    /// The sinks of the selected deliveries that wait already. A sink with three such deliveries is listed three times.
    pub waiting: Vec<SinkId>,
    /// The next portion begins after this place in the order of release; `None` at the end of the search.
    pub next: Option<i64>,
}

/// How many transactions of replays have left deliveries undecided, for the filters of the sinks to decide. Compare
/// this count only with an earlier count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCount(pub(super) i64);

/// How many messages are looked at in one portion.
pub(super) const REPLAY_BATCH: i64 = 500;

/// What a replay needs to know of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptKind {
    /// A message that was released to the sinks.
    Message,
    /// A message that came too late and was never released to the sinks.
    Late,
    /// An event of a number.
    Event,
}

impl KeptKind {
    pub(super) fn of(is_released: bool, is_event: bool) -> Self {
        match (is_event, is_released) {
            (true, _) => Self::Event,
            (false, true) => Self::Message,
            (false, false) => Self::Late,
        }
    }
}

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
    pub(super) fn select(&self, sink: SinkId, state: Option<DeliveryState>, kind: KeptKind) -> ReplayDecision {
        use DeliveryState::{Dead, Delivered, Dropped, Fresh, Retry, Undecided};
        match state {
            // These deliveries succeeded, were never attempted, or do not exist. So they have not failed.
            Some(Delivered | Fresh | Undecided) | None if self.failed => ReplayDecision::No,
            Some(Delivered) => ReplayDecision::Repeat(PastDelivery::Delivered),
            Some(Dead | Dropped) => ReplayDecision::Repeat(PastDelivery::Dead),
            Some(Undecided | Fresh | Retry) => ReplayDecision::Waits,
            None if kind == KeptKind::Event && self.without_events.contains(&sink) => ReplayDecision::No,
            None if self.new || kind == KeptKind::Late => ReplayDecision::Repeat(PastDelivery::Never),
            None => ReplayDecision::No,
        }
    }
}

/// Transactions of `replay`.
pub trait ReplayTransactions {
    /// Reads the highest place in the order of release. A replay ends at this place, so that it never finds deliveries
    /// that it made itself.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn last_released(&self) -> Result<i64, Error>;

    /// Finds the deliveries of a selection among the next `REPLAY_BATCH` messages: those whose place in the order of
    /// release is greater than `after` and at most `last`. The first call has 0 as `after`. If the selection names ids,
    /// there is only one portion: all messages with these ids, whatever their places.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn replayable(&self, selection: &ReplaySelection, after: i64, last: i64) -> Result<ReplayPortion, Error>;

    /// Puts the found deliveries into the queues of their sinks: a delivery that is over becomes fresh again, and a
    /// delivery that did not exist is made, undecided. A delivery that waits by now, and a message whose text was
    /// removed, are left as they are. New messages are sent before replayed ones. Returns how many deliveries were
    /// changed.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn replay(&mut self, found: &[Replayable]) -> Result<usize, Error>;

    /// Returns how many transactions of replays have left deliveries undecided, for the filters of the sinks to decide.
    /// If the count differs from an earlier one, the relay has to call [`super::NumberTransactions::decide`].
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
        let (sink, other) = (SinkId(1), SinkId(2));
        let select = |failed, new, state, kind| {
            let (since, until) = (UnixMs::MIN, UnixMs::MAX);
            let without_events = vec![other];
            let all =
                ReplaySelection { sinks: vec![], new, without_events, ids: vec![], since, until, filter: None, failed };
            [sink, other].map(|sink| all.select(sink, state, kind))
        };
        for kind in [KeptKind::Message, KeptKind::Event] {
            for (state, all, failed) in [
                (Undecided, Waits, No),
                (Fresh, Waits, No),
                (Retry, Waits, Waits),
                (Delivered, delivered, No),
                (Dead, dead, dead),
                (Dropped, dead, dead),
            ] {
                assert_eq!(select(false, false, Some(state), kind), [all; 2], "{state}");
                assert_eq!(select(true, true, Some(state), kind), [failed; 2], "{state}, only what failed");
            }
        }
        // The sinks never had the message.
        for (failed, new, kind, decisions) in [
            (false, false, KeptKind::Message, [No, No]),
            (false, true, KeptKind::Message, [Repeat(Never); 2]),
            (false, false, KeptKind::Late, [Repeat(Never); 2]),
            (true, true, KeptKind::Message, [No, No]),
            (true, true, KeptKind::Late, [No, No]),
            (false, false, KeptKind::Event, [No, No]),
            (false, true, KeptKind::Event, [Repeat(Never), No]),
            (true, true, KeptKind::Event, [No, No]),
        ] {
            assert_eq!(select(failed, new, None, kind), decisions, "{failed} {new} {kind:?}");
        }
    }
}
