//! The transactions of delivery: claiming messages that wait, and settling attempts.
//!
//! A claim exists only in the memory of the relay. Nothing is written when an attempt begins, so after a crash each
//! delivery is as its last settled attempt left it.
//!
//! A sink with `order = "number"` has two queues for each number. New messages wait in the first queue. Messages that
//! an operator sends again, or that another sink hands over, wait in the second queue, so that no new message waits for
//! them. Only the first message of each queue is claimed, so the messages of a queue keep their order.

use std::time::Duration;

use super::error::Error;
use super::sink_id::SinkId;
use crate::domain::{DeliveryClass, Outcome, Seq, UnixMs};

/// One message that waits for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The message's sequence number.
    pub seq: Seq,
    /// The message's place in the order of release: messages with smaller numbers were released earlier.
    pub release_no: i64,
    /// Whether the delivery is live or backfill.
    pub class: DeliveryClass,
    /// The API's id of the message.
    pub id: String,
    /// The JSON text of the message, byte for byte as the API sent it.
    pub raw: Box<str>,
    /// How many attempts of this delivery were made so far.
    pub attempts: u32,
    /// When the first attempt was made; `None` before the first attempt.
    pub first_attempt: Option<UnixMs>,
    /// How long the sink was paused since the first attempt, all pauses together.
    pub paused: Duration,
    /// When the message was received, by the API's clock.
    pub received: UnixMs,
    /// How often an operator sent the message again.
    pub replays: u32,
    /// The queue in which the message waits; `None` if the sink has no `order = "number"`.
    pub number: Option<i64>,
    /// The store's key of the message's number; `None` if the message names none.
    pub number_key: Option<i64>,
    /// The API's details of the message's number, as JSON; `None` if the details are not known or were not asked for
    /// ([`ClaimLimits::details`]).
    pub details: Option<Box<str>>,
}

impl Claim {
    /// How many bytes of text the claim holds.
    pub(super) fn size(&self) -> usize {
        self.raw.len() + self.details.as_ref().map_or(0, |details| details.len())
    }
}

/// The limits of one call that claims deliveries.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// The largest number of claims.
    pub rows: usize,
    /// No further claim is read once the claims hold this many bytes of text together.
    pub bytes: usize,
    /// Whether claims come with the details of their numbers.
    pub details: bool,
}

/// The deliveries that may be sent next to a sink with `order = "number"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstClaims {
    /// At most one claim for each queue of a number: the first message of the queue, if it is due.
    ///
    /// The claims form three groups: live messages that were never attempted, backfill messages that were never
    /// attempted, and retries. The limits apply to each group separately, so that a long group does not crowd out the
    /// other groups.
    ///
    /// The first two groups are in the order of release. Among the retries, the longest overdue comes first. A message
    /// that is refused gets a later due time. So even if it is refused again and again, it does not keep the messages
    /// of other numbers waiting.
    pub claims: Vec<Claim>,
    /// Whether the limits left out deliveries that are due.
    pub more: bool,
    /// The earliest due time among the first messages that are not due yet; `None` if there is no such message.
    pub next_due: Option<UnixMs>,
}

/// The result of one attempt on a claimed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The sink of the delivery.
    pub sink: SinkId,
    /// The message of the delivery.
    pub seq: Seq,
    /// How many attempts were made so far, including this attempt.
    pub attempts: u32,
    /// When the first attempt was made. This instant is recorded only if no earlier attempt is on record.
    pub first_attempt: UnixMs,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The health of the sink after the attempt; `None` if it has not changed.
    pub health: Option<HealthRecord>,
}

/// The part of a sink's health that is on disk, so that the next process knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthRecord {
    /// The end of the silence that the receiver asked for; `None` if the receiver did not ask for silence.
    pub busy_until: Option<UnixMs>,
    /// How many attempts failed since the last successful attempt.
    pub failures: u32,
}

/// Counts of the waiting deliveries and of the dead letters of one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCounts {
    /// How many deliveries wait for their first attempt. Undecided deliveries are not counted.
    pub fresh: u64,
    /// How many deliveries failed and wait for another attempt.
    pub retry: u64,
    /// How many deliveries are dead letters.
    pub dead: u64,
}

/// Transactions on deliveries that wait.
pub trait DeliveryTransactions {
    /// Claims deliveries of one class that were never attempted, in the order of release. Leaves out messages for which
    /// `skip` returns `true`: the caller has claimed these before. Each call begins again with the first delivery that
    /// waits. So it also finds deliveries that were undecided at the previous call.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn claim_fresh(
        &self,
        sink: SinkId,
        class: DeliveryClass,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error>;

    /// Claims failed deliveries that are due, longest overdue first. Leaves out messages for which `skip` returns
    /// `true`.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn claim_retries(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(Seq) -> bool,
    ) -> Result<Vec<Claim>, Error>;

    /// Claims the first message of each queue of a number, if that message is due. Leaves out each message for which
    /// `skip` returns `true`; `skip` receives the queue and the message.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn claim_first_of_each_number(
        &self,
        sink: SinkId,
        now: UnixMs,
        limits: ClaimLimits,
        skip: &dyn Fn(i64, Seq) -> bool,
    ) -> Result<FirstClaims, Error>;

    /// Reads the earliest time after `now` at which a failed delivery of the sink falls due; `None` if there is no such
    /// time.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn next_due(&self, sink: SinkId, now: UnixMs) -> Result<Option<UnixMs>, Error>;

    /// Brings the due time of failed deliveries of a sink forward to `now`, if they were first attempted at `since` or
    /// later. The caller uses this at the end of an outage that began at `since`. Changes at most `at_most` deliveries,
    /// those with the earliest due times. Returns how many were changed. If these are fewer than `at_most`, there are
    /// no more.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn bring_forward(&mut self, sink: SinkId, since: UnixMs, now: UnixMs, at_most: usize) -> Result<usize, Error>;

    /// Records how attempts ended, and the health of their sinks, all in one transaction. With `keep_delivered = "0s"`
    /// ([`super::DiskMaintenance::erase_on_delivery`]), this transaction also removes the text of each message that
    /// every sink has now.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn settle(&mut self, settlements: &[Settlement], now: UnixMs) -> Result<(), Error>;

    /// Counts the deliveries of a sink that wait for an attempt, and its dead letters.
    ///
    /// # Errors
    /// Returns the errors that [`super::Backend`] lists.
    fn waiting(&self, sink: SinkId) -> Result<WaitingCounts, Error>;
}
