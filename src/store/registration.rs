//! The transactions of a start: which sinks there are, and what a new one begins with.

use super::delivery::HealthRecord;
use super::error::Error;
use super::operator::Resumes;
use super::sink_id::SinkId;
use super::wants::Wants;
use crate::domain::{Seq, Start, UnixMs};

/// A sink of the configuration, as the store has to know it.
#[derive(Clone, Debug)]
pub struct SinkSetup {
    /// The name of the sink. By it the state knows the sink again at the next start.
    pub name: String,
    /// Which messages it wants.
    pub wants: Wants,
    /// Whether it keeps the order of each number.
    pub ordered: bool,
    /// Which stored messages it receives if it is new and the state has messages already.
    pub start: Start,
    /// If not, the sink is paused until a start at which it is enabled.
    pub enabled: bool,
}

impl SinkSetup {
    /// An enabled sink that wants every message from now on, in no order.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), wants: Wants::default(), ordered: false, start: Start::Now, enabled: true }
    }

    /// Stored messages that were received at this time or later belong to a new sink; `None`: none do. `now` is the
    /// instant of the registration.
    pub(super) fn wants_since(&self, now: UnixMs) -> Option<UnixMs> {
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
pub struct Registered {
    /// The sink's id.
    pub id: SinkId,
    /// The health in which the last process left the sink.
    pub health: HealthRecord,
    /// How often the sink was resumed so far.
    pub resumes: Resumes,
    /// Whether the sink is new and the state has messages already.
    pub is_added: bool,
    /// Whether [`RegistrationTransactions::number_rows`] has to run before the order of each number can be kept.
    pub lacks_numbers: bool,
    /// Whether [`RegistrationTransactions::fill`] has to run: the sink begins with stored messages that it does not
    /// have yet.
    pub lacks_messages: bool,
}

/// What one step of [`RegistrationTransactions::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// How many deliveries were made.
    pub made: u64,
    /// Whether there are more messages to look at.
    pub more: bool,
}

/// Transactions of a start.
pub trait RegistrationTransactions {
    /// Names the sinks that the configuration has now. Messages that are released from now on go to those of them that
    /// want them. Deliveries of other sinks stay as they are. A due time later than `latest_due` was written by a clock
    /// that was ahead, and becomes `now`.
    ///
    /// A name that is not known yet becomes a new sink. If the state has messages already, `start` says which of them
    /// it receives; on a first run `poll.start` has said so for all sinks.
    ///
    /// Returns what is known of each sink, in the order of `setups`.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn register_sinks(
        &mut self,
        setups: &[SinkSetup],
        latest_due: UnixMs,
        now: UnixMs,
    ) -> Result<Vec<Registered>, Error>;

    /// Looks at about `at_most` of the stored messages that a new sink begins with, and makes a delivery of each that
    /// it wants, as part of a catch-up.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn fill(&mut self, sink: SinkId, at_most: usize) -> Result<Filled, Error>;

    /// Gives deliveries of a sink that did not keep an order before their place in the queues of numbers: at most
    /// `at_most` of those after the message `after`. Returns where the next call goes on; `None` if all have their
    /// place.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn number_rows(&mut self, sink: SinkId, after: Seq, at_most: usize) -> Result<Option<Seq>, Error>;

    /// Reads which sinks are not configured any more although messages wait for them: name and number of messages.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn stranded(&self) -> Result<Vec<(String, u64)>, Error>;
}
