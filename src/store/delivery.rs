//! The transactions of delivery: claiming messages that wait, and settling attempts.
//!
//! A claim lives in the memory of the only relay. Nothing is written when an attempt begins, so after a crash each
//! delivery is where its last settled attempt left it.
//!
//! A sink with `order = "number"` has one queue for each number, and only the first message of each queue is claimed.
//! Messages that an operator asked for again have a second queue beside that of their number, so that a new message
//! never waits for a replay. Messages keep their order within each queue.

use std::time::Duration;

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{Class, Outcome, Seq, UnixMs};

/// One message that waits for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The message's sequence number.
    pub seq: Seq,
    /// The message's place in the order of release: smaller numbers were released first.
    pub release_no: i64,
    /// Whether the message is new or part of a catch-up.
    pub class: Class,
    /// The API's id of the message.
    pub id: String,
    /// The JSON text of the message, byte for byte as the API sent it.
    pub raw: Box<str>,
    /// How many attempts were made before.
    pub attempts: u32,
    /// When the first attempt was made.
    pub first_attempt: Option<UnixMs>,
    /// How long the sink was paused since the first attempt.
    pub paused: Duration,
    /// When the message was received, by the API's clock.
    pub received: UnixMs,
    /// How often an operator asked for the message to be sent again.
    pub replays: u32,
    /// The queue of the message's number, if the sink keeps the order of each number.
    pub number: Option<i64>,
    /// The store's key of the message's number; `None` if the message names none.
    pub number_key: Option<i64>,
    /// What the API says of the message's number, as JSON, if it was asked for ([`ClaimLimits::details`]) and is known.
    pub details: Option<Box<str>>,
}

impl Claim {
    /// How many bytes of text the claim holds.
    pub(super) fn size(&self) -> usize {
        self.raw.len() + self.details.as_ref().map_or(0, |details| details.len())
    }
}

/// How much is claimed at once.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// The most claims.
    pub rows: usize,
    /// No further claim is read once the claims have this many bytes of text together.
    pub bytes: usize,
    /// Whether claims come with the details of their numbers.
    pub details: bool,
}

/// What may be sent next to a sink that keeps the order of each number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstClaims {
    /// At most one claim for each number's queue: its first message, if that is due. They come in three groups: live
    /// messages that were never attempted, backfill messages that were never attempted, and retries. The limits hold
    /// for each group, so that no group keeps another from its turn, however many numbers wait in it. The first two
    /// groups are in the order of release. Retries begin with the longest overdue, so that a message which is refused
    /// again and again does not keep other numbers waiting.
    pub claims: Vec<Claim>,
    /// Whether more could have been claimed.
    pub more: bool,
    /// When the next of the first messages falls due that are not due yet.
    pub next_due: Option<UnixMs>,
}

/// How one attempt on a claimed delivery went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The sink.
    pub sink: SinkId,
    /// The message.
    pub seq: Seq,
    /// How many attempts were made so far, this one included.
    pub attempts: u32,
    /// When the first attempt was made. It is recorded only if no earlier attempt is on record.
    pub first_attempt: UnixMs,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The health of the sink after the attempt; `None` if it has not changed.
    pub health: Option<HealthRecord>,
}

/// What the next start has to know of a sink's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthRecord {
    /// Until when the receiver asked for silence.
    pub busy_until: Option<UnixMs>,
    /// How many attempts failed since the last one that succeeded.
    pub failures: u32,
}

/// How many deliveries of one sink are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Not attempted yet.
    pub fresh: u64,
    /// To be tried again.
    pub retry: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Transactions on deliveries that wait.
pub trait DeliveryTransactions {
    /// Claims deliveries of one class that were never attempted, in the order of release, without those that `skip`
    /// names (they are in flight). It begins with the first that waits each time, so that none can be passed over.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn claim_fresh(
        &self,
        sink: SinkId,
        class: Class,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error>;

    /// Claims failed deliveries that are due, longest overdue first, without those that `skip` names.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn claim_retries(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error>;

    /// Claims the first message of each queue of a number, if it is due. `skip` is asked with the queue and the
    /// message.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn claim_first_of_each_number(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(i64, Seq) -> bool,
    ) -> Result<FirstClaims, Error>;

    /// Reads when the next failed delivery falls due that is not due at `now`.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error>;

    /// Makes failed deliveries of a sink due at `now` that were first attempted at `since` or later: an outage that
    /// began then is over. It changes at most `at_most` of them, those that fall due first, and returns how many it
    /// changed. If these are fewer than `at_most`, none is left.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn bring_forward(&mut self, sink: SinkId, since: UnixMs, now: UnixMs, at_most: usize) -> Result<usize, Error>;

    /// Records how attempts went, and the health of their sinks, all in one transaction. With `keep_delivered = "0s"`
    /// ([`super::DiskUpkeep::erase_on_delivery`]) the text of a message goes in the transaction that settles its
    /// last delivery.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error>;

    /// Counts the deliveries of a sink that wait, and its dead letters.
    ///
    /// # Errors
    /// As [`super::Backend`] says.
    fn waiting(&self, sink: SinkId) -> Result<Waiting, Error>;
}
