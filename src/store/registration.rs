//! The transactions at a start and at a reload: recording which sinks there are, and giving stored messages to a new
//! sink.

use super::delivery::HealthRecord;
use super::error::Error;
use super::message_selection::MessageSelection;
use super::operator::ResumeCount;
use super::sink_id::SinkId;
use crate::domain::{Seq, Start, UnixMs};

/// What the store has to know of a configured sink.
#[derive(Clone, Debug)]
pub struct SinkSetup {
    /// The name of the sink. By this name the state recognizes the sink at the next start or reload.
    pub name: String,
    /// Which messages the sink wants.
    pub selection: MessageSelection,
    /// Whether the sink has `order = "number"`: it gets the messages of each number in their order.
    pub ordered: bool,
    /// The name of the sink to which dead letters are handed over, if there is one.
    pub fallback: Option<String>,
    /// Whether the sink receives events of numbers, too.
    pub events: bool,
    /// Which stored messages the sink receives if it is new and the state has messages already.
    pub start: Start,
    /// Whether the sink is enabled. A sink that is not enabled is paused until a start or a reload enables it.
    pub enabled: bool,
}

impl SinkSetup {
    /// Returns the setup of an enabled sink that wants every message from now on, without `order = "number"`, without a
    /// fallback and without events.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            selection: MessageSelection::default(),
            ordered: false,
            fallback: None,
            events: false,
            start: Start::Now,
            enabled: true,
        }
    }

    /// Returns the time from which a new sink gets stored messages: it gets those that were received at this time or
    /// later. Returns `None` if the sink gets no stored messages. `now` is the instant of the registration.
    pub(super) fn stored_since(&self, now: UnixMs) -> Option<UnixMs> {
        match self.start {
            Start::Now => None,
            Start::Beginning => Some(UnixMs::MIN),
            Start::At(instant) => Some(instant),
            Start::Back(span) => Some(now.before(span)),
        }
    }
}

/// What the state knows of a registered sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisteredSink {
    /// The sink's id.
    pub id: SinkId,
    /// The health of the sink, as the state last recorded it.
    pub health: HealthRecord,
    /// How often an operator has resumed the sink so far.
    pub resumes: ResumeCount,
    /// Whether the sink is new and the state has messages already.
    pub is_added: bool,
    /// Whether [`RegistrationTransactions::assign_number_queues`] has to run first: the sink has `order = "number"`,
    /// and some of its deliveries are not in a queue yet.
    pub needs_number_queues: bool,
    /// Whether [`RegistrationTransactions::backfill`] has to run: the sink is to get stored messages of which it has no
    /// deliveries yet.
    pub needs_backfill: bool,
}

/// The result of one call of [`RegistrationTransactions::backfill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillPortion {
    /// How many deliveries were made.
    pub made: u64,
    /// Whether there are more messages to look at.
    pub more: bool,
}

/// Transactions at a start of the relay and at a reload.
pub trait RegistrationTransactions {
    /// Records which sinks the configuration has now. A message that is released from now on goes to each of these
    /// sinks that wants it. Deliveries for sinks that are not configured any more stay as they are. A due time later
    /// than `latest_due` was written by a clock that was ahead, and becomes `now`.
    ///
    /// An unknown name becomes a new sink. If the state has messages already, `start` decides which of them the sink
    /// receives. On a first run, `poll.start` decides this for all sinks.
    ///
    /// From now on a message that becomes a dead letter of a sink is handed over to the sink's `fallback`, if the
    /// fallback is among `setups`. In the same transaction the fallback gets a delivery of the message, whatever its
    /// filter says. If the fallback has a delivery of the message already, it gets no second one; a delivery that is
    /// undecided becomes fresh.
    ///
    /// Events ([`crate::domain::RowStanding::Event`]) go only to the sinks with `events`. Filters are not applied to
    /// events.
    ///
    /// Returns the state's knowledge of each sink, in the order of `setups`.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn register_sinks(
        &mut self,
        setups: &[SinkSetup],
        latest_due: UnixMs,
        now: UnixMs,
    ) -> Result<Vec<RegisteredSink>, Error>;

    /// Gives stored messages to a new sink: looks at the next messages, about `at_most` of them, and makes a backfill
    /// delivery of each message that the sink wants.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn backfill(&mut self, sink: SinkId, at_most: usize) -> Result<BackfillPortion, Error>;

    /// Puts deliveries into the queues of their numbers, for a sink that had no `order = "number"` before. Changes at
    /// most `at_most` deliveries: those of the messages that follow the message `after`. Returns where the next call
    /// goes on; `None` if all deliveries are in their queues.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn assign_number_queues(&mut self, sink: SinkId, after: Seq, at_most: usize) -> Result<Option<Seq>, Error>;

    /// Lists the sinks that are no longer configured although messages wait for them. Returns the name of each sink,
    /// and the number of messages that wait.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn unconfigured_with_messages(&self) -> Result<Vec<(String, u64)>, Error>;
}
